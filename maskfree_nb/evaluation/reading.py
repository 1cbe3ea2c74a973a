"""What an evaluation compares, read and checked field by field: annotation files and lists of results."""

import json
import math
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np

from maskfree_nb.data import rle
from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.mask_boxes import tight_box


@dataclass(frozen=True)
class EvalVideo:
    """A video's id, size in pixels and number of frames."""

    id: int
    height: int
    width: int
    length: int


@dataclass(frozen=True, eq=False)
class EvalTrack:
    """One object through one video, true or predicted.

    The list of a result may have more or fewer entries than the video has frames.

    Attributes:
        index: its place in its file.
        id: of an annotation; index + 1 for a result.
        masks: a compressed RLE a frame, None where the object is absent; [] where only boxes are compared.
        boxes: float64 [entries, 4], (x, y, w, h) in pixels, 0 where absent; None if only masks are compared.
        areas: float64 [entries], pixels of the mask or of the box.
        given_area: mean of the non-zero entries of an annotation's own `areas`, if it has any.
        crowd: a region that neither rewards nor punishes.
        score: of a result.
    """

    index: int
    id: int
    video_id: int
    category_id: int
    masks: list[rle.Rle | None]
    boxes: np.ndarray | None
    areas: np.ndarray
    given_area: float | None = None
    crowd: bool = False
    score: float = 1.0


def mean_of_present(areas: np.ndarray) -> float:
    """The mean of the non-zero entries, 0 if there are none."""
    present = areas[areas > 0]
    return float(present.mean()) if len(present) else 0.0


def load_json(source, kind: type, name: str) -> tuple[dict | list, str]:
    """Return the content of the JSON file that `source` names, or `source` itself, and its name for messages.

    Raises:
        InputError: no such file, not JSON (say, cut short), or content that is no `kind`.
    """
    if isinstance(source, str | Path):
        name = str(source)
        try:
            source = json.loads(Path(name).read_bytes())
        except OSError as error:
            raise InputError(f"{name}: cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise InputError(f"{name}: not valid JSON ({error}); the file may be cut short") from None
    if not isinstance(source, kind):
        expected = "a YouTube-VIS object" if kind is dict else "a list of results"
        raise InputError(f"{name}: holds a {type(source).__name__}, expected {expected}")
    return source, name


def read_videos(ground_truth: dict, name: str) -> dict[int, EvalVideo]:
    """The videos of an annotation file, by id."""
    videos = {}
    for index, entry in enumerate(_field(ground_truth, "videos", name)):
        video_id = _field(entry, "id", f"{name}: videos[{index}]")
        size = (_field(entry, field, f"{name}: video {video_id}") for field in ("height", "width", "length"))
        videos[video_id] = EvalVideo(video_id, *size)
    return videos


def read_categories(ground_truth: dict, name: str) -> dict[int, str]:
    """The names of the categories of an annotation file, by ascending id."""
    categories = {}
    for index, entry in enumerate(_field(ground_truth, "categories", name)):
        category_id = _field(entry, "id", f"{name}: categories[{index}]")
        categories[category_id] = entry.get("name", str(category_id))
    return dict(sorted(categories.items()))


def read_truths(ground_truth: dict, name: str, iou_type: str) -> list[EvalTrack]:
    """The annotations of a file; one without `annotations` has none.

    An annotation needs only what `iou_type` compares, `segmentations` for "segm" and `bboxes` for "bbox";
    a missing `iscrowd` means 0.

    Raises:
        InputError: names annotation and field, what was given, and what was expected.
    """
    videos, categories = read_videos(ground_truth, name), read_categories(ground_truth, name)
    field, other = ("segmentations", "bbox") if iou_type == "segm" else ("bboxes", "segm")
    tracks = []
    for index, entry in enumerate(ground_truth.get("annotations") or []):
        track_id = _field(entry, "id", f"{name}: annotations[{index}]")
        where = f"{name}: annotation {track_id}"
        video = _video_of(entry, videos, where)
        where = f"{where} of video {video.id}"
        category = _field(entry, "category_id", where)
        if category not in categories:
            known = ", ".join(map(str, categories))
            raise InputError(f"{where}: category_id is {category}, the file's categories are {known}")
        frames = _field(entry, field, where, remedy=f"without them only iou_type={other!r} can be evaluated")
        if len(frames) != video.length:
            raise InputError(
                f"{where}: {field} has {len(frames)} entries, the video has {video.length} frames"
            )
        masks, boxes = [], None
        if iou_type == "segm":
            masks, areas = _read_masks(frames, video, where)
        else:
            boxes = _read_boxes(frames, where)
            areas = boxes[:, 2] * boxes[:, 3]
        given = entry.get("areas")
        if given is not None:
            given = mean_of_present(np.array([area or 0.0 for area in given]))
        crowd = bool(entry.get("iscrowd", 0))
        tracks.append(EvalTrack(index, track_id, video.id, category, masks, boxes, areas, given, crowd))
    return tracks


def read_results(results: list, name: str, videos: dict[int, EvalVideo], iou_type: str) -> list[EvalTrack]:
    """The tracks of a list of `{video_id, category_id, score, segmentations}`.

    Masks are RLEs, compressed or not, or null. Lists of another length than the video are taken as they are.

    Raises:
        InputError: a missing field, an unknown video, a score that is not a finite number, or a mask that is
            no RLE or has another size than the video.
    """
    tracks = []
    for index, entry in enumerate(results):
        where = f"{name}: result {index}"
        if not isinstance(entry, dict):
            raise InputError(f"{where}: is a {type(entry).__name__}, expected an object with video_id, ...")
        video = _video_of(entry, videos, where)
        where = f"{where} (video {video.id})"
        category, score = _field(entry, "category_id", where), _field(entry, "score", where)
        if not isinstance(score, Real) or not math.isfinite(score):
            raise InputError(f"{where}: score is {score!r}, expected a finite number")
        frames = _field(entry, "segmentations", where)
        if not isinstance(frames, list):
            raise InputError(
                f"{where}: segmentations is a {type(frames).__name__}, expected a list of "
                f"{video.length}: an RLE or null for each frame"
            )
        masks, areas = _read_masks(frames, video, where)
        boxes = None
        if iou_type == "bbox":
            boxes = np.array([(0,) * 4 if mask is None else tight_box(mask) for mask in masks], dtype=float)
            boxes = boxes.reshape(-1, 4)
            areas = boxes[:, 2] * boxes[:, 3]
        tracks.append(
            EvalTrack(index, index + 1, video.id, category, masks, boxes, areas, score=float(score))
        )
    return tracks


def _read_masks(frames: list, video: EvalVideo, where: str) -> tuple[list[rle.Rle | None], np.ndarray]:
    masks, areas = [None] * len(frames), np.zeros(len(frames))
    for frame, mask in enumerate(frames):
        if mask is not None:
            try:
                mask = rle.checked(mask, video.height, video.width)
            except ValueError as error:
                raise InputError(f"{where}: segmentations[{frame}]: {error}") from None
            areas[frame] = rle.area(mask)
            masks[frame] = mask if areas[frame] else None
    return masks, areas


def _read_boxes(frames: list, where: str) -> np.ndarray:
    boxes = np.zeros((len(frames), 4))
    for frame, box in enumerate(frames):
        if box is not None:
            try:
                boxes[frame] = box
            except (TypeError, ValueError):
                boxes[frame] = np.nan
            if not np.isfinite(boxes[frame]).all() or (boxes[frame, 2:] < 0).any():
                raise InputError(
                    f"{where}: bboxes[{frame}] is {box}, expected null or four finite numbers [x, y, width, "
                    "height], no negative size"
                )
    return boxes


def _video_of(entry: dict, videos: dict[int, EvalVideo], where: str) -> EvalVideo:
    video_id = _field(entry, "video_id", where)
    if video_id not in videos:
        raise InputError(f"{where}: video_id is {video_id!r}, the annotation file has no such video")
    return videos[video_id]


def _field(entry: dict, name: str, where: str, remedy: str = ""):
    if entry.get(name) is None:
        raise InputError(f"{where}: {name} is missing" + (f"; {remedy}" if remedy else ""))
    return entry[name]
