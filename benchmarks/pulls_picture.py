"""Wrong cells of masks, and which way two losses pull them, enlarged."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from png import write_png
from residual_picture import CAPTION, COLUMNS, DPI, LEVELS, WIDTH, show_object
from torch import Tensor

from maskfree_nb.viz.colours import PALETTE
from maskfree_nb.viz.failures import TRUTH, draw_area, draw_outline

DRAWN = 6  # mistakes
SILENT = 0.02  # of the hardest pull of either loss at the mistake: less counts as none
NEITHER = (0.35, 0.35, 0.35)
TO, AWAY = (tuple(level / 255 for level in PALETTE[n]) for n in (2, 4))
NAMES = {"pairwise": "pairwise", "tk": "TK-Loss"}


class Mistake(NamedTuple):
    """What is wrong with an object's mask in one frame, on the map: [h, w]."""

    video_id: int
    frame: Tensor  # uint8 [3, H, W]
    true: Tensor  # bool
    wrong: Tensor  # bool
    towards: dict[str, Tensor]  # by loss: how hard it pulls towards the truth


def write_picture(path: Path, mistakes: Sequence[Mistake]) -> int:
    """Write the first mistakes as a PNG, 800 pixels wide; returns how many."""
    write_png(path, mistakes_figure(mistakes[:DRAWN]))
    return len(mistakes[:DRAWN])


def mistakes_figure(mistakes: Sequence[Mistake]) -> Figure:
    """Draw each mistake as a strip: the true outline, then the wrong cells as each loss pulls them."""
    frame = mistakes[0].frame
    rows = -(-len(mistakes) // COLUMNS)
    panel = WIDTH / (3 * COLUMNS)
    height = rows * (panel * frame.shape[1] / frame.shape[2] + CAPTION)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    grid = dict(left=0.015, right=0.985, bottom=0.02, top=1 - CAPTION / height * rows, wspace=0.04)
    for part, mistake in zip(figure.subfigures(rows, COLUMNS, squeeze=False).flat, mistakes, strict=False):
        _draw_strip(part.subplots(1, 3, gridspec_kw=grid), mistake)
    return figure


def directions(mistake: Mistake) -> dict[str, tuple[Tensor, Tensor]]:
    """By loss: which wrong cells it pulls towards the truth, and which away from it, bool [h, w] each."""
    pulls = {name: pull * mistake.wrong for name, pull in mistake.towards.items()}
    least = SILENT * max(pull.abs().max() for pull in pulls.values())
    return {name: (pull > least, pull < -least) for name, pull in pulls.items()}


def _draw_strip(panels: np.ndarray, mistake: Mistake) -> None:
    stride = mistake.frame.shape[1] // mistake.true.shape[0]
    step = 256 // LEVELS
    image = mistake.frame.permute(1, 2, 0).numpy() // step * step
    panels[0].imshow(image, interpolation="nearest")
    _finish(panels[0], mistake, stride, f"video {mistake.video_id}")
    grey = image.mean(-1) // step * step
    for panel, (name, (to, away)) in zip(panels[1:], directions(mistake).items(), strict=True):
        panel.imshow(grey, cmap="gray", vmin=-500, vmax=255, interpolation="nearest")
        kinds = ((mistake.wrong & ~to & ~away, NEITHER), (to, TO), (away, AWAY))
        for cells, colour in kinds:
            draw_area(panel, _enlarged(cells, stride), colour, opacity=0.9)
        _finish(panel, mistake, stride, f"{NAMES[name]}: +{to.sum()} \u2212{away.sum()}")


def _finish(panel: Axes, mistake: Mistake, stride: int, caption: str) -> None:
    truth = _enlarged(mistake.true, stride)
    draw_outline(panel, truth, TRUTH)
    show_object(panel, (truth | _enlarged(mistake.wrong, stride)).numpy())
    panel.set_title(caption, loc="left", fontsize=8, pad=3)


def _enlarged(cells: Tensor, stride: int) -> Tensor:
    return torch.repeat_interleave(torch.repeat_interleave(cells, stride, 0), stride, 1)
