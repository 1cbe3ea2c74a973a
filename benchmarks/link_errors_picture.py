"""Wrong cells of masks, and whether a link of the losses objects to them, enlarged."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from residual_picture import CAPTION, COLUMNS, DPI, LEVELS, WIDTH, show_object
from torch import Tensor

from maskfree_nb import atomic
from maskfree_nb.data.frames import read_frame
from maskfree_nb.data.tracks import VideoSet
from maskfree_nb.viz.colours import PALETTE
from maskfree_nb.viz.failures import TRUTH, draw_area, draw_outline

SILENT = (0.2, 0.2, 0.2)
CONTENT, OBJECTING = (tuple(level / 255 for level in PALETTE[n]) for n in (0, 7))


@dataclass(frozen=True, eq=False)
class Seen:
    """The wrong cells of a track in one frame, bool [h, w], and which of them links lead from."""

    video_id: int
    track_id: int
    frame: int
    truth: Tensor  # bool [H, W]
    wrong: Tensor
    marks: dict[str, tuple[Tensor, Tensor]]  # by kind of link: those linked, those contradicted


def write_picture(path: Path, video_set: VideoSet, seen: list[Seen], stride: int) -> None:
    """Write the picture of at least one track as a PNG, 800 pixels wide."""
    figure = seen_figure(video_set, seen, stride)
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
    atomic.write_bytes(path, content.getvalue())


def seen_figure(video_set: VideoSet, seen: list[Seen], stride: int) -> Figure:
    """Draw each track as a strip: the true outline, the wrong cells by neighbours, by matches."""
    video = video_set.videos[0]
    rows = -(-len(seen) // COLUMNS)
    panel = WIDTH / (3 * COLUMNS)
    height = rows * (panel * video.height / video.width + CAPTION)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    grid = dict(left=0.015, right=0.985, bottom=0.02, top=1 - CAPTION / height * rows, wspace=0.04)
    for part, one in zip(figure.subfigures(rows, COLUMNS, squeeze=False).flat, seen, strict=False):
        _draw_strip(part.subplots(1, 3, gridspec_kw=grid), video_set, one, stride)
    return figure


def _draw_strip(panels: np.ndarray, video_set: VideoSet, one: Seen, stride: int) -> None:
    video = next(video for video in video_set.videos if video.id == one.video_id)
    track = next(track for track in video.tracks if track.id == one.track_id)
    step = 256 // LEVELS
    image = read_frame(video_set, video, one.frame).permute(1, 2, 0).numpy() // step * step
    _panel(panels[0], image, one, f"video {video.id}, {video_set.categories[track.category].name}")
    grey = image.mean(-1) // step * step
    for panel, (name, (linked, contradicted)) in zip(panels[1:], one.marks.items(), strict=True):
        panel.imshow(grey, cmap="gray", vmin=-500, vmax=255, interpolation="nearest")
        kinds = ((one.wrong & ~linked, SILENT), (linked & ~contradicted, CONTENT), (contradicted, OBJECTING))
        for cells, colour in kinds:
            pixels = cells.repeat_interleave(stride, 0).repeat_interleave(stride, 1)
            whole = torch.zeros_like(one.truth)
            whole[: len(pixels), : pixels.shape[1]] = pixels
            draw_area(panel, whole, colour, opacity=0.9)
        _panel(panel, None, one, name)


def _panel(panel: Axes, image: np.ndarray | None, one: Seen, caption: str) -> None:
    if image is not None:
        panel.imshow(image, interpolation="nearest")
    draw_outline(panel, one.truth, TRUTH)
    show_object(panel, one.truth.numpy())
    panel.set_title(caption, loc="left", fontsize=8, pad=3)
