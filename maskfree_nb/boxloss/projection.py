"""The projection loss: the shadow of a mask on either axis must be that of its box."""

import torch
from torch import Tensor

from maskfree_nb import backend as backends
from maskfree_nb.errors import InputError

EPSILON = 1e-5


def projection_loss(mask_logits: Tensor, box_masks: Tensor, *, backend: str = "auto") -> Tensor:
    """Compare the row and column maxima of the predicted masks with those of the boxes.

    L_proj = mean over n, t of dice(max_y p, max_y m) + dice(max_x p, max_x m), with p = sigmoid(mask_logits)
    and dice(a, g) = 1 - 2 sum(a g) / (sum(a^2) + sum(g^2) + 1e-5): the box term of BoxInst (CVPR 2021,
    arXiv 2012.02310), as MaskFreeVIS (CVPR 2023, arXiv 2303.15904) uses it.
    The gradient of a maximum goes to its one arg-max; of equal values the first takes it.

    Args:
        mask_logits: float [L, N, T, h, w]; halves are computed in float32.
        box_masks: float [N, T, h, w] in 0..1, shared by the layers.
        backend: "auto", "torch" or "triton".

    Returns:
        Loss [L], 0..2; an absent box (all 0) adds exactly 2 to the mean and no gradient; 0 if N = 0.

    Raises:
        InputError: the shapes do not fit each other.

    >>> filled = torch.zeros(1, 1, 4, 6)
    >>> filled[..., 1:3, 2:5] = 1
    >>> projection_loss(200 * filled[None] - 100, filled)
    tensor([4.1723e-06])
    """
    if mask_logits.dim() != 5 or box_masks.shape != mask_logits.shape[1:]:
        raise InputError(
            f"mask_logits has shape {list(mask_logits.shape)} and box_masks {list(box_masks.shape)}, "
            "expected [L, N, T, h, w] and [N, T, h, w]"
        )
    if backends.resolve(backend, mask_logits) == "triton":
        return backends.kernels().projection_loss(mask_logits, box_masks)
    if mask_logits.shape[1] == 0:
        return mask_logits.float().sum((1, 2, 3, 4))
    logits = mask_logits if mask_logits.dtype == torch.float64 else mask_logits.float()
    box_masks = box_masks.to(logits.dtype)
    loss = 0
    for axis in (-2, -1):
        shadow = logits.max(axis).values.sigmoid()  # [L, N, T, w], then [L, N, T, h]
        loss = loss + _dice(shadow, box_masks.amax(axis))  # [L, N, T]
    return loss.mean((1, 2))


def _dice(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - 2 sum(a g) / (sum(a^2) + sum(g^2) + epsilon) over the last axis."""
    overlap = (prediction * target).sum(-1)
    return 1 - 2 * overlap / (prediction.square().sum(-1) + target.square().sum(-1) + EPSILON)
