"""The tracks that masks learnt from boxes lose the most of, enlarged: image, mask of the oracle, of boxes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from png import write_png

from maskfree_nb.data.frames import read_frame
from maskfree_nb.data.tracks import VideoSet
from maskfree_nb.viz.failures import PREDICTION, TRUTH, draw_area, draw_outline

COLUMNS = 2  # tracks beside each other
PANELS = 3
WIDTH, CAPTION = 8, 0.24  # inches
DPI = 100
LEVELS = 16  # of brightness in a channel; fewer levels, fewer bytes
MARGIN = 8  # pixels of the frame around the object, at least


@dataclass(frozen=True, eq=False)
class Loss:
    """A track in one frame: its true mask and two predictions, bool [H, W]; track IoUs of these, 0..1."""

    video_id: int
    track_id: int
    frame: int
    truth: np.ndarray
    oracle: np.ndarray
    boxes: np.ndarray
    oracle_iou: float
    boxes_iou: float


def write_picture(path: Path, video_set: VideoSet, losses: list[Loss]) -> None:
    """Write the picture of at least one loss as a PNG, 800 pixels wide."""
    write_png(path, loss_figure(video_set, losses))


def loss_figure(video_set: VideoSet, losses: list[Loss]) -> Figure:
    """Draw each loss as a strip: the true outline, the oracle's mask, the mask learnt from boxes."""
    video = video_set.videos[0]
    rows = -(-len(losses) // COLUMNS)
    panel = WIDTH / (PANELS * COLUMNS)
    height = rows * (panel * video.height / video.width + CAPTION)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    for part, loss in zip(figure.subfigures(rows, COLUMNS, squeeze=False).flat, losses, strict=False):
        top = 1 - CAPTION / height * rows
        grid = dict(left=0.015, right=0.985, bottom=0.02, top=top, wspace=0.04)
        _draw_strip(part.subplots(1, PANELS, gridspec_kw=grid), video_set, loss)
    return figure


def _draw_strip(panels: np.ndarray, video_set: VideoSet, loss: Loss) -> None:
    video = next(video for video in video_set.videos if video.id == loss.video_id)
    track = next(track for track in video.tracks if track.id == loss.track_id)
    step = 256 // LEVELS
    image = read_frame(video_set, video, loss.frame).permute(1, 2, 0).numpy() // step * step
    grey = image.mean(-1) // step * step  # on which the mask is seen, whatever the object's colour
    name = video_set.categories[track.category].name
    masks = (None, loss.oracle, loss.boxes)
    captions = (
        f"video {video.id}, {name}",
        f"true masks: IoU {loss.oracle_iou:.2f}",
        f"boxes: IoU {loss.boxes_iou:.2f}",
    )
    for panel, mask, caption in zip(panels, masks, captions, strict=True):
        if mask is None:
            panel.imshow(image, interpolation="nearest")
        else:
            panel.imshow(grey, cmap="gray", vmin=-60, vmax=255, interpolation="nearest")
            draw_area(panel, torch.from_numpy(mask), PREDICTION, opacity=0.55)
        draw_outline(panel, torch.from_numpy(loss.truth), TRUTH)
        show_object(panel, loss.truth)
        panel.set_title(caption, loc="left", fontsize=8, pad=3)


def show_object(panel: Axes, truth: np.ndarray) -> None:
    """Enlarge the object with some of what is around it, in the frame's proportions, all inside the frame."""
    height, width = truth.shape
    rows, columns = (np.flatnonzero(truth.any(axis)) for axis in (1, 0))
    spans = np.array([rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1])
    share = min(1, ((1.3 * spans + 2 * MARGIN) / (height, width)).max())  # of the frame
    centre = np.array([rows[0] + rows[-1] + 1, columns[0] + columns[-1] + 1]) / 2
    size = share * np.array([height, width])
    top, left = np.clip(centre - size / 2, 0, (height, width) - size)
    panel.set_xlim(left - 0.5, left + size[1] - 0.5)
    panel.set_ylim(top + size[0] - 0.5, top - 0.5)
    panel.set_xticks([])
    panel.set_yticks([])
