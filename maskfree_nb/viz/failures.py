"""What goes wrong, as pictures: the worst tracks beside their truth, and how many there are of each kind."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from maskfree_nb.data import rle
from maskfree_nb.data.clips import video_frames
from maskfree_nb.data.tracks import Track, Video, VideoSet
from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.outcomes import TrackOutcome, count_reasons
from maskfree_nb.viz.colours import PALETTE

TRUTH, PREDICTION = (tuple(level / 255 for level in PALETTE[n]) for n in (1, 4))  # sky blue, vermilion
PANEL_WIDTH, GAP, TITLE_HEIGHT = 2.6, 0.1, 0.35  # inches
FOUND, FAILED = (tuple(level / 255 for level in PALETTE[n]) for n in (6, 0))


def failure_gallery(
    video_set: VideoSet, results: list[dict], outcomes: list[TrackOutcome], *, columns: int = 3
) -> Figure:
    """Draw outcomes of tracks: what the object is, what was predicted, and why that is a failure.

    A row is a track; its frames are spread evenly over those in which the object is present. The truth is the
    blue outline, the prediction the red area.

    Args:
        video_set: with masks.
        results: in the YouTube-VIS format, those that `outcomes` came from.
        outcomes: of `explain_tracks` or `worst_of_each`.
        columns: frames of each track.

    Raises:
        InputError: a video set without masks, or no outcomes.
    """
    if not video_set.has_masks:
        raise InputError(f"{video_set.source}: was loaded without masks, the gallery draws them")
    if not outcomes:
        raise InputError("no outcomes to draw, expected at least one")
    video = video_set.videos[0]
    panel_height = PANEL_WIDTH * video.height / video.width
    width, height = columns * (PANEL_WIDTH + GAP) + GAP, len(outcomes) * (panel_height + TITLE_HEIGHT) + GAP
    figure = Figure(figsize=(width, height), dpi=80)
    axes = figure.subplots(  # not by a layout engine: a title longer than its panel pushes the next one away
        len(outcomes),
        columns,
        squeeze=False,
        gridspec_kw=dict(
            left=GAP / width,
            right=1 - GAP / width,
            bottom=GAP / height,
            top=1 - TITLE_HEIGHT / height,
            wspace=GAP / PANEL_WIDTH,
            hspace=TITLE_HEIGHT / panel_height,
        ),
    )
    for outcome, panels in zip(outcomes, axes, strict=True):
        _draw_row(panels, video_set, results, outcome)
    return figure


def reason_figure(outcomes: list[TrackOutcome]) -> Figure:
    """Draw how many true tracks were found, and how many were not for each reason, as bars."""
    counts = count_reasons(outcomes)
    figure = Figure(figsize=(6, 2.3), dpi=100, layout="constrained")
    panel = figure.subplots()
    colours = [FOUND if reason in ("found", "duplicate") else FAILED for reason in counts]
    bars = panel.barh(list(counts), list(counts.values()), color=colours)
    panel.bar_label(bars, padding=4)
    panel.invert_yaxis()
    panel.set_title(f"What became of {len(outcomes)} true tracks", loc="left", fontsize=10)
    panel.spines[["top", "right", "bottom"]].set_visible(False)
    panel.set_xticks([])
    panel.margins(x=0.1)
    return figure


def outcome_label(outcome: TrackOutcome, names: dict[int, str]) -> str:
    """Say an outcome in words.

    >>> outcome_label(TrackOutcome(1, 2, 3, "class", 0, 0.71, 4, 0.9), {3: "disc", 4: "star"})
    'class: a disc, predicted as star (90 %), IoU 0.71'
    >>> outcome_label(TrackOutcome(1, 2, 3, "missed"), {3: "disc"})
    'missed: a disc, no result answers for it'
    """
    text = f"{outcome.reason}: a {names[outcome.category_id]}"
    if outcome.result is None:
        return f"{text}, no result answers for it"
    twice = f", claimed {1 + outcome.rivals} times" if outcome.rivals else ""
    predicted = f"{names[outcome.result_category_id]} ({100 * outcome.score:.0f} %)"
    return f"{text}, predicted as {predicted}, IoU {outcome.iou:.2f}{twice}"


def draw_outline(panel: Axes, mask: Tensor, colour: tuple[float, float, float], edge: str = "black") -> None:
    """Draw the border of a bool mask [H, W] over an image, with an edge, to show on any background."""
    if mask.any():
        padded = np.pad(
            mask.numpy().astype(float), 1
        )  # a mask that touches the border still gets a line there
        x, y = np.arange(padded.shape[1]) - 1, np.arange(padded.shape[0]) - 1
        for width, shade in ((3.2, edge), (1.8, colour)):
            panel.contour(x, y, padded, levels=[0.5], colors=[shade], linewidths=width)


def draw_area(panel: Axes, mask: Tensor, colour: tuple[float, float, float], opacity: float = 0.4) -> None:
    """Tint the pixels of a bool mask [H, W] over an image."""
    tint = np.zeros((*mask.shape, 4))
    tint[mask.numpy()] = (*colour, opacity)
    panel.imshow(tint, interpolation="nearest")


def _draw_row(panels: np.ndarray, video_set: VideoSet, results: list[dict], outcome: TrackOutcome) -> None:
    video, track = _find(video_set, outcome)
    frames = video_frames(video_set, video)
    truth = _masks(track.segmentations, video)
    predicted = torch.zeros_like(truth)
    if outcome.result is not None:
        predicted = _masks(results[outcome.result]["segmentations"], video)
    present = truth.flatten(1).any(1).nonzero()[:, 0]
    chosen = present[torch.linspace(0, len(present) - 1, len(panels)).round().long()].tolist()
    for panel, frame in zip(panels, chosen, strict=True):
        image = frames[frame].permute(1, 2, 0).numpy()
        panel.imshow(image // 8 * 8, interpolation="nearest")  # 5 bits a colour: half the bytes of a PNG
        draw_area(panel, predicted[frame], PREDICTION)
        draw_outline(panel, predicted[frame], PREDICTION, edge="white")
        draw_outline(panel, truth[frame], TRUTH)
        panel.set_xlim(-0.5, video.width - 0.5)
        panel.set_ylim(video.height - 0.5, -0.5)
        panel.set_xticks([])
        panel.set_yticks([])
    names = {category.id: category.name for category in video_set.categories}
    label = f"video {video.id}, {outcome_label(outcome, names)}"
    panels[0].set_title(label, loc="left", fontsize=9.5)


def _find(video_set: VideoSet, outcome: TrackOutcome) -> tuple[Video, Track]:
    video = next(video for video in video_set.videos if video.id == outcome.video_id)
    return video, next(track for track in video.tracks if track.id == outcome.track_id)


def _masks(segmentations, video: Video) -> Tensor:
    """Bool [T, H, W]; a frame without a segmentation is empty."""
    masks = torch.zeros(video.length, video.height, video.width, dtype=torch.bool)
    for frame, mask in enumerate(segmentations):
        if mask is not None:
            masks[frame] = torch.from_numpy(rle.decode(mask))
    return masks
