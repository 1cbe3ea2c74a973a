"""From boxes to masks: a trained model draws the masks of objects whose boxes are known."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from maskfree_nb import atomic
from maskfree_nb.box_drawing import masks_in_boxes, masks_of_shapes, shapes_in_boxes
from maskfree_nb.data import rle
from maskfree_nb.data.clips import video_frames
from maskfree_nb.data.tracks import Track, Video, VideoSet
from maskfree_nb.data.ytvis import load_ytvis, verify_images
from maskfree_nb.errors import InputError
from maskfree_nb.fitted_masks import LEAST_SPAN
from maskfree_nb.inference import check_categories, load_trained
from maskfree_nb.model.mask2former import VideoMask2Former
from maskfree_nb.shape_neighbours import Shapes, describe_boxes, nearest_shapes

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


def label_boxes(
    model_path: str | Path,
    annotations: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    image_size: int | None = None,
    least_span: float = LEAST_SPAN,
    temporal: bool = False,
    shapes: bool = False,
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
        temporal: draw them along the matches between frames too, see `masks_in_boxes`.
        shapes: draw each after those of its class that are most like it, see `nearest_shapes`: for classes
            of many objects that share a form, where parts look like what is behind them. A class with too few
            whole ones to ask is drawn by the model alone.
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
    options = {"image_size": image_size or metadata["image_size"]}
    found = _class_shapes(model, videos, options["image_size"], progress) if shapes else {}
    options |= {"least_span": least_span, "temporal": temporal}
    spans_of = {}
    for video in tqdm(videos.videos, disable=not progress, mininterval=2.0, desc="label"):
        for track in video.tracks:
            records[track.id] |= _fields([None] * video.length, [None] * video.length)
        for id, masks, spans in _drawn(model, videos, video, options, found.get(video.id)):
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
    model: VideoMask2Former, videos: VideoSet, video: Video, options: dict, shapes: Tensor | None = None
):
    """Yield (annotation id, masks, spans) of each object of a video: bool [T, H, W], float [T] with NaN."""
    tracks = _objects(video)
    if not tracks:
        return
    frames, boxes, labels = _given(videos, video, tracks)
    if shapes is None:
        masks, spans = masks_in_boxes(model, frames, boxes, labels, **options)
    else:
        shapes, stride = shapes.to(_device(model)), model.config.mask_stride
        masks, spans = masks_of_shapes(shapes, frames, boxes, stride=stride, **options)
    for track, *drawn in zip(tracks, masks.numpy(), spans.numpy(), strict=True):
        yield track.id, *drawn


def _device(model: VideoMask2Former) -> torch.device:
    return next(model.parameters()).device


def _given(videos: VideoSet, video: Video, tracks: list[Track]) -> tuple[Tensor, Tensor, Tensor]:
    """Frames, boxes and classes of one video, as `masks_in_boxes` takes them."""
    boxes = torch.from_numpy(np.stack([track.boxes for track in tracks]))
    return video_frames(videos, video), boxes, torch.tensor([track.category for track in tracks])


def _class_shapes(
    model: VideoMask2Former, videos: VideoSet, image_size: int | None, progress: bool
) -> dict[int, Tensor]:
    """What `nearest_shapes` says of every object: by video, float32 [N, T, GRID, GRID], NaN without a box."""
    drawn, parts = {}, []
    for video in tqdm(videos.videos, disable=not progress, mininterval=2.0, desc="shapes"):
        if not (tracks := _objects(video)):
            continue
        frames, boxes, labels = _given(videos, video, tracks)
        drawn[video.id] = shapes_in_boxes(model, frames, boxes, labels, image_size=image_size)
        present = ~boxes.isnan().any(-1)
        ids, length = torch.tensor([track.id for track in tracks]), video.length
        looks = describe_boxes(boxes[present], (video.height, video.width))
        kinds = (each[:, None].expand(-1, length)[present] for each in (labels, ids))
        parts.append(Shapes(drawn[video.id][present], *kinds, *looks))
    if not parts:
        return {}
    whole = (torch.cat(field).to(_device(model)) for field in zip(*parts, strict=True))
    answers = nearest_shapes(Shapes(*whole)).cpu()
    for shapes, answer in zip(drawn.values(), answers.split([len(part.maps) for part in parts]), strict=True):
        shapes[~shapes.isnan().any(-1).any(-1)] = answer
    return drawn


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
