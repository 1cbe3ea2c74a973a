"""Losses against a mask target: the oracle's true masks, or the filled boxes of the warm-up."""

import torch
import torch.nn.functional as F
from torch import Tensor


def mask_losses(mask_logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross entropy and Dice of every decoder layer against one mask target.

    Args:
        mask_logits: float [L, N, T, h, w].
        masks: float [N, T, h, w] in 0..1; fractional at the edges.

    Returns:
        (cross entropy [L], Dice loss [L]), float32: means over instances (and pixels); N = 0 gives zeros.

    >>> bce, dice = mask_losses(torch.full((1, 1, 2, 4, 4), 20.0), torch.ones(1, 2, 4, 4))
    >>> bool(bce < 1e-6), bool(dice < 1e-2)
    (True, True)
    """
    logits, masks = mask_logits.float(), masks.float()
    if masks.shape[0] == 0:
        zero = logits.sum((1, 2, 3, 4))
        return zero, zero
    cross_entropy = F.binary_cross_entropy_with_logits(logits, masks.expand_as(logits), reduction="none")
    probability = logits.sigmoid().flatten(2)  # [L, N, T*h*w]
    target = masks.flatten(1)  # [N, T*h*w]
    overlap = (probability * target).sum(-1)
    dice = 1 - (2 * overlap + 1) / (probability.sum(-1) + target.sum(-1) + 1)
    return cross_entropy.flatten(1).mean(1), dice.mean(1)


def outside_loss(mask_logits: Tensor, box_masks: Tensor) -> Tensor:
    """Outside its box an object is not: the sum of softplus(logit) there, over the box's area.

    -log(1 - sigmoid(x)) = softplus(x), summed over the pixels that the box does not touch. The area is
    that of the box over the whole tube, so that the term does not depend on the size of the frame around it.

    Args:
        mask_logits: float [L, N, T, h, w].
        box_masks: float [N, T, h, w] in 0..1, the filled boxes.

    Returns:
        float32 [L]; N = 0 gives zeros.
    """
    outside = (box_masks == 0).float()
    area = box_masks.float().sum((1, 2, 3)).clamp(min=1)  # [N]
    per_instance = (F.softplus(mask_logits.float()) * outside).sum((2, 3, 4)) / area  # [L, N]
    return per_instance.sum(1) / max(box_masks.shape[0], 1)


def box_fill(mask_logits: Tensor, box_masks: Tensor) -> Tensor:
    """The share of its box that a predicted mask covers, mean over instances: [N, T, h, w] twice -> scalar.

    Near 1 the masks have collapsed to rectangles, near 0 to nothing; real objects fill half. NaN if N = 0.
    """
    inside = ((mask_logits > 0) * box_masks).sum((1, 2, 3))
    return torch.mean(inside / box_masks.sum((1, 2, 3)).clamp(min=1e-6))
