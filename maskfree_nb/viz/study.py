"""A stored study of several supervisions and seeds: read, put into a table, drawn with error bars.

    {"data": {...}, "rows": [{"name": "boxes", "label": "boxes: projection + pairwise + TK",
                              "seeds": [{"seed": 0, "AP": 40.1, "AP50": ..., "AP75": ..., "mean_iou": ...,
                                         "box_fill": ...}, ...]}, ...]}

All in percent; `box_fill` is the AP of the same tracks with every mask replaced by its filled box.
`maskfree study main` writes such a file.
"""

import math
from dataclasses import dataclass
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
BAR_COLOURS = {"boxes": ORANGE, ORACLE: (0.75, 0.75, 0.75)}


@dataclass(frozen=True)
class StudyRow:
    """The runs of one way to supervise: its `name`, a `label` for readers, the figures of each seed."""

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


@dataclass(frozen=True)
class Study:
    """What a study found.

    Attributes:
        data: what the data set says of itself: version, seed, sizes, hash.
        rows: one for each way to supervise.
    """

    data: dict
    rows: tuple[StudyRow, ...]

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
        return self.row(name).mean(figure) / self.row(ORACLE).mean(figure)

    def table(self) -> str:
        """Mean ± spread over the seeds as text, a line for each row."""
        width = max(len(row.label) for row in self.rows)
        lines = [" " * width + "".join(f"{title:>14}" for title in FIGURES.values()) + "  seeds"]
        for row in self.rows:
            cells = "".join(f"{_cell(row, figure):>14}" for figure in FIGURES)
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
        for seed in row["seeds"]:
            missing = sorted({"seed", *FIGURES} - seed.keys())
            if missing:
                raise InputError(
                    f"{where} ({row['name']}): a seed lacks {', '.join(missing)}; run the study again"
                )
        rows.append(StudyRow(row["name"], row["label"], tuple(row["seeds"])))
    if not rows:
        raise InputError(f"{name}: has no rows; `maskfree study main` writes them")
    return Study(content.get("data", {}), tuple(rows))


def study_figure(study: Study) -> Figure:
    """Draw a study: a bar for the mean of each row, a whisker for its spread, a dot for each seed.

    The dashed line is the oracle's mean, which the other rows are held against.
    """
    figure = Figure(figsize=(10, 0.55 * len(study.rows) + 1.3), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(DRAWN), sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, DRAWN, strict=True):
        _draw_bars(panel, study, name)
    panels[0].set_yticks(range(len(study.rows)), [row.label for row in study.rows])
    panels[0].invert_yaxis()
    return figure


def _draw_bars(panel: Axes, study: Study, figure: str) -> None:
    for y, row in enumerate(study.rows):
        values, spread = row.values(figure), row.spread(figure)
        panel.barh(y, row.mean(figure), height=0.62, color=BAR_COLOURS.get(row.name, SKY))
        if not math.isnan(spread):
            panel.errorbar(row.mean(figure), y, xerr=spread, color="black", capsize=4, linewidth=1.4)
        panel.plot(values, np.full(len(values), y), "o", color="black", markerfacecolor="white", markersize=4)
        panel.annotate(
            f"{row.mean(figure):.1f}", (0, y), (5, 0), textcoords="offset points", va="center", fontsize=10
        )
    for row in study.rows:
        if row.name == ORACLE:
            panel.axvline(row.mean(figure), color="0.35", linewidth=1, linestyle="--", zorder=0)
    panel.set_xlim(left=0)
    panel.set_title(f"{FIGURES[figure]}, percent", loc="left", fontsize=10)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=9)


def _cell(row: StudyRow, figure: str) -> str:
    mean, spread = row.mean(figure), row.spread(figure)
    return f"{mean:.1f}" if math.isnan(spread) else f"{mean:.1f} ± {spread:.1f}"
