"""The fill loss: an object fills at least a share of its box."""

import math

import torch
from torch import Tensor

from maskfree_nb.errors import InputError

LEAST = 1e-6  # a share below which the gradient ends


def fill_loss(mask_logits: Tensor, box_masks: Tensor, floor: float) -> Tensor:
    """Ask each mask to fill at least `floor` of its box.

    L_fill = mean over n, t with a box of max(0, log(floor) - log(sum(m p) / sum(m))), with p =
    sigmoid(mask_logits) and m = box_masks. Projection is content with a thread through the box, and agreement
    with what looks alike with no object at all; this is the term that says 'more', without saying where.
    An inequality on the size of a mask as in Kervadec et al., 'Bounding boxes for weakly supervised
    segmentation: global constraints get close to full supervision' (MIDL 2020, arXiv 2004.06816).

    Args:
        mask_logits: float [L, N, T, h, w]; halves are computed in float32.
        box_masks: float [N, T, h, w] in 0..1, shared by the layers.
        floor: share of the box, above 0 and at most 1.

    Returns:
        Loss [L]; exactly 0, with no gradient, for masks that fill that much; absent boxes do not count.

    Raises:
        InputError: the shapes do not fit each other, or a floor outside its range.

    >>> logits = torch.full((1, 1, 1, 4, 5), -9.0)
    >>> logits[..., :2] = 9.0  # 40 % of the box
    >>> fill_loss(logits, torch.ones(1, 1, 4, 5), 0.3), fill_loss(logits, torch.ones(1, 1, 4, 5), 0.8)
    (tensor([0.]), tensor([0.6931]))
    """
    if mask_logits.dim() != 5 or box_masks.shape != mask_logits.shape[1:]:
        raise InputError(
            f"mask_logits has shape {list(mask_logits.shape)} and box_masks {list(box_masks.shape)}, "
            "expected [L, N, T, h, w] and [N, T, h, w]"
        )
    if not 0 < floor <= 1:
        raise InputError(f"floor is {floor!r}, expected a share of the box above 0 and at most 1")
    logits = mask_logits if mask_logits.dtype == torch.float64 else mask_logits.float()
    box_masks = box_masks.to(logits.dtype)
    area = box_masks.sum((-1, -2))  # [N, T]
    present = area > 0
    fill = (logits.sigmoid() * box_masks).sum((-1, -2)) / area.where(present, 1)  # [L, N, T]
    lacking = (math.log(floor) - fill.clamp(min=LEAST).log()).relu() * present
    return lacking.sum((1, 2)) / present.sum().clamp(min=1)
