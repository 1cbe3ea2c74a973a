"""What became of each true track: found, or why not."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskfree_nb.evaluation.reading import EvalTrack, load_json, read_results, read_truths, read_videos
from maskfree_nb.evaluation.track_iou import track_iou

REASONS = ("found", "duplicate", "class", "poor mask", "missed")
GOOD = 0.5  # track IoU from which an object counts as found: the lowest threshold of AP
TOUCHED = 0.1  # below this track IoU no result has anything to do with the object


@dataclass(frozen=True)
class TrackOutcome:
    """One true track and the result that answers for it.

    Attributes:
        track_id, video_id, category_id: of the annotation.
        reason: `found`; `duplicate` (found, and more than one result claims it); `class` (well segmented,
            under another name); `poor mask` (touched, but no result overlaps enough); `missed`.
        result: number of the result in the list that was given; None where the object was missed.
        iou: its track IoU with the object, 0 where missed.
        result_category_id, score: of the result; None where missed.
        rivals: how many further results of the object's class claim it as well.
    """

    track_id: int
    video_id: int
    category_id: int
    reason: str
    result: int | None = None
    iou: float = 0.0
    result_category_id: int | None = None
    score: float | None = None
    rivals: int = 0


def explain_tracks(
    ground_truth: dict | str | Path, results: list | str | Path, *, min_score: float = 0.3
) -> list[TrackOutcome]:
    """Say for each true track, crowds apart, what became of it.

    Results below `min_score` do not count: AP ranks them last, and nobody would draw them. Of the others in
    the video, the one of highest track IoU answers for the object: one of its own class where that reaches an
    IoU of 0.5, else the best of any class. Unlike in AP, one result may answer for several objects.

    Args:
        ground_truth, results: as for `evaluate_videos`.
        min_score: the least score of a result that counts, 0..1.

    Returns:
        One `TrackOutcome` for each annotation that is no crowd, the worst first: those not found before those
        that were, each by rising IoU.

    Raises:
        InputError: as `evaluate_videos`.

    Source: the split into kinds of error follows TIDE, Bolya et al., ECCV 2020, arXiv 2008.08115, with tracks
    in place of boxes.

    >>> mask = {"size": [4, 4], "counts": [5, 2, 2, 2, 5]}
    >>> track = {"id": 7, "video_id": 1, "category_id": 1, "segmentations": [mask, None]}
    >>> truth = {"videos": [{"id": 1, "height": 4, "width": 4, "length": 2}], "annotations": [track],
    ...          "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}
    >>> [outcome.reason for outcome in explain_tracks(truth, [{**track, "category_id": 2, "score": 0.9}])]
    ['class']
    """
    ground_truth, truth_name = load_json(ground_truth, dict, "ground_truth")
    results, results_name = load_json(results, list, "results")
    videos = read_videos(ground_truth, truth_name)
    claims = defaultdict(list)
    for track in read_results(results, results_name, videos, "segm"):
        if track.score >= min_score:
            claims[track.video_id].append(track)
    outcomes = []
    for truth in read_truths(ground_truth, truth_name, "segm"):
        if not truth.crowd:
            rivals = claims[truth.video_id]
            ious = track_iou(rivals, [truth], videos[truth.video_id].length)[:, 0]
            outcomes.append(_explain(truth, rivals, ious))
    return sorted(outcomes, key=lambda outcome: (_is_found(outcome), outcome.iou))


def count_reasons(outcomes: list[TrackOutcome]) -> dict[str, int]:
    """How many tracks there are for each reason, in the order of `REASONS`.

    >>> count_reasons([TrackOutcome(1, 1, 1, "missed")])
    {'found': 0, 'duplicate': 0, 'class': 0, 'poor mask': 0, 'missed': 1}
    """
    counts = Counter(outcome.reason for outcome in outcomes)
    return {reason: counts[reason] for reason in REASONS}


def _is_found(outcome: TrackOutcome) -> bool:
    return outcome.reason in ("found", "duplicate")


def _explain(truth: EvalTrack, results: list[EvalTrack], ious: np.ndarray) -> TrackOutcome:
    """The outcome of one true track, given the results of its video and their IoUs [results] with it."""
    about = {"track_id": truth.id, "video_id": truth.video_id, "category_id": truth.category_id}
    if ious.max(initial=0) < TOUCHED:
        return TrackOutcome(**about, reason="missed")
    same_class = np.array([result.category_id == truth.category_id for result in results])
    claiming = same_class & (ious >= GOOD)
    best = int(np.where(claiming, ious, -1).argmax() if claiming.any() else ious.argmax())
    if claiming.any():
        reason = "duplicate" if claiming.sum() > 1 else "found"
    else:
        reason = "class" if ious[best] >= GOOD else "poor mask"
    return TrackOutcome(
        **about,
        reason=reason,
        result=results[best].index,
        iou=float(ious[best]),
        result_category_id=results[best].category_id,
        score=results[best].score,
        rivals=int(claiming.sum()) - 1 if claiming.any() else 0,
    )
