"""The box losses in the way they are usually written: unfolded neighbours, one call a layer, autograd."""

import torch
from torch import Tensor
from torch.nn import functional as F

DILATION, THRESHOLD, EPSILON = 2, 0.3, 1e-5


def naive_pairwise_loss(mask_logits: Tensor, lab: Tensor, box_masks: Tensor) -> Tensor:
    """Return the loss of each layer, [L]: logits [L, N, T, h, w], lab [T, 3, h, w], masks [N, T, h, w]."""
    similarity = (-0.5 * (lab[:, :, None] - neighbours(lab)).norm(dim=1)).exp()  # [T, 8, h, w]
    weight = (similarity >= THRESHOLD) * box_masks[:, :, None]  # [N, T, 8, h, w]
    losses = []
    for layer in mask_logits:  # [N, T, h, w]
        inside, outside = F.logsigmoid(layer), F.logsigmoid(-layer)
        both_inside = inside[:, :, None] + neighbours(inside)
        both_outside = outside[:, :, None] + neighbours(outside)
        term = -torch.logaddexp(both_inside, both_outside)  # [N, T, 8, h, w]
        losses.append((term * weight).sum() / weight.sum().clamp(min=1))
    return torch.stack(losses)


def naive_projection_loss(mask_logits: Tensor, box_masks: Tensor) -> Tensor:
    """Return the loss of each layer, [L]: mask_logits [L, N, T, h, w], masks [N, T, h, w]."""
    losses = []
    for layer in mask_logits:
        probabilities = layer.sigmoid()
        columns = dice(probabilities.max(dim=2).values, box_masks.max(dim=2).values)
        rows = dice(probabilities.max(dim=3).values, box_masks.max(dim=3).values)
        losses.append((columns + rows).mean())
    return torch.stack(losses)


def dice(prediction: Tensor, target: Tensor) -> Tensor:
    overlap = (prediction * target).sum(-1)
    return 1 - 2 * overlap / (prediction.square().sum(-1) + target.square().sum(-1) + EPSILON)


def neighbours(maps: Tensor) -> Tensor:
    """Return the eight neighbours of every pixel, zero outside the frame: [A, B, h, w] -> [A, B, 8, h, w]."""
    unfolded = F.unfold(maps, 3, dilation=DILATION, padding=DILATION)  # [A, 9 B, h w]
    nine = unfolded.view(*maps.shape[:2], 9, *maps.shape[2:])
    return torch.cat([nine[:, :, :4], nine[:, :, 5:]], dim=2)
