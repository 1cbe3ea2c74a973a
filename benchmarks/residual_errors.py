"""Where masks still differ from the truth: `python benchmarks/residual_errors.py runs/study_main`.

Holds the results of every run of a study against the true masks of the held-out videos and stores, by row and
seed, how many pixels are missing or too many, and where: `residuals.json`; `residuals_NAME.json` for another
study than the main one, `residuals_composites.json` for one on composites. A picture beside it shows the
tracks that masks learnt from boxes lose the most of. `results_page.py` puts both under the study.

    {"study": "main", "near": 2, "tracks": 84, "size_limits": [311, 655],
     "rows": [{"name": "boxes", "label": "projection + pairwise + TK",
               "seeds": [{"seed": 0, "missing_near": 12.3, ..., "mean_iou": 66.91, ...}, ...]}, ...],
     "picture": {"seed": 0, "tracks": [{"track_id": 5, "video_id": 3, "frame": 7,
                                        "masks": 84.2, "boxes": 41.0}, ...]}}

Figures in percent: of the true pixels of a track, mean over the tracks, or of the tracks.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measure_study import is_in_repository, measure_study
from residual_picture import Loss, write_picture
from residual_section import tables
from scipy.ndimage import binary_dilation
from study_command import shows_real_clips, usual_stem

from maskfree_nb import atomic
from maskfree_nb.data import rle
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.mask_boxes import filled_box, tight_box
from maskfree_nb.evaluation.reading import (
    EvalTrack,
    EvalVideo,
    load_json,
    mean_of_present,
    read_results,
    read_truths,
    read_videos,
)
from maskfree_nb.evaluation.track_iou import track_iou
from maskfree_nb.viz.study import ORACLE, read_study

NEAR = 2  # pixels from the true outline
REACH = np.arange(-NEAR, NEAR + 1)
DISK = (np.hypot(REACH[:, None], REACH) <= NEAR)[None]  # [1, 5, 5]: within a frame, not over time
WHERE = ("missing_near", "missing_far", "extra_near", "extra_far", "extra_outside")
LEAST_IOUS = (50, 75, 85)  # percent
SIZES = ("small", "medium", "large")
DRAWN = 8  # tracks
BOXES = "boxes"  # the row that is held against the oracle


@dataclass(frozen=True, eq=False)
class TrueTrack:
    """A true track; bool [T, H, W] each: its `mask`, its filled tight boxes, the pixels near its outline."""

    track: EvalTrack
    mask: np.ndarray
    box: np.ndarray
    near: np.ndarray


@dataclass(frozen=True, eq=False)
class Answer:
    """What answers for a true track: `mask`, bool [T, H, W], empty where it was missed, and the track IoU."""

    mask: np.ndarray
    iou: float


def write_residuals(folder: Path, out: Path, stem: str | None = None) -> dict:
    """Measure every run of the study in `folder`; write the numbers and the picture into `out`, as `stem`.

    The clips that composites are made of may not be given away: of them no picture is written into the
    repository, save into its `runs`, which git ignores; the numbers are.

    Raises:
        InputError: no study, a run without results, or fewer true tracks than thirds of them need.
    """
    study = read_study(folder / "study.json")
    annotations = folder / "data" / "val.json"
    videos, truths = read_true_tracks(annotations)
    if len(truths) < len(SIZES):
        raise InputError(
            f"{annotations}: has {len(truths)} true tracks, expected at least {len(SIZES)}: "
            "their thirds by size are compared"
        )
    rows, answers = [], {}
    for row in study.rows:
        seeds = []
        for seed in (run["seed"] for run in row.seeds):
            results = folder / row.name / f"seed_{seed}" / "results.json"
            found = best_answers(truths, results, videos)
            seeds.append({"seed": seed, **figures(truths, found)})
            if row.name in (ORACLE, BOXES):
                answers[row.name, seed] = found
        rows.append({"name": row.name, "label": row.label, "seeds": seeds})
    content = {
        "study": study.name,
        "near": NEAR,
        "tracks": len(truths),
        "size_limits": [round(sizes[-1]) for sizes in np.array_split(np.sort(_areas(truths)), 3)[:-1]],
        "rows": rows,
    }
    stem = stem or usual_stem(study).replace("study", "residuals", 1)
    common = [seed for name, seed in answers if name == BOXES and (ORACLE, seed) in answers]
    losses = worst_losses(truths, *(answers[row, common[0]] for row in (ORACLE, BOXES))) if common else []
    if not losses:
        print(f"no picture: no seed and track of which the row {BOXES} loses against the row {ORACLE}")
    elif shows_real_clips(study) and is_in_repository(out):
        print(
            f"no picture: the clips may not be given away, {out} is in the repository; choose another --out"
        )
    else:
        video_set = load_ytvis(annotations, folder / "data" / "val" / "JPEGImages", masks=True)
        write_picture(out / f"{stem}.png", video_set, losses)
        content["picture"] = {"seed": common[0], "tracks": [_drawn(loss) for loss in losses]}
    atomic.write_json(out / f"{stem}.json", content, indent=2)
    return content


def read_true_tracks(annotations: Path) -> tuple[dict[int, EvalVideo], list[TrueTrack]]:
    """Read the videos by id and all true tracks, crowds apart."""
    content, name = load_json(annotations, dict, "annotations")
    videos, tracks = read_videos(content, name), []
    for track in read_truths(content, name, "segm"):
        if not track.crowd:
            video = videos[track.video_id]
            mask = _decoded(track.masks, video)
            size = (video.height, video.width)
            boxes = [each and filled_box(tight_box(each), *size) for each in track.masks]
            near = binary_dilation(mask, DISK) & binary_dilation(~mask, DISK)  # of the outline, on both sides
            tracks.append(TrueTrack(track, mask, _decoded(boxes, video), near))
    return videos, tracks


def best_answers(truths: list[TrueTrack], results: Path, videos: dict[int, EvalVideo]) -> list[Answer]:
    """For each true track the result of its class with the highest track IoU; an empty one where it is 0.

    The IoU is that of `mean_track_iou`: scores play no part and one result may answer for several tracks.
    """
    rivals = defaultdict(list)
    for result in read_results(*load_json(results, list, "results"), videos, "segm"):
        rivals[result.video_id, result.category_id].append(result)
    answers = []
    for truth in truths:
        video = videos[truth.track.video_id]
        same_class = rivals[video.id, truth.track.category_id]
        ious = track_iou(same_class, [truth.track], video.length)[:, 0]
        masks = same_class[ious.argmax()].masks if ious.any() else []
        answers.append(Answer(_decoded(masks, video), float(ious.max(initial=0))))
    return answers


def figures(truths: list[TrueTrack], answers: list[Answer]) -> dict[str, float]:
    """The figures of one run, in percent."""
    shares = np.array([_shares(*pair) for pair in zip(truths, answers, strict=True)])  # [G, 5]
    ious = np.array([answer.iou for answer in answers])
    thirds = np.array_split(np.argsort(_areas(truths), kind="stable"), len(SIZES))
    found = dict(zip(WHERE, shares.mean(0), strict=True))
    found["mean_iou"] = ious.mean()
    found |= {f"over_{least}": (100 * ious > least).mean() for least in LEAST_IOUS}
    found |= {f"iou_{size}": ious[third].mean() for size, third in zip(SIZES, thirds, strict=True)}
    return {name: round(100 * float(value), 2) for name, value in found.items()}


def worst_losses(truths: list[TrueTrack], oracle: list[Answer], boxes: list[Answer]) -> list[Loss]:
    """The tracks that lose most IoU from `oracle` to `boxes`, each in the frame with most of its loss."""
    losses = []
    for truth, of_oracle, of_boxes in zip(truths, oracle, boxes, strict=True):
        if of_boxes.iou < of_oracle.iou:
            wrong = [(answer.mask ^ truth.mask).sum((1, 2)) for answer in (of_oracle, of_boxes)]
            visible = truth.mask.any((1, 2))
            frame = int(np.where(visible, wrong[1] - wrong[0], -truth.mask[0].size).argmax())
            masks = [mask[frame] for mask in (truth.mask, of_oracle.mask, of_boxes.mask)]
            ids = (truth.track.video_id, truth.track.id)
            losses.append(Loss(*ids, frame, *masks, of_oracle.iou, of_boxes.iou))
    return sorted(losses, key=lambda loss: loss.boxes_iou - loss.oracle_iou)[:DRAWN]


def _shares(truth: TrueTrack, answer: Answer) -> list[float]:
    """Pixels that differ, by where they are, over the true pixels, in the order of WHERE."""
    missing, extra = truth.mask & ~answer.mask, answer.mask & ~truth.mask
    inside = extra & truth.box
    parts = (missing & truth.near, missing & ~truth.near, inside & truth.near, inside & ~truth.near)
    return [part.sum() / truth.mask.sum() for part in (*parts, extra & ~truth.box)]


def _areas(truths: list[TrueTrack]) -> list[float]:
    return [mean_of_present(truth.track.areas) for truth in truths]


def _decoded(masks: Sequence[rle.Rle | None], video: EvalVideo) -> np.ndarray:
    """Bool [T, H, W]; frames without an entry are empty, entries beyond the video are cut."""
    decoded = np.zeros((video.length, video.height, video.width), dtype=bool)
    for frame, mask in enumerate(masks[: video.length]):
        if mask is not None:
            decoded[frame] = rle.decode(mask)
    return decoded


def _drawn(loss: Loss) -> dict:
    ious = {ORACLE: round(100 * loss.oracle_iou, 2), BOXES: round(100 * loss.boxes_iou, 2)}
    return {"track_id": loss.track_id, "video_id": loss.video_id, "frame": loss.frame, **ious}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the study that the command line names, and print what was found."""
    measure_study(__doc__, write_residuals, tables, arguments)


if __name__ == "__main__":
    main()
