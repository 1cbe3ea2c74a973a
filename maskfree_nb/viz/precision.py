"""Average precision in pictures: tracks beside their truth, and the curve whose area AP is."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maskfree_nb.viz.colours import PALETTE

BLUE, VERMILION = (tuple(level / 255 for level in PALETTE[n]) for n in (6, 4))
TRUTH_GREY = 0.72


def tracks_figure(truths: np.ndarray, predictions: np.ndarray, labels: Sequence[str]) -> Figure:
    """Draw predicted tracks, a row each and a column a frame, as outlines over all true ones in grey.

    Args:
        truths: bool [N, T, H, W].
        predictions: bool [D, T, H, W].
        labels: D texts.
    """
    num_frames, height, width = truths.shape[1:]
    panel_width = 8.4 / num_frames
    figure_height = len(predictions) * (panel_width * height / width + 0.3)
    figure = Figure(figsize=(8.4, figure_height), dpi=100, layout="constrained")
    rows = figure.subplots(len(predictions), num_frames, squeeze=False)
    for panels, prediction, label in zip(rows, predictions, labels, strict=True):
        panels[0].set_title(label, loc="left", fontsize=10)
        for t, panel in enumerate(panels):
            shade = np.where(truths[:, t].any(0), TRUTH_GREY, 1.0)
            panel.imshow(shade, cmap="gray", vmin=0, vmax=1)
            if prediction[t].any():
                panel.contour(prediction[t].astype(float), levels=[0.5], colors=[VERMILION], linewidths=2)
            panel.set_xticks([])
            panel.set_yticks([])
    return figure


def precision_recall_figure(curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw precision over recall, a panel for each curve: what is read off it, and AP, its area.

    The thick line is the interpolated precision, the best at this recall or a higher one, as AP reads it at
    101 recalls; beyond the highest recall it is 0.

    Args:
        curves: title -> (recall, precision) after each result, best first; float [D] each.
    """
    figure = Figure(figsize=(4 * len(curves), 3.4), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for panel, (title, (recall, precision)) in zip(panels, curves.items(), strict=True):
        _draw_curve(panel, title, recall, precision)
    panels[0].set_ylabel("precision")
    return figure


def threshold_figure(thresholds: Sequence[float], curves: dict[str, Sequence[float]]) -> Figure:
    """Draw AP over the IoU threshold, a line for each of one or two `curves`: title -> AP in percent."""
    figure = Figure(figsize=(5.6, 3), dpi=100, layout="constrained")
    panel = figure.subplots()
    styles = [{"color": BLUE, "marker": "o"}, {"color": VERMILION, "marker": "s", "linestyle": "--"}]
    for (title, values), style in zip(curves.items(), styles, strict=False):
        panel.plot(thresholds, values, label=title, **style)
    panel.set(xlabel="IoU threshold", ylabel="AP, percent")
    panel.set_ylim(bottom=0)
    panel.legend(frameon=False)
    panel.spines[["top", "right"]].set_visible(False)
    return figure


def interpolated_precision(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """The best precision at or beyond each of the recalls 0, 0.01, ..., 1; 0 where none is that high.

    >>> interpolated_precision(np.array([0.0, 0.5]), np.array([0.0, 0.5]))[[0, 50, 51]]
    array([0.5, 0.5, 0. ])
    """
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return np.append(best, 0.0)[np.searchsorted(recall, np.linspace(0, 1, 101))]


def _draw_curve(panel: Axes, title: str, recall: np.ndarray, precision: np.ndarray) -> None:
    grid, best = np.linspace(0, 1, 101), interpolated_precision(recall, precision)
    panel.fill_between(grid, best, step="pre", color=BLUE, alpha=0.15, linewidth=0)
    panel.step(grid, best, where="pre", color=BLUE, linewidth=2.2, label="read at 101 recalls")
    panel.plot(
        recall, precision, "o--", color=VERMILION, linewidth=1, markersize=6, label="after each result"
    )
    panel.set(xlim=(-0.03, 1.03), ylim=(0, 1.08), xlabel="recall")
    panel.set_title(f"{title}: AP {100 * best.mean():.1f}", loc="left", fontsize=10)
    panel.legend(loc="lower left", fontsize=8, frameon=False)
    panel.spines[["top", "right"]].set_visible(False)
