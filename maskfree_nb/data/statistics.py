"""What clips look like to the losses: how far a box is from a mask, and how often colour tells the truth.

The TK-Loss trusts its matches, the pairwise loss its neighbours of like colour. With true masks at hand one
can count how many there are, and how many of them are right. A made data set is worth training on where these
numbers are near those of real video.
"""

import math
from dataclasses import astuple, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from maskfree_nb.boxloss.pairwise import colour_affinity, neighbour_offsets
from maskfree_nb.data import rle
from maskfree_nb.data.frames import read_frame
from maskfree_nb.data.tracks import Video, VideoSet
from maskfree_nb.errors import InputError
from maskfree_nb.tkloss.candidates import Offsets, disk_offsets, grid_offsets
from maskfree_nb.tkloss.lab import rgb_to_lab
from maskfree_nb.tkloss.matching import match_patches

K, THRESHOLD = 5, 0.05
DILATION, AFFINITY_THRESHOLD = 2, 0.3


@dataclass(frozen=True)
class Setting:
    """How clips are looked at: image pixels a cell of the map, candidates of a match, channel order."""

    name: str
    stride: int
    offsets: Offsets
    channel_order: str = "rgb"


OFFICIAL = Setting("/4, official", 4, grid_offsets(1, 3), "bgr")
PAPER = Setting("/4, R=5", 4, disk_offsets(5))
FINE = Setting("/2, R=5", 2, disk_offsets(5))
SETTINGS = (OFFICIAL, PAPER, FINE)


@dataclass(frozen=True)
class ClipStatistics:
    """Means over clips of what lies inside the boxes; shares are in 0..1.

    Attributes:
        setting: name of the `Setting`.
        box_fill: IoU of the filled boxes and the true masks.
        match_accuracy: share of the matches that join two cells on the same side of the mask.
        matches: mean number of matches of a cell, 0..K.
        without_match: share of the cells that have none.
        with_all: share of the cells that have all K.
        affine: share of a cell's neighbours inside the frame that are of like colour.
        affine_wrong: share of these that are on the other side of the mask.
    """

    setting: str
    box_fill: float
    match_accuracy: float
    matches: float
    without_match: float
    with_all: float
    affine: float
    affine_wrong: float


# 16 clips of DAVIS 2016 (Perazzi et al., CVPR 2016) at 427x240, every second frame, by `clip_statistics`
REAL_CLIPS = (
    ClipStatistics("/4, official", 0.4770, 0.9986, 0.2001, 0.8665, 0.0045, 0.1303, 0.0156),
    ClipStatistics("/4, R=5", 0.4770, 0.9971, 0.5564, 0.7784, 0.0601, 0.1279, 0.0161),
    ClipStatistics("/2, R=5", 0.4822, 0.9983, 0.7154, 0.7726, 0.0980, 0.1791, 0.0103),
)

COLUMNS = (
    ("box fill", "{:.3f}"),
    ("right matches", "{:.2%}"),
    ("matches", "{:.2f}"),
    ("none", "{:.1%}"),
    (f"all {K}", "{:.2%}"),
    ("affine", "{:.1%}"),
    ("wrong", "{:.2%}"),
)


def clip_statistics(
    video_set: VideoSet, settings: tuple[Setting, ...] = SETTINGS, *, max_frames: int = 12
) -> list[ClipStatistics]:
    """Count matches and neighbours of like colour, and those that the true masks contradict.

    A cell of the map is a square of `stride` pixels. Its colour is the Lab of their mean, not rounded to
    bytes; a mask or a filled box covers it where it covers at least half of its pixels. Frame t + 1 is
    matched with frame t (source t, centre t + 1) for all t, without a cycle: K = 5, D = 0.05, 3x3 patches,
    clean borders. Neighbours are the eight at distance 2 inside the frame, of like colour if
    exp(-|difference| / 2) >= 0.3.

    Only cells inside an object's box count; for a match, its centre. Cells, matches and neighbours are summed
    over the objects and frames of a clip, each object against its own mask; then the ratios of the clips are
    averaged. A clip without any match has no match accuracy, and so on: it is left out of that mean alone.

    Args:
        video_set: with masks, from `load_ytvis(..., masks=True)`.
        settings: one row each.
        max_frames: how many frames of each video are looked at, from the first.

    Returns:
        One row a setting.

    Raises:
        InputError: the set was read without masks, or no video has an object.

    >>> rows = clip_statistics(load_ytvis("val.json", "val/JPEGImages", masks=True))    # doctest: +SKIP
    >>> print(format_statistics(rows))                                                  # doctest: +SKIP
    """
    if not video_set.has_masks:
        raise InputError(f"{video_set.source}: was read without masks, but the statistics need true masks")
    videos = [video for video in video_set.videos if video.tracks]
    if not videos:
        raise InputError(f"{video_set.source}: no video has an annotation, so there is nothing to count")
    rows = []
    for setting in settings:
        ratios = [_clip_ratios(video_set, video, setting, max_frames) for video in videos]
        rows.append(ClipStatistics(setting.name, *torch.tensor(ratios).nanmean(0).tolist()))
    return rows


def format_statistics(rows: list[ClipStatistics]) -> str:
    """Lay rows out as a table; below each stands that of real clips in the same setting, if it is known.

    >>> print(format_statistics([ClipStatistics("/8, R=5", 0.5, 0.99, 0.5, 0.8, 0.1, 0.12, 0.02)]))
    setting  box fill  right matches  matches   none   all 5  affine  wrong
    /8, R=5     0.500         99.00%     0.50  80.0%  10.00%   12.0%  2.00%
    """
    real = {row.setting: row for row in REAL_CLIPS}
    lines = [("setting", *(title for title, _ in COLUMNS))]
    for row in rows:
        lines.append((row.setting, *_cells(row)))
        if row.setting in real:
            lines.append(("  real clips", *_cells(real[row.setting])))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    layout = f"{{:<{widths[0]}}}" + "".join(f"  {{:>{width}}}" for width in widths[1:])
    return "\n".join(layout.format(*line) for line in lines)


def _cells(row: ClipStatistics) -> list[str]:
    return [form.format(value) for value, (_, form) in zip(astuple(row)[1:], COLUMNS, strict=True)]


def _clip_ratios(video_set: VideoSet, video: Video, setting: Setting, max_frames: int) -> list[float]:
    """Return the columns of `ClipStatistics` of one clip; NaN where a denominator is zero."""
    length = min(video.length, max_frames)
    frames = torch.stack([read_frame(video_set, video, t) for t in range(length)])
    lab = rgb_to_lab(frames, setting.stride, channel_order=setting.channel_order, quantise=False)
    masks, boxes = masks_and_boxes(video, length, setting.stride)  # bool [N, T, h, w] each
    box_fill = _ratio((masks & boxes).sum(), (masks | boxes).sum())
    return [
        box_fill,
        *_match_ratios(lab, masks, boxes, setting.offsets),
        *_affinity_ratios(lab, masks, boxes),
    ]


def _match_ratios(lab: Tensor, masks: Tensor, boxes: Tensor, offsets: Offsets) -> list[float]:
    if len(lab) < 2:
        return [math.nan] * 4
    pairs = [(t, t + 1) for t in range(len(lab) - 1)]
    keep = match_patches(lab, pairs, offsets, k=K, threshold=THRESHOLD).keep()[0]  # [P, S, h, w]
    count, region = keep.sum(1), boxes[:, 1:]
    right = sum(
        (keep[:, s] & region & (_neighbour(masks[:, :-1], dy, dx) == masks[:, 1:])).sum()
        for s, (dy, dx) in enumerate(offsets)
    )
    matches, cells = (count * region).sum(), region.sum()
    none, all_k = ((count == 0) & region).sum(), ((count == K) & region).sum()
    return [_ratio(right, matches), _ratio(matches, cells), _ratio(none, cells), _ratio(all_k, cells)]


def _affinity_ratios(lab: Tensor, masks: Tensor, boxes: Tensor) -> list[float]:
    bits = colour_affinity(lab[None], dilation=DILATION, threshold=AFFINITY_THRESHOLD, border="clean")[0]
    frame = torch.ones_like(bits, dtype=torch.bool)  # [T, h, w]
    neighbours = affine = wrong = torch.tensor(0)
    for k, (dy, dx) in enumerate(neighbour_offsets(DILATION)):
        alike = ((bits >> k) & 1).bool() & boxes  # [N, T, h, w]
        neighbours = neighbours + (_neighbour(frame, dy, dx) & boxes).sum()
        affine = affine + alike.sum()
        wrong = wrong + (alike & (_neighbour(masks, dy, dx) != masks)).sum()
    return [_ratio(affine, neighbours), _ratio(wrong, affine)]


def masks_and_boxes(video: Video, length: int, stride: int) -> tuple[Tensor, Tensor]:
    """Return the true masks and the filled boxes on the map, bool [N, T, h, w] each."""
    masks = torch.zeros(len(video.tracks), length, video.height, video.width)
    boxes = torch.zeros_like(masks)
    for n, track in enumerate(video.tracks):
        for t in range(length):
            if track.segmentations[t] is not None:
                masks[n, t] = torch.from_numpy(rle.decode(track.segmentations[t]))
            if not math.isnan(track.boxes[t, 0]):
                x0, y0, x1, y1 = (round(float(edge)) for edge in track.boxes[t])
                boxes[n, t, y0:y1, x0:x1] = 1
    return F.avg_pool2d(masks, stride) >= 0.5, F.avg_pool2d(boxes, stride) >= 0.5


def _neighbour(mask: Tensor, dy: int, dx: int) -> Tensor:
    """Read a bool mask [..., h, w] at (y + dy, x + dx); False outside the frame."""
    height, width = mask.shape[-2:]
    reach = max(abs(dy), abs(dx))
    padded = F.pad(mask, [reach] * 4)
    return padded[..., reach + dy : reach + dy + height, reach + dx : reach + dx + width]


def _ratio(part: Tensor, whole: Tensor) -> float:
    return (part.double() / whole).item()
