"""Which query answers for which object: the minimum-cost assignment of a clip."""

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from maskfree_nb.errors import InputError

CLASS_COST = 2.0
DICE_COST = 5.0
POINTS = 20_000  # that the official cost samples; only its "+1" smoothing still depends on the number


@torch.no_grad()
def assign(class_cost: Tensor, dice_cost: Tensor) -> Tensor:
    """Assign each of N objects its own query so that `2 class_cost + 5 dice_cost` is least.

    Args:
        class_cost: [Q, N], any float dtype.
        dice_cost: [Q, N].

    Returns:
        int64 [N] on the device of the costs: the query of each object.

    Raises:
        InputError: more objects than queries.

    >>> assign(torch.tensor([[-0.9, -0.1], [-0.2, -0.8]]), torch.zeros(2, 2))
    tensor([0, 1])
    """
    queries, objects = class_cost.shape
    if objects > queries:
        raise InputError(f"{objects} objects but only {queries} queries; raise num_queries of the model")
    cost = CLASS_COST * class_cost.double() + DICE_COST * dice_cost.double()
    rows, columns = linear_sum_assignment(cost.cpu().nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6).numpy())
    query = torch.empty(objects, dtype=torch.int64)
    query[torch.from_numpy(columns)] = torch.from_numpy(rows)
    return query.to(class_cost.device)


def class_cost(logits: Tensor, labels: Tensor) -> Tensor:
    """Minus the probability of the right class: logits [Q, C + 1], labels int64 [N] -> [Q, N]."""
    return -logits.float().softmax(-1)[:, labels]


def mask_dice_cost(mask_logits: Tensor, masks: Tensor) -> Tensor:
    """1 - Dice of soft masks over the whole tube: [Q, T, h, w] logits and [N, T, h, w] in 0..1 -> [Q, N]."""
    return _dice_cost(
        mask_logits.sigmoid().flatten(1).float() @ masks.flatten(1).float().T,
        mask_logits.sigmoid().flatten(1).float().sum(1),
        masks.flatten(1).float().sum(1),
    )


def box_dice_cost(
    pred_boxes: Tensor, boxes: Tensor, pred_hw: Sequence[int], hw: Sequence[int], points: int | None = POINTS
) -> Tensor:
    """1 - Dice of two box tubes, in closed form from their corners.

    The official cost fills both boxes, reads both masks bilinearly at random points of the unit square and
    sums over the points of all frames. A filled box read bilinearly is, along each axis, a trapezoid whose
    ramps are one cell wide; this is the exact expectation of that cost over all random draws.

    Args:
        pred_boxes: float [Q, T, 4], xyxy in cells of the mask map, NaN where a mask is empty.
        boxes: float [N, T, 4], xyxy in image pixels, NaN where an object is absent.
        pred_hw: (h, w) of the mask map.
        hw: (H, W) of the image.
        points: the number of points whose "+1" smoothing is kept; None: no smoothing.

    Returns:
        float64 [Q, N], in 0..1.
    """
    everywhere = boxes.new_tensor([-torch.inf, -torch.inf, torch.inf, torch.inf])
    pred_area = _tube_product(pred_boxes, everywhere, pred_hw, (1, 1))
    target_area = _tube_product(boxes, everywhere, hw, (1, 1))
    overlap = _tube_product(pred_boxes[:, None], boxes[None], pred_hw, hw)
    smooth = 0.0 if points is None else 1.0 / points
    return _dice_cost(overlap, pred_area, target_area, smooth)


def mask_bounding_boxes(masks: Tensor) -> Tensor:
    """Tight half-open boxes of bool masks: [..., h, w] -> float [..., 4] xyxy, NaN where a mask is empty."""
    rows, columns = masks.any(-1), masks.any(-2)
    top, bottom = _first_last(rows)
    left, right = _first_last(columns)
    boxes = torch.stack([left, top, right, bottom], -1).float()
    return boxes.masked_fill(~rows.any(-1, keepdim=True), float("nan"))


def _first_last(present: Tensor) -> tuple[Tensor, Tensor]:
    first = present.int().argmax(-1)
    last = present.shape[-1] - present.flip(-1).int().argmax(-1)
    return first, last


def _dice_cost(overlap: Tensor, pred: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    total = pred[:, None] + target[None] + smooth
    return 1 - (2 * overlap + smooth) / total.clamp(min=torch.finfo(total.dtype).tiny)


def _tube_product(a: Tensor, b: Tensor, a_hw: Sequence[int], b_hw: Sequence[int]) -> Tensor:
    """Integral over the unit square, summed over frames, of the product of two filled boxes."""
    area = 1.0
    for axis, (cells_a, cells_b) in enumerate(((a_hw[1], b_hw[1]), (a_hw[0], b_hw[0]))):
        ends_a, ends_b = a[..., [axis, axis + 2]].double(), b[..., [axis, axis + 2]].double()
        area = area * _profile_product(ends_a / cells_a, ends_b / cells_b, 0.5 / cells_a, 0.5 / cells_b)
    return area.nan_to_num(0.0).sum(-1)


def _profile_product(a: Tensor, b: Tensor, ramp_a: float, ramp_b: float) -> Tensor:
    """Integral over 0..1 of the product of two trapezoids with ends [..., 2] and half ramps.

    Between two neighbouring kinks the product is a polynomial of degree two: Simpson's rule is exact.
    """
    a, b = torch.broadcast_tensors(a, b)
    kinks = torch.cat([a - ramp_a, a + ramp_a, b - ramp_b, b + ramp_b], -1).clamp(0, 1).sort(-1).values
    left, right = kinks[..., :-1], kinks[..., 1:]
    low, middle, high = (
        _trapezoid(x, a, ramp_a) * _trapezoid(x, b, ramp_b) for x in (left, (left + right) / 2, right)
    )
    return ((right - left) / 6 * (low + 4 * middle + high)).sum(-1)


def _trapezoid(x: Tensor, ends: Tensor, ramp: float) -> Tensor:
    """A filled interval read linearly: the share of [x - ramp, x + ramp] that lies inside `ends`."""
    low = (x + ramp).minimum(ends[..., 1:])
    high = (x - ramp).maximum(ends[..., :1])
    return (low - high).clamp(min=0) / (2 * ramp)
