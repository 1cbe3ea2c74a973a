"""Average precision of video instance segmentation, as YouTube-VIS defines it, on pycocotools' COCOeval."""

import io
from collections import defaultdict
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pycocotools.cocoeval import COCOeval

from maskfree_nb.data import rle
from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.mask_boxes import filled_box, tight_box
from maskfree_nb.evaluation.reading import (
    EvalTrack,
    load_json,
    mean_of_present,
    read_categories,
    read_results,
    read_truths,
    read_videos,
)
from maskfree_nb.evaluation.track_iou import track_iou

AREA_RANGES = {"all": (0, 1e10), "small": (0, 128**2), "medium": (128**2, 256**2), "large": (256**2, 1e10)}
LIMITS = (1, 10, 100)  # results that count, per video and category
COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10")


@dataclass(frozen=True, eq=False)
class VideoAP:
    """What an evaluation found; every number is a fraction, -1 where there is nothing to find.

    Attributes:
        stats: AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl.
        per_category: category id -> the same numbers, and `name`.
        precision, scores: float64 [10, 101, K, 4, 3]: precision, and the score that reaches it, at IoU
            thresholds .5:.05:.95, recalls 0:.01:1, K categories by ascending id, areas all / small / medium /
            large, and at most 1 / 10 / 100 results a video and category.
        recall: float64 [10, K, 4, 3].
        ious: for each video and category, numbers of the `results`, best first, and `iou` [results][truths].
        iou_type: "segm" or "bbox".
        counts: of videos, truths and results; `unlisted` results have a category that the file does not list.
    """

    stats: dict[str, float]
    per_category: dict[int, dict]
    precision: np.ndarray = field(repr=False)
    recall: np.ndarray = field(repr=False)
    scores: np.ndarray = field(repr=False)
    ious: list[dict] = field(repr=False)
    iou_type: str
    counts: dict[str, int]

    def table(self) -> str:
        """Return the numbers in percent as text: a row for all categories, a row for each; - is undefined."""
        rows = [("all", self.stats), *((row["name"], row) for row in self.per_category.values())]
        width = max(len(name) for name, _ in rows)
        header = " " * width + "".join(f"{column:>7}" for column in COLUMNS)
        kind = {"segm": "masks", "bbox": "boxes"}[self.iou_type]
        counts = self.counts
        lines = [
            f"Video AP of {kind}, in percent "
            f"(videos: {counts['videos']}, true tracks: {counts['truths']}, results: {counts['results']})",
            header,
            "-" * len(header),
        ]
        for name, row in rows:
            cells = (f"{100 * row[column]:.1f}" if row[column] >= 0 else "-" for column in COLUMNS)
            lines.append(f"{name:<{width}}" + "".join(f"{cell:>7}" for cell in cells))
        if not counts["truths"]:
            lines.append("The annotation file has no annotations: there is nothing to score against.")
        if counts["unlisted"]:
            lines.append(f"Results of categories that the file does not list, left out: {counts['unlisted']}")
        return "\n".join(lines)


def evaluate_videos(
    ground_truth: dict | str | Path,
    results: list | str | Path,
    iou_type: str = "segm",
    official_quirks: bool = False,
) -> VideoAP:
    """Score results with the average precision of YouTube-VIS.

    Track IoU = (sum over frames of |intersection|) / (sum over frames of |union|). The rest is as in COCO: in
    each video and category the results, by falling score, each take the unused truth of highest IoU >=
    threshold; AP is the mean of the precision over 10 thresholds, 101 recalls and the categories that have a
    truth. Crowds neither reward nor punish the results that match them.

    Args:
        ground_truth: a YouTube-VIS annotation file, or its content; `areas` and `iscrowd` may be missing.
        results: a JSON file of, or a list of, `{video_id, category_id, score, segmentations}`, an RLE
            (compressed or not) or null a frame; lists of another length than the video are filled or cut.
        iou_type: "segm" compares masks; "bbox" compares `bboxes` with the tight boxes of the results' masks.
        official_quirks: follow the official evaluator to the letter: the size of a truth is that of the field
            `areas`, frames beyond the end of a short list do not count, and a match with id 0 is none.

    Returns:
        `VideoAP`. Without results every number is 0; without annotations every number is -1.

    Raises:
        InputError: names file, annotation or result, and field; what was given and what was expected.

    Source: Yang et al., Video Instance Segmentation, ICCV 2019, arXiv 1905.04804, section 3.2.

    >>> mask = {"size": [4, 4], "counts": [5, 2, 2, 2, 5]}
    >>> track = {"id": 1, "video_id": 1, "category_id": 1, "segmentations": [mask, None]}
    >>> truth = {"videos": [{"id": 1, "height": 4, "width": 4, "length": 2}],
    ...          "categories": [{"id": 1, "name": "cat"}], "annotations": [track]}
    >>> round(evaluate_videos(truth, [{**track, "score": 0.9}]).stats["AP"], 6)
    1.0
    """
    if iou_type not in ("segm", "bbox"):
        raise InputError(f"iou_type is {iou_type!r}, expected 'segm' or 'bbox'")
    if official_quirks and iou_type == "bbox":
        raise InputError("official_quirks needs iou_type='segm': the official evaluator has no boxes")
    ground_truth, truth_name = load_json(ground_truth, dict, "ground_truth")
    results, results_name = load_json(results, list, "results")
    videos, categories = read_videos(ground_truth, truth_name), read_categories(ground_truth, truth_name)
    truths = read_truths(ground_truth, truth_name, iou_type)
    found = read_results(results, results_name, videos, iou_type)

    evaluation = VideoCOCOeval(videos, categories, truths, found, iou_type, official_quirks)
    with redirect_stdout(io.StringIO()):  # COCOeval prints its progress
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    return VideoAP(
        stats=_stats(precision, recall),
        per_category={
            category_id: {"name": name, **_stats(precision[:, :, [k]], recall[:, [k]])}
            for k, (category_id, name) in enumerate(categories.items())
        },
        precision=precision,
        recall=recall,
        scores=evaluation.eval["scores"],
        ious=evaluation.iou_tables(),
        iou_type=iou_type,
        counts={
            "videos": len(videos),
            "truths": len(truths),
            "results": len(found),
            "unlisted": sum(track.category_id not in categories for track in found),
        },
    )


def mean_track_iou(ground_truth: dict | str | Path, results: list | str | Path) -> float:
    """Return the mean over all true tracks of the best track IoU that any result reaches, 0..1.

    For each annotation that is not a crowd: the highest track IoU, as in `evaluate_videos`, among all results
    of the same video and the same category; 0 if there are none. Scores play no part and one result may serve
    several annotations: the number tells how good the masks are, not how well they are ranked. -1 without
    annotations.
    """
    ground_truth, truth_name = load_json(ground_truth, dict, "ground_truth")
    results, results_name = load_json(results, list, "results")
    videos = read_videos(ground_truth, truth_name)
    rivals = defaultdict(list)
    for track in read_results(results, results_name, videos, "segm"):
        rivals[track.video_id, track.category_id].append(track)
    best = []
    for truth in read_truths(ground_truth, truth_name, "segm"):
        if not truth.crowd:
            same_class = rivals[truth.video_id, truth.category_id]
            ious = track_iou(same_class, [truth], videos[truth.video_id].length)
            best.append(ious.max(initial=0))
    return float(np.mean(best)) if best else -1.0


def boxes_as_masks(results: list | str | Path) -> list[dict]:
    """Replace every mask of a list of results by its filled tight box: what boxes alone would score.

    >>> mask = {"size": [2, 2], "counts": [0, 1, 2, 1]}  # two pixels on the diagonal
    >>> results = [{"video_id": 1, "category_id": 1, "score": 1.0, "segmentations": [mask, None]}]
    >>> boxes_as_masks(results)[0]["segmentations"]
    [{'size': [2, 2], 'counts': '04'}, None]
    """

    def fill(mask: rle.Rle | None) -> rle.Rle | None:
        if mask is None:
            return None
        height, width = mask["size"]
        mask = rle.checked(mask, height, width)
        return filled_box(tight_box(mask), height, width) if rle.area(mask) else None

    results, _ = load_json(results, list, "results")
    return [
        {**result, "segmentations": [fill(mask) for mask in result["segmentations"]]} for result in results
    ]


class VideoCOCOeval(COCOeval):
    """COCOeval with videos in place of images: IoU and area of a track are sums and means over its frames."""

    def __init__(self, videos, categories, truths, results, iou_type, official_quirks):
        super().__init__(iouType=iou_type)
        self.videos, self.truths, self.results = videos, truths, results
        self.official_quirks = official_quirks
        self.params.imgIds, self.params.catIds = sorted(videos), list(categories)
        self.params.areaRng = [list(limits) for limits in AREA_RANGES.values()]
        self.params.areaRngLbl = list(AREA_RANGES)
        self.params.maxDets = list(LIMITS)

    def _prepare(self):
        self._gts, self._dts = self._rows(self.truths), self._rows(self.results)

    def _rows(self, tracks: list[EvalTrack]) -> dict[tuple, list[dict]]:
        rows = defaultdict(list)
        for track in tracks:
            row = {
                "track": track,
                "score": track.score,
                "iscrowd": int(track.crowd),
                "ignore": int(track.crowd),
            }
            if self.official_quirks:
                row["id"] = track.id
                row["area"] = mean_of_present(track.areas) if track.given_area is None else track.given_area
            else:
                row["id"] = track.index + 1  # COCOeval takes 0 for 'no match'
                row["area"] = mean_of_present(track.areas[: self.videos[track.video_id].length])
            rows[track.video_id, track.category_id].append(row)
        return rows

    def _best_first(self, video_id: int, category_id: int) -> list[EvalTrack]:
        results = [row["track"] for row in self._dts[video_id, category_id]]
        return sorted(results, key=lambda track: -track.score)[: self.params.maxDets[-1]]

    def computeIoU(self, video_id, category_id):
        """Track IoUs of all results, best first, with all truths of a video and category."""
        truths = [row["track"] for row in self._gts[video_id, category_id]]
        results, length = self._best_first(video_id, category_id), self.videos[video_id].length
        return track_iou(
            results, truths, length, self.params.iouType, only_listed_frames=self.official_quirks
        )

    def iou_tables(self) -> list[dict]:
        """The IoUs of every video and category that has a truth or a result."""
        return [
            {
                "video_id": video_id,
                "category_id": category_id,
                "results": [track.index for track in self._best_first(video_id, category_id)],
                "iou": self.ious[video_id, category_id].tolist(),
            }
            for video_id in sorted(self.videos)
            for category_id in map(int, self.params.catIds)
            if self._gts[video_id, category_id] or self._dts[video_id, category_id]
        ]


def _stats(precision: np.ndarray, recall: np.ndarray) -> dict[str, float]:
    """The means of the curves over all entries that are defined, -1 where none is."""

    def mean(values: np.ndarray) -> float:
        return float(values[values > -1].mean()) if (values > -1).any() else -1.0

    stats = {"AP": mean(precision[..., 0, 2])}
    stats |= {"AP50": mean(precision[0, ..., 0, 2]), "AP75": mean(precision[5, ..., 0, 2])}
    stats |= {f"AP{size}": mean(precision[..., area, 2]) for area, size in enumerate("sml", start=1)}
    stats |= {f"AR{limit}": mean(recall[..., 0, number]) for number, limit in enumerate(LIMITS)}
    return stats | {f"AR{size}": mean(recall[..., area, 2]) for area, size in enumerate("sml", start=1)}
