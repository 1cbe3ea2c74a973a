"""One video: the masks of objects whose boxes are known, drawn by a model or by the shapes of their class."""

from typing import NamedTuple

import torch
from torch import Tensor

from maskfree_nb.boxloss import box_masks
from maskfree_nb.errors import InputError
from maskfree_nb.fitted_masks import LEAST_SPAN, fit_to_boxes
from maskfree_nb.inference import ready_video, see_video
from maskfree_nb.matcher import assign, class_cost, mask_dice_cost
from maskfree_nb.mean_field import finer, mean_field
from maskfree_nb.model.mask2former import VideoMask2Former
from maskfree_nb.model.pixel_decoder import resize
from maskfree_nb.shape_neighbours import GRID, crop_to_boxes, spread_over_frames
from maskfree_nb.temporal_links import temporal_links
from maskfree_nb.tkloss.lab import rgb_to_lab

AT_ONCE = 8  # frames that are drawn together, where they are on their own
RAISED = 1.0  # logits: masks from boxes are too small rather than too large, and shapes are to be whole
SUREST = 0.98  # the most that a shape's word is believed


@torch.no_grad()
def masks_in_boxes(
    model: VideoMask2Former,
    frames: Tensor,
    boxes: Tensor,
    labels: Tensor,
    *,
    image_size: int | None = None,
    least_span: float = LEAST_SPAN,
    temporal: bool = False,
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
        temporal: draw them along the matches between frames too (`temporal_links`): better, slower.

    Returns:
        (masks, spans): bool [N, T, H, W] and float32 [N, T], see `fit_to_boxes`; on the CPU.

    Raises:
        InputError: more objects than the model has queries, a class it does not have, or boxes of another
            number of frames.
    """
    boxed, logits = _seen(model, frames, boxes, labels, image_size)
    return _drawn(boxed, logits, least_span, temporal)


@torch.no_grad()
def shapes_in_boxes(
    model: VideoMask2Former,
    frames: Tensor,
    boxes: Tensor,
    labels: Tensor,
    *,
    image_size: int | None = None,
) -> Tensor:
    """Draw masks into boxes as `masks_in_boxes` does, once and soft, each in the coordinates of its box.

    Args:
        model, frames, boxes, labels, image_size: see `masks_in_boxes`.

    Returns:
        float32 [N, T, GRID, GRID], 0..1, what `nearest_shapes` asks and answers; NaN where there is no box;
        on the CPU.

    Raises:
        InputError: as `masks_in_boxes`.
    """
    boxed, logits = _seen(model, frames, boxes, labels, image_size)
    maps = torch.full((*boxes.shape[:2], GRID, GRID), torch.nan)
    for part in _parts(len(frames)):
        lab, present = boxed.lab[part], ~boxed.boxes[:, part].isnan().any(-1)
        raised = resize(logits[:, part].float() + RAISED, lab.shape[-2:])
        expected = mean_field(raised, lab, boxed.cells[:, part])[present]
        cropped = crop_to_boxes(expected, boxed.boxes[:, part][present], boxed.padded_hw)
        maps[:, part][present.cpu()] = ((cropped + 1) / 2).cpu()
    return maps


@torch.no_grad()
def masks_of_shapes(
    shapes: Tensor,
    frames: Tensor,
    boxes: Tensor,
    *,
    stride: int,
    image_size: int | None = None,
    least_span: float = LEAST_SPAN,
    temporal: bool = False,
) -> tuple[Tensor, Tensor]:
    """Draw masks of shapes that are given, along the colours within the boxes: no model is asked.

    Args:
        shapes: float [N, T, GRID, GRID], 0..1, of `nearest_shapes`.
        frames, boxes, image_size, least_span, temporal: see `masks_in_boxes`.
        stride: of the model's masks, in pixels.

    Returns:
        (masks, spans), see `masks_in_boxes`.

    Raises:
        InputError: boxes or shapes of another number of objects or frames.
    """
    if boxes.shape != (len(shapes), len(frames), 4) or shapes.shape != (*boxes.shape[:2], GRID, GRID):
        raise InputError(
            f"boxes has shape {list(boxes.shape)} and shapes {list(shapes.shape)}, expected [N, T, 4] and "
            f"[N, T, {GRID}, {GRID}] with T = {len(frames)} frames"
        )
    ready = ready_video(frames, image_size)
    boxed = _boxed(ready.frames.to(shapes.device), ready.valid_hw, frames.shape[-2:], boxes, stride)
    logits = torch.logit(shapes.nan_to_num(0.5).clamp(1 - SUREST, SUREST))
    fine = spread_over_frames(logits.flatten(0, 1), boxed.boxes.flatten(0, 1), boxed.padded_hw, finer(stride))
    return _drawn(boxed, fine.unflatten(0, shapes.shape[:2]), least_span, temporal)


class _Boxed(NamedTuple):
    """A video with the boxes of its objects, as large as a model sees it."""

    lab: Tensor  # float32 [T, 3, h, w], CIE Lab of the padded frames
    boxes: Tensor  # float [N, T, 4], xyxy in pixels of these
    cells: Tensor  # bool [N, T, h, w], the filled boxes in them
    inside: Tensor  # bool [N, T, H, W], the filled boxes at the size of the video
    padded_hw: tuple[int, int]
    valid_hw: tuple[int, int]


def _boxed(padded: Tensor, valid_hw: tuple, video_hw: tuple, boxes: Tensor, stride: int) -> _Boxed:
    boxes, padded_hw = boxes.to(padded.device), tuple(padded.shape[-2:])
    scaled = boxes * boxes.new_tensor([valid_hw[1] / video_hw[1], valid_hw[0] / video_hw[0]] * 2)
    lab = rgb_to_lab(padded, finer(stride), quantise=False)
    cells, inside = box_masks(scaled, padded_hw, finer(stride)) > 0, box_masks(boxes, tuple(video_hw), 1) > 0
    return _Boxed(lab, scaled, cells, inside, padded_hw, valid_hw)


def _seen(
    model: VideoMask2Former, frames: Tensor, boxes: Tensor, labels: Tensor, image_size: int | None
) -> tuple[_Boxed, Tensor]:
    """Show a video to a model; return it with its boxes, and each object's mask logits [N, T, h, w]."""
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
    stride = model.config.mask_stride
    boxed = _boxed(seen.frames, seen.valid_hw, frames.shape[-2:], boxes, stride)
    dice = mask_dice_cost(seen.prediction.masks[0], box_masks(boxed.boxes, boxed.padded_hw, stride))
    query = assign(class_cost(seen.prediction.logits[0], labels.to(seen.frames.device)), dice)
    return boxed, seen.prediction.masks[0][query]


def _parts(frames: int) -> list[slice]:
    return [slice(start, start + AT_ONCE) for start in range(0, frames, AT_ONCE)]


def _drawn(boxed: _Boxed, logits: Tensor, least_span: float, temporal: bool) -> tuple[Tensor, Tensor]:
    """`fit_to_boxes` over the frames: all at once along matches, else in parts, which needs less memory."""
    drawn = []
    for part in [slice(None)] if temporal else _parts(len(boxed.lab)):
        masks, spans = fit_to_boxes(
            logits[:, part],
            boxed.lab[part],
            boxed.cells[:, part],
            boxed.inside[:, part],
            boxed.padded_hw,
            boxed.valid_hw,
            least_span,
            temporal_links(boxed.lab[part]) if temporal else None,
        )
        drawn.append((masks.cpu(), spans.cpu()))
    masks, spans = zip(*drawn, strict=True)
    return torch.cat(masks, 1), torch.cat(spans, 1)
