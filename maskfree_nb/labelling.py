"""From boxes to masks: a trained model draws the masks of objects whose boxes are known."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from maskfree_nb import atomic
from maskfree_nb.boxloss import box_masks
from maskfree_nb.data import rle
from maskfree_nb.data.clips import video_frames
from maskfree_nb.data.tracks import Track, Video, VideoSet
from maskfree_nb.data.ytvis import load_ytvis, verify_images
from maskfree_nb.errors import InputError
from maskfree_nb.fitted_masks import LEAST_SPAN, fit_to_boxes
from maskfree_nb.inference import check_categories, load_trained, see_video
from maskfree_nb.matcher import assign, class_cost, mask_dice_cost
from maskfree_nb.mean_field import finer
from maskfree_nb.model.mask2former import VideoMask2Former
from maskfree_nb.tkloss.lab import rgb_to_lab

DOUBTFUL = 0.6  # a mask that spans less of its box is often far off


@dataclass(frozen=True)
class Labelled:
    """What was written by `label_boxes`.

    Attributes:
        path: the annotation file with masks.
        boxes: how many boxes there were, crowds apart.
        empty: of these, how many got no mask.
        doubtful: of these, how many got a mask that spanned less than 60 % of its box before it was raised.
        worst: ids of up to ten annotations with boxes of either kind, those with the least mean span first.
    """

    path: Path
    boxes: int
    empty: int
    doubtful: int
    worst: tuple[int, ...]

    def text(self) -> str:
        """Two or three lines for a person."""
        lines = [f"written: {self.path}"]
        if self.boxes == 0:
            return f"{lines[0]}\nno boxes to draw masks into"
        lines.append(
            f"{self.boxes} boxes: {self.empty} got no mask, {self.doubtful} a doubtful one (before it was "
            f"raised, it reached less than {100 * DOUBTFUL:.0f} % of the rows or columns of its box)"
        )
        if self.worst:
            lines.append(f"look first at annotations {', '.join(map(str, self.worst))}")
        return "\n".join(lines)


@torch.no_grad()
def masks_in_boxes(
    model: VideoMask2Former,
    frames: Tensor,
    boxes: Tensor,
    labels: Tensor,
    *,
    image_size: int | None = None,
    least_span: float = LEAST_SPAN,
) -> tuple[Tensor, Tensor]:
    """Draw the masks of one video's objects into their boxes.

    The model sees all frames at once. Each object is given the query that suits its class and its filled
    boxes best, as in trainings with `matching="filled"`; its mask is fitted to the boxes (`fit_to_boxes`).

    Args:
        model: a trained model; its device is used.
        frames: uint8 [T, 3, H, W], RGB.
        boxes: float [N, T, 4], xyxy in pixels, NaN where an object is absent.
        labels: int64 [N], 0-based classes.
        image_size: the shortest edge that frames are resized to first, in pixels; None: as they are.
        least_span: masks that span less of their box are raised, 0..1, see `fit_to_boxes`.

    Returns:
        (masks, spans): bool [N, T, H, W] and float32 [N, T], see `fit_to_boxes`; on the CPU.

    Raises:
        InputError: more objects than the model has queries, a class it does not have, or boxes of another
            number of frames.
    """
    if boxes.shape != (len(labels), len(frames), 4):
        raise InputError(
            f"boxes has shape {list(boxes.shape)}, expected {[len(labels), len(frames), 4]}: "
            f"{len(labels)} labels, {len(frames)} frames"
        )
    if ((labels < 0) | (labels >= model.config.num_classes)).any():
        raise InputError(
            f"labels are {labels.tolist()}, expected 0..{model.config.num_classes - 1}: the model has "
            f"{model.config.num_classes} classes"
        )
    seen = see_video(model, frames, image_size)
    (height, width), padded_hw = frames.shape[-2:], tuple(seen.frames.shape[-2:])
    boxes, labels = boxes.to(seen.frames.device), labels.to(seen.frames.device)
    scaled = boxes * boxes.new_tensor([seen.valid_hw[1] / width, seen.valid_hw[0] / height] * 2)
    filled = box_masks(scaled, padded_hw, model.config.mask_stride)
    dice = mask_dice_cost(seen.prediction.masks[0], filled)
    query = assign(class_cost(seen.prediction.logits[0], labels), dice)
    stride = finer(model.config.mask_stride)
    cells = box_masks(scaled, padded_hw, stride) > 0
    drawn = []
    for number in range(len(frames)):
        masks, spans = fit_to_boxes(
            seen.prediction.masks[0][query, number],
            rgb_to_lab(seen.frames[number : number + 1], stride, quantise=False)[0],
            cells[:, number],
            box_masks(boxes[:, number : number + 1], (height, width), 1)[:, 0] > 0,
            padded_hw,
            seen.valid_hw,
            least_span,
        )
        drawn.append((masks.cpu(), spans.cpu()))
    masks, spans = zip(*drawn, strict=True)
    return torch.stack(masks, 1), torch.stack(spans, 1)


def label_boxes(
    model_path: str | Path,
    annotations: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    image_size: int | None = None,
    least_span: float = LEAST_SPAN,
    progress: bool = True,
) -> Labelled:
    """Draw the masks of all boxes of a data set, and write its annotations with them.

    The file written is the one read, with `segmentations` and `areas` of every annotation in place of those
    it may have had, which are not looked at, and with `spans`, one number a frame: how much of the box the
    mask spanned before it was raised, 0..1 (null without a box). Crowds, and boxes in which the model sees
    nothing, get no mask (null).

    Args:
        model_path: a `model.safetensors` of `train`, of the same classes.
        annotations, images: a YouTube-VIS JSON file, boxes suffice, and the folder its file names are in.
        out: the annotation file to write.
        image_size: the shortest edge that frames are resized to, in pixels; None: the size trained at.
        least_span: masks that span less of their box are raised, 0..1, see `fit_to_boxes`.
        progress: show a progress bar.

    Raises:
        InputError: bad data, a model of other categories, a video of more objects than the model has queries,
            a `least_span` that is no share, or an `out` that cannot be written or is the file of the boxes.
    """
    path, given = Path(out), Path(annotations)
    if _same_file(path, given):
        raise InputError(f"{path}: --out is the file of the boxes; choose another, to keep the boxes")
    if not 0 <= least_span <= 1:
        raise InputError(f"least_span is {least_span!r}, expected a share of the box, 0 to 1")
    model, metadata = load_trained(model_path)
    videos = load_ytvis(annotations, images, masks=False)
    check_categories(model_path, metadata, videos)
    for video in videos.videos:
        if (objects := len(_objects(video))) > model.config.num_queries:
            raise InputError(
                f"{annotations}: video {video.id} has {objects} objects, {model_path} has "
                f"{model.config.num_queries} queries; train with a larger model.num_queries"
            )
    verify_images(videos)
    atomic.check_writable(path)
    content = json.loads(given.read_text("utf-8"))
    records = {record["id"]: record for record in content.get("annotations") or ()}
    spans_of, size = {}, image_size or metadata["image_size"]
    for video in tqdm(videos.videos, disable=not progress, mininterval=2.0, desc="label"):
        for track in video.tracks:
            records[track.id] |= _fields([None] * video.length, [None] * video.length)
        for id, masks, spans in _drawn(model, videos, video, size, least_span):
            segmentations = [rle.encode(mask) if mask.any() else None for mask in masks]
            rounded = [None if np.isnan(each) else round(float(each), 3) for each in spans]
            records[id] |= _fields(segmentations, rounded)
            spans_of[id] = spans
    atomic.write_json(path, content)
    return _summary(path, records, spans_of)


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there
        return False


def _objects(video: Video) -> list[Track]:
    """The tracks that masks are drawn for: no crowds, and none that is absent throughout."""
    return [track for track in video.tracks if not track.is_crowd and not np.isnan(track.boxes).all()]


def _drawn(
    model: VideoMask2Former, videos: VideoSet, video: Video, image_size: int | None, least_span: float
):
    """Yield (annotation id, masks, spans) of each object of a video: bool [T, H, W], float [T] with NaN."""
    tracks = _objects(video)
    if not tracks:
        return
    masks, spans = masks_in_boxes(
        model,
        video_frames(videos, video),
        torch.from_numpy(np.stack([track.boxes for track in tracks])),
        torch.tensor([track.category for track in tracks]),
        image_size=image_size,
        least_span=least_span,
    )
    for track, *drawn in zip(tracks, masks.numpy(), spans.numpy(), strict=True):
        yield track.id, *drawn


def _fields(segmentations: list, spans: list) -> dict:
    """The fields of an annotation that hold its masks."""
    return {
        "segmentations": segmentations,
        "areas": [each and rle.area(each) for each in segmentations],
        "spans": spans,
    }


def _summary(path: Path, records: dict[int, dict], spans_of: dict[int, np.ndarray]) -> Labelled:
    """Count what was written."""
    boxes = empty = doubtful = 0
    means = {}
    for id, spans in spans_of.items():
        drawn = np.array([each is not None for each in records[id]["segmentations"]])
        boxes += int((~np.isnan(spans)).sum())
        empty += int((~np.isnan(spans) & ~drawn).sum())
        doubtful += int((drawn & (spans < DOUBTFUL)).sum())
        if (spans[~np.isnan(spans)] < DOUBTFUL).any() or (~np.isnan(spans) & ~drawn).any():
            means[id] = float(np.nanmean(spans))
    return Labelled(path, boxes, empty, doubtful, tuple(sorted(means, key=means.get)[:10]))
