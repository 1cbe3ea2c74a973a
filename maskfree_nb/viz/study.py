"""A stored study of several ways to train and seeds: read, put into a table, drawn with error bars.

    {"name": "main", "question": "what supervises the masks", "data": {...}, "settings": {...},
     "rows": [{"name": "boxes", "label": "projection + pairwise + TK",
               "seeds": [{"seed": 0, "AP": 40.1, "AP50": ..., "AP75": ..., "mean_iou": ..., "box_fill": ...,
                          "classes": {"disc": 38.2, ...}, "seconds": 558, "peak_mb": 900}, ...]}, ...]}

All figures in percent; `box_fill` is the AP of the same tracks with every mask replaced by its filled box.
Only the rows, and of a seed only the figures, must be there. `maskfree study main` writes such a file.
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.reading import load_json
from maskfree_nb.viz.colours import PALETTE

FIGURES = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "mean_iou": "mean IoU", "box_fill": "box-fill AP"}
DRAWN = ("AP", "AP75", "mean_iou")
ORACLE = "masks"  # the row trained on true masks, which the others are held against
ORANGE, SKY = (tuple(level / 255 for level in PALETTE[n]) for n in (0, 1))
COLOURS = {"boxes": ORANGE, ORACLE: (0.75, 0.75, 0.75), "oracle": (0.45, 0.45, 0.45)}
NUMBERED = re.compile(r"([a-z]+?)_?(\d[\d.]*)")  # a row's name: a series and a number, as `k5` or `boxes_50`
DRAWN_IN_ORDER = ("AP", "mean_iou")
LEAST_SPAN = 10  # of a percent axis: what seeds differ by is not to look like a finding


@dataclass(frozen=True)
class StudyRow:
    """The runs of one way to train: its `name`, a `label` for readers, the figures of each seed."""

    name: str
    label: str
    seeds: tuple[dict[str, float], ...]

    def values(self, figure: str) -> np.ndarray:
        """The figure of each seed, float64 [seeds]."""
        return np.array([seed[figure] for seed in self.seeds], dtype=np.float64)

    def mean(self, figure: str) -> float:
        """The mean over the seeds."""
        return float(self.values(figure).mean())

    def spread(self, figure: str) -> float:
        """The sample standard deviation over the seeds; NaN for a single seed, which tells nothing of it."""
        values = self.values(figure)
        return float(values.std(ddof=1)) if len(values) > 1 else math.nan

    def text(self, figure: str) -> str:
        """Mean ± spread; the mean alone for a single seed."""
        mean, spread = self.mean(figure), self.spread(figure)
        return f"{mean:.1f}" if math.isnan(spread) else f"{mean:.1f} ± {spread:.1f}"


@dataclass(frozen=True)
class Study:
    """What a study found.

    Attributes:
        data: what the data set says of itself: version, seed, sizes, hash.
        rows: one for each way to train.
        name, question: of the study, as in `maskfree_nb.studies`; the question is "" where none is stored.
        settings: options of training that all rows share.
    """

    data: dict
    rows: tuple[StudyRow, ...]
    name: str = "main"
    question: str = ""
    settings: dict = field(default_factory=dict)

    def row(self, name: str) -> StudyRow:
        """The row called `name`.

        Raises:
            InputError: there is none.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise InputError(f"the study has no row {name!r}; it has {', '.join(row.name for row in self.rows)}")

    def share_of_oracle(self, name: str = "boxes", figure: str = "AP") -> float:
        """How much of the oracle's figure a row keeps: mean / mean of the row `masks`, 1 = all of it."""
        oracle = self.row(ORACLE).mean(figure)
        return self.row(name).mean(figure) / oracle if oracle else math.nan

    def table(self) -> str:
        """Mean ± spread over the seeds as text, a line for each row."""
        width = max(len(row.label) for row in self.rows)
        lines = [" " * width + "".join(f"{title:>14}" for title in FIGURES.values()) + "  seeds"]
        for row in self.rows:
            cells = "".join(f"{row.text(figure):>14}" for figure in FIGURES)
            lines.append(f"{row.label:<{width}}{cells}{len(row.seeds):>7}")
        return "\n".join(lines)


def read_study(path: str | Path) -> Study:
    """Read a stored study.

    Raises:
        InputError: no such file, no JSON, or a row without its name, its label or one of its figures.
    """
    content, name = load_json(path, dict, "study")
    rows = []
    for index, row in enumerate(content.get("rows") or []):
        where = f"{name}: rows[{index}]"
        if not isinstance(row, dict) or not {"name", "label", "seeds"} <= row.keys() or not row["seeds"]:
            raise InputError(f"{where}: expected an object with name, label and seeds, of which at least one")
        if not isinstance(row["seeds"], list) or not all(isinstance(seed, dict) for seed in row["seeds"]):
            raise InputError(f"{where} ({row['name']}): expected seeds to be a list of objects")
        for seed in row["seeds"]:
            missing = sorted({"seed", *FIGURES} - seed.keys())
            if missing:
                raise InputError(
                    f"{where} ({row['name']}): a seed lacks {', '.join(missing)}; run the study again"
                )
        rows.append(StudyRow(row["name"], row["label"], tuple(row["seeds"])))
    if not rows:
        raise InputError(f"{name}: has no rows; `maskfree study main` writes them")
    optional = {key: content[key] for key in ("name", "question", "settings") if key in content}
    return Study(content.get("data", {}), tuple(rows), **optional)


def study_figure(study: Study) -> Figure:
    """Draw a study: of each row the mean, a whisker for its spread, a white dot for each seed.

    Rows of one name but for a number at its end are drawn along that number, evenly spaced; where no two are,
    each row is a bar, and the dashed line is the oracle's mean, which the others are held against.
    """
    series = [_numbered(row)[0] for row in study.rows]
    if any(series.count(name) > 1 for name in series if name):
        figure = Figure(figsize=(8, 2.9), dpi=100, layout="constrained")
        for panel, name in zip(figure.subplots(1, len(DRAWN_IN_ORDER)), DRAWN_IN_ORDER, strict=True):
            _draw_series(panel, study, name)
        return figure
    figure = Figure(figsize=(8, 0.45 * len(study.rows) + 1.0), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(DRAWN), sharey=True)
    for panel, name in zip(panels, DRAWN, strict=True):
        _draw_bars(panel, study, name)
    panels[0].set_yticks(range(len(study.rows)), [row.label for row in study.rows])
    panels[0].invert_yaxis()
    return figure


def _draw_series(panel: Axes, study: Study, figure: str) -> None:
    """Draw each series of rows as a line along their numbers; rows without a number stand at the end."""
    series: dict[str, list[StudyRow]] = {}
    for row in sorted(study.rows, key=lambda row: _numbered(row)[1]):
        series.setdefault(_numbered(row)[0], []).append(row)
    named = [name for name in series if name]
    ticks = sorted({_tick(row): _numbered(row)[1] for row in study.rows}.items(), key=lambda tick: tick[1])
    places = {text: place for place, (text, _) in enumerate(ticks)}
    for name, rows in series.items():
        aside = 0.1 * named.index(name) if name else 0  # two whiskers at one place would hide each other
        x = [places[_tick(row)] + aside for row in rows]
        means, spreads = [row.mean(figure) for row in rows], [row.spread(figure) for row in rows]
        style = dict(color=COLOURS.get(name, SKY), ecolor="black", markersize=8, capsize=4, label=name)
        panel.errorbar(x, means, spreads, fmt="o-" if name else "o", **style)
        for place, row in zip(x, rows, strict=True):
            values = row.values(figure)
            dots = dict(color="black", markerfacecolor="white", markersize=4, zorder=3)
            panel.plot(np.full(len(values), place), values, "o", **dots)
    panel.set_xticks(range(len(places)), [text.replace(", ", ",\n") for text in places])
    panel.margins(0.1)
    low, high = panel.get_ylim()
    room = max(0, LEAST_SPAN - (high - low)) / 2
    panel.set_ylim(low - room, high + room)
    if len(named) > 1:
        panel.legend(frameon=False, fontsize=9)
    _finish(panel, figure)


def _numbered(row: StudyRow) -> tuple[str, float]:
    """Return the series and the number that a row's name tells; ("", inf) where it tells none."""
    found = NUMBERED.fullmatch(row.name)
    return (found[1], float(found[2])) if found else ("", math.inf)


def _tick(row: StudyRow) -> str:
    """The row's label without its series, which the legend tells."""
    return row.label.removeprefix(f"{_numbered(row)[0]}, ")


def _draw_bars(panel: Axes, study: Study, figure: str) -> None:
    """A bar a row, its mean written within, or beside it where dots or whisker leave no room."""
    longest = max(row.mean(figure) for row in study.rows)
    for y, row in enumerate(study.rows):
        values, spread = row.values(figure), row.spread(figure)
        panel.barh(y, row.mean(figure), height=0.62, color=COLOURS.get(row.name, SKY))
        if not math.isnan(spread):
            panel.errorbar(row.mean(figure), y, xerr=spread, color="black", capsize=4, linewidth=1.4)
        panel.plot(values, np.full(len(values), y), "o", color="black", markerfacecolor="white", markersize=4)
        whisker = np.nan_to_num(spread) * np.array([-1, 1]) + row.mean(figure)
        low, high = min(*whisker, *values), max(*whisker, *values)
        place = dict(xy=(high if low < longest / 4 else 0, y), xytext=(5, 0), textcoords="offset points")
        panel.annotate(f"{row.mean(figure):.1f}", **place, va="center", fontsize=10)
    for row in study.rows:
        if row.name == ORACLE:
            panel.axvline(row.mean(figure), color="0.35", linewidth=1, linestyle="--", zorder=0)
    panel.set_xlim(left=0)
    _finish(panel, figure)


def _finish(panel: Axes, figure: str) -> None:
    panel.set_title(f"{FIGURES[figure]}, percent", loc="left", fontsize=10)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=9)
