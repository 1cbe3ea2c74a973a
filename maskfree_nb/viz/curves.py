"""The curves of a training run: every loss term, the collapse alarms, the learning rate."""

import json
import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from maskfree_nb import atomic
from maskfree_nb.errors import InputError
from maskfree_nb.viz.colours import PALETTE

TITLES = {
    "loss": "total loss",
    "loss_class": "class",
    "loss_mask": "mask cross entropy",
    "loss_dice": "mask Dice",
    "loss_projection": "box projection",
    "loss_outside": "outside the box",
    "loss_fill": "fill of the box",
    "loss_pairwise": "pairwise colour",
    "loss_tk": "TK-Loss",
    "matches_per_pixel": "matches a pixel",
    "box_fill": "box fill of the masks (1 = rectangles)",
    "box_fill_ratio": "box fill of the masks (1 = rectangles)",
    "gradient_norm": "gradient norm",
    "lr": "learning rate",
}
LOSS, ALARM, OTHER = (
    tuple(level / 255 for level in PALETTE[number]) for number in (6, 4, 2)
)  # blue, red, green
COLOURS = {
    "matches_per_pixel": ALARM,
    "box_fill": ALARM,
    "box_fill_ratio": ALARM,
    "gradient_norm": OTHER,
    "lr": OTHER,
}
SHADE = "0.93"
COLUMNS = 3


def read_log(path: str | Path) -> dict[str, np.ndarray]:
    """Read a training log, one JSON object a step, as float64 arrays [steps]; NaN where a step lacks a key.

    A last line that is cut short, as a killed run leaves it, is left out. Of a step that was run twice, the
    later line counts.

    Raises:
        InputError: no such file, a line that is not an object with `step`, or no line at all.
    """
    path = Path(path)
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    steps = {}
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            steps[entry["step"]] = entry
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise InputError(
                f"{path}: line {number} is not a JSON object with a step: {line[:60]!r}"
            ) from error
    if not steps:
        raise InputError(f"{path}: holds no step yet")
    entries = [steps[step] for step in sorted(steps)]
    keys = dict.fromkeys(key for entry in entries for key in entry)
    return {key: np.array([_number(entry.get(key)) for entry in entries]) for key in keys}


def plot_training(log_path: str | Path, out_png: str | Path) -> None:
    """Draw the curves of a training log into a PNG, atomically; see `training_figure`.

    Args:
        log_path: `log.jsonl` of a run: one JSON object a line with `step` and any of `loss`, `loss_*`,
            `matches_per_pixel`, `box_fill`, `gradient_norm`, `lr`, `box_warmup`.
        out_png: the picture.

    Raises:
        InputError: as `read_log`, or a log with nothing to draw.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> atomic.write_json(folder / "log.jsonl", {"step": 0, "loss": 2.5})
    >>> plot_training(folder / "log.jsonl", folder / "curves.png")
    """
    log = read_log(log_path)
    if not _panels(log):
        raise InputError(f"{log_path}: holds none of {', '.join(TITLES)}")
    figure = training_figure(log)
    with atomic.replacing(out_png) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)


def training_figure(log: dict[str, np.ndarray]) -> Figure:
    """Draw a log of `read_log` as small multiples.

    Each panel shows one figure at each step (thin) and its running mean (thick), whose last value stands at
    the right; the span in which filled boxes still serve as mask targets (`box_warmup` above 0) is shaded.
    """
    panels = _panels(log)
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(4 * columns, 2.4 * rows + 0.6), dpi=110, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, squeeze=False).flatten()
    for key, panel in zip(panels, axes, strict=False):
        _draw(panel, key, log)
    for panel in axes[len(panels) :]:
        panel.remove()
    for panel in axes[len(panels) - columns : len(panels)]:  # the lowest of each column
        panel.set_xlabel("step")
        panel.tick_params(labelbottom=True)
    handles = [
        Line2D([], [], color="0.6", linewidth=0.7, label="each step"),
        Line2D([], [], color="0.2", linewidth=2, label="running mean"),
    ]
    if "box_warmup" in log and (log["box_warmup"] > 0).any():
        handles.append(Patch(color=SHADE, label="warm-up: filled boxes are mask targets"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False, fontsize=9)
    return figure


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of the finite ones among `window` values (an odd number) around each; of none, NaN.

    >>> running_mean(np.array([1.0, np.nan, 3.0, 8.0]), window=3)
    array([1. , 2. , 5.5, 5.5])
    """
    finite = np.isfinite(values)
    middle = slice(window // 2, window // 2 + len(values))
    total = np.convolve(np.where(finite, values, 0.0), np.ones(window))[middle]
    count = np.convolve(finite, np.ones(window))[middle].round()
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def _panels(log: dict[str, np.ndarray]) -> list[str]:
    """The keys to draw: the total, loss terms that this file does not know, then the rest of TITLES."""
    known = [key for key in TITLES if key in log]
    others = [key for key in log if key.startswith("loss_") and key not in TITLES]
    return [key for key in [*known[:1], *others, *known[1:]] if np.isfinite(log[key]).any()]


def _draw(panel: Axes, key: str, log: dict[str, np.ndarray]) -> None:
    steps, values, colour = log["step"], log[key], COLOURS.get(key, LOSS)
    finite = np.isfinite(values)
    window = 1 if key == "lr" else 2 * (len(steps) // 80) + 1
    mean = np.where(finite, running_mean(values, window), np.nan)
    if "box_warmup" in log:
        panel.fill_between(
            steps,
            0,
            1,
            where=log["box_warmup"] > 0,
            transform=panel.get_xaxis_transform(),
            color=SHADE,
            linewidth=0,
        )
    panel.plot(steps, values, color=colour, alpha=0.3, linewidth=0.6)
    panel.plot(steps, mean, color=colour, linewidth=1.8)
    low, high = np.percentile(values[finite], [0.5, 99.5])
    low = min(low, 0.0) if low < 0.4 * high else low  # from zero, unless that would flatten the curve
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
    panel.set_ylim(low - margin * (low != 0), high + margin)
    last = mean[np.flatnonzero(finite)[-1]]
    panel.set_title(TITLES.get(key, key.removeprefix("loss_")), loc="left", fontsize=10)
    panel.set_title(f"{last:.3g}", loc="right", fontsize=9, color=colour)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color="0.9", linewidth=0.6)
    panel.tick_params(labelsize=8)
    panel.yaxis.set_major_formatter("{x:g}")


def _number(value) -> float:
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_number else math.nan
