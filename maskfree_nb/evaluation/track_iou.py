"""The overlap of two tracks: one intersection over one union for the whole video."""

import numpy as np
from pycocotools import mask as coco_mask

from maskfree_nb.evaluation.reading import EvalTrack


def track_iou(
    results: list[EvalTrack],
    truths: list[EvalTrack],
    length: int,
    iou_type: str = "segm",
    *,
    only_listed_frames: bool = False,
) -> np.ndarray:
    """Compute (sum over frames of |intersection|) / (sum over frames of |union|) of every pair.

    Args:
        results: D tracks of one video; lists shorter or longer than the video are filled with absence or cut.
        truths: G tracks of the same video.
        length: frames of the video.
        iou_type: "segm" for masks, "bbox" for boxes.
        only_listed_frames: a frame beyond the end of a result's list does not count at all.

    Returns:
        float64 [D, G], 0..1; 0 where neither track is ever present.
    """
    intersections = {"segm": _mask_intersections, "bbox": _box_intersections}[iou_type]
    shared = intersections(results, truths, length)  # [D, G]
    result_areas = _stack([track.areas for track in results], length)  # [D, T]
    truth_areas = _stack([track.areas for track in truths], length)  # [G, T]
    counted = np.ones_like(result_areas)
    if only_listed_frames:
        counted = _stack([np.ones(len(track.areas)) for track in results], length)
    union = result_areas.sum(1)[:, None] + counted @ truth_areas.T - shared  # [D, G]
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def _mask_intersections(results: list[EvalTrack], truths: list[EvalTrack], length: int) -> np.ndarray:
    """Pixels shared, summed over frames.

    pycocotools compares all pairs of a frame in one call but returns IoU = i / (a + b - i) alone; with the
    areas known, i = IoU (a + b) / (1 + IoU), a whole number.
    """
    shared = np.zeros((len(results), len(truths)))
    for frame in range(length):
        rows = [i for i, track in enumerate(results) if frame < len(track.masks) and track.masks[frame]]
        columns = [j for j, track in enumerate(truths) if track.masks[frame]]
        if rows and columns:
            ours, theirs = [results[i].masks[frame] for i in rows], [truths[j].masks[frame] for j in columns]
            iou = coco_mask.iou(ours, theirs, [0] * len(theirs))
            total = np.add.outer(coco_mask.area(ours), coco_mask.area(theirs)).astype(np.float64)
            shared[np.ix_(rows, columns)] += np.rint(iou * total / (1 + iou))
    return shared


def _box_intersections(results: list[EvalTrack], truths: list[EvalTrack], length: int) -> np.ndarray:
    ours = _stack([track.boxes for track in results], length, 4)[:, None]  # [D, 1, T, 4]
    theirs = _stack([track.boxes for track in truths], length, 4)  # [G, T, 4]
    low = np.maximum(ours[..., :2], theirs[..., :2])
    high = np.minimum(ours[..., :2] + ours[..., 2:], theirs[..., :2] + theirs[..., 2:])
    return (high - low).clip(0).prod(-1).sum(-1)  # [D, G]


def _stack(arrays: list[np.ndarray], length: int, *rest: int) -> np.ndarray:
    """Arrays over frames [entries, ...] as one [tracks, length, ...], filled with zeros, or cut."""
    stacked = np.zeros((len(arrays), length, *rest))
    for row, array in zip(stacked, arrays, strict=True):
        row[: len(array)] = array[:length]
    return stacked
