"""What became of each true track: found, or why not."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskfree_nb.evaluation.reading import EvalTrack, load_json, read_results, read_truths, read_videos
from maskfree_nb.evaluation.track_iou import track_iou

REASONS = ("found", "duplicate", "class", "unsure", "poor mask", "missed")
GOOD = 0.5  # track IoU from which an object counts as segmented: the lowest threshold of AP
TOUCHED = 0.1  # below this track IoU no result has anything to do with the object


@dataclass(frozen=True)
class TrackOutcome:
    """One true track and the result that answers for it.

    Attributes:
        track_id, video_id, category_id: of the annotation.
        reason: `found`; `duplicate` (found, and more than one result claims it); `class` (well segmented,
            under another name); `unsure` (well segmented, with a score that is too low to count); `poor mask`
            (touched, but no result overlaps enough); `missed`.
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

    @property
    def is_found(self) -> bool:
        """Whether a result of the right class overlaps enough."""
        return self.reason in ("found", "duplicate")


def explain_tracks(
    ground_truth: dict | str | Path, results: list | str | Path, *, min_score: float = 0.3
) -> list[TrackOutcome]:
    """Say for each true track, crowds apart, what became of it.

    The reasons are tried in this order, each with the result of highest track IoU among those that fit: one
    of its class with IoU >= 0.5 and a score of at least `min_score`; one of any class; one of any class and
    any score; one with IoU >= 0.1 and that score, which overlaps no other object more. Unlike in AP, one
    result may answer for several objects.

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
    truths, found = defaultdict(list), defaultdict(list)
    for track in read_truths(ground_truth, truth_name, "segm"):
        if not track.crowd:
            truths[track.video_id].append(track)
    for track in read_results(results, results_name, videos, "segm"):
        found[track.video_id].append(track)
    outcomes = []
    for video_id, objects in truths.items():
        ious = track_iou(found[video_id], objects, videos[video_id].length)  # [D, G]
        outcomes += [_explain(g, objects, found[video_id], ious, min_score) for g in range(len(objects))]
    return sorted(outcomes, key=lambda outcome: (outcome.is_found, outcome.iou))


def count_reasons(outcomes: list[TrackOutcome]) -> dict[str, int]:
    """How many tracks there are for each reason, in the order of `REASONS`.

    >>> count_reasons([TrackOutcome(1, 1, 1, "missed")])["missed"]
    1
    """
    counts = Counter(outcome.reason for outcome in outcomes)
    return {reason: counts[reason] for reason in REASONS}


def worst_of_each(outcomes: list[TrackOutcome], count: int) -> list[TrackOutcome]:
    """Choose `count` failures in turn from all reasons but `found`, so that a gallery shows every kind.

    >>> some = [TrackOutcome(id, 1, 1, reason) for id, reason in enumerate(["missed", "missed", "class"])]
    >>> [outcome.reason for outcome in worst_of_each(some, 2)]
    ['class', 'missed']
    """
    place = Counter()
    turns = []
    for outcome in outcomes:
        if outcome.reason != "found":
            turns.append((place[outcome.reason], REASONS.index(outcome.reason), outcome))
            place[outcome.reason] += 1
    chosen = sorted(turns, key=lambda turn: turn[:2])[:count]
    return [outcome for _, _, outcome in sorted(chosen, key=lambda turn: turn[1::-1])]


def _explain(
    g: int, truths: list[EvalTrack], results: list[EvalTrack], ious: np.ndarray, min_score: float
) -> TrackOutcome:
    """The outcome of true track `g`, given the IoUs [D, G] of all results and true tracks of its video."""
    truth = truths[g]
    sure = np.array([result.score >= min_score for result in results], dtype=bool)
    same_class = np.array([result.category_id == truth.category_id for result in results], dtype=bool)
    good, own = ious[:, g] >= GOOD, ious.argmax(1) == g
    claims = good & sure & same_class
    cases = {
        "duplicate" if claims.sum() > 1 else "found": claims,
        "class": good & sure,
        "unsure": good,
        "poor mask": (ious[:, g] >= TOUCHED) & sure & own,
    }
    for reason, fits in cases.items():
        if fits.any():
            best = int(np.where(fits, ious[:, g], -1).argmax())
            return TrackOutcome(
                track_id=truth.id,
                video_id=truth.video_id,
                category_id=truth.category_id,
                reason=reason,
                result=results[best].index,
                iou=float(ious[best, g]),
                result_category_id=results[best].category_id,
                score=results[best].score,
                rivals=max(int(claims.sum()) - 1, 0),
            )
    return TrackOutcome(truth.id, truth.video_id, truth.category_id, "missed")
