"""The pairwise loss: neighbours of like colour are both inside or both outside (BoxInst)."""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from maskfree_nb import backend as backends
from maskfree_nb.errors import InputError
from maskfree_nb.tkloss.consistency import pair_term


def neighbour_offsets(dilation: int) -> tuple[tuple[int, int], ...]:
    """The eight neighbours (dy, dx), row major without the centre; number k is opposite to number 7 - k.

    >>> neighbour_offsets(2)[:4]
    ((-2, -2), (-2, 0), (-2, 2), (0, -2))
    """
    steps = (-dilation, 0, dilation)
    return tuple((dy, dx) for dy in steps for dx in steps if (dy, dx) != (0, 0))


def colour_affinity(
    lab: Tensor, *, dilation: int = 2, threshold: float = 0.3, border: str = "zero", backend: str = "auto"
) -> Tensor:
    """Mark for each pixel which of its eight neighbours look like it: exp(-|Lab_p - Lab_q| / 2) >= threshold.

    Args:
        lab: float32 [B, T, 3, h, w], CIE Lab.
        dilation: distance of the neighbours in pixels.
        threshold: least similarity, in 0..1.
        border: "zero": a neighbour outside the frame has Lab (0, 0, 0), as in the official code;
            "clean": it does not exist.
        backend: "auto", "torch" or "triton".

    Returns:
        int32 [B, T, h, w]; bit k is set where neighbour k of `neighbour_offsets(dilation)` is alike.

    Raises:
        InputError: an unknown border.

    >>> colour_affinity(torch.zeros(1, 1, 3, 1, 3), dilation=1, border="clean")
    tensor([[[[16, 24,  8]]]], dtype=torch.int32)
    """
    if border not in ("zero", "clean"):
        raise InputError(f"border is {border!r}, expected 'zero' or 'clean'")
    if backends.resolve(backend, lab) == "triton":
        return backends.kernels().colour_affinity(lab, dilation=dilation, threshold=threshold, border=border)
    h, w = lab.shape[-2:]
    outside = 0.0 if border == "zero" else math.inf
    padded = pad(lab, (dilation,) * 4, value=outside)
    bits = torch.zeros_like(lab[:, :, 0], dtype=torch.int32)  # [B, T, h, w]
    for k, (dy, dx) in enumerate(neighbour_offsets(dilation)):
        neighbour = padded[..., dilation + dy : dilation + dy + h, dilation + dx : dilation + dx + w]
        squared = (lab - neighbour).square().sum(2)  # [B, T, h, w]
        bits += (squared <= (2 * math.log(threshold)) ** 2).int() << k
    return bits


def pairwise_loss(
    mask_logits: Tensor,
    affinity: Tensor,
    box_masks: Tensor,
    *,
    dilation: int = 2,
    clip_index: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Ask neighbours p, q of like colour for the same side of the mask.

    L_pair = sum of m_p * -log(s_p s_q + (1 - s_p)(1 - s_q)) / max(sum of m_p, 1) over n, t and marked (p, q),
    with s = sigmoid(mask_logits), m = box_masks: the colour affinity loss of BoxInst (CVPR 2021, arXiv
    2012.02310). One term is `pair_term` of the logits x, y; its gradient to x is sigmoid(x) - sigmoid(x + y).

    Args:
        mask_logits: float [L, N, T, h, w]; halves are computed in float32.
        affinity: int32 [B, T, h, w] from `colour_affinity`.
        box_masks: float [N, T, h, w] in 0..1, the weight of the pixel p.
        dilation: distance of the neighbours, as given to `colour_affinity`.
        clip_index: int64 [N], the clip in 0..B-1 of each instance; None if B = 1.
        backend: "auto", "torch" or "triton".

    Returns:
        Loss [L]. A marked neighbour outside the frame adds no term, but its weight counts.

    Raises:
        InputError: the shapes do not fit each other, or several clips come without `clip_index`.

    >>> logits = torch.tensor([2.0, -3.0]).view(1, 1, 1, 1, 2)
    >>> alike = torch.tensor([16, 8], dtype=torch.int32).view(1, 1, 1, 2)
    >>> pairwise_loss(logits, alike, torch.ones(1, 1, 1, 2), dilation=1)
    tensor([1.8623])
    """
    if mask_logits.dim() != 5 or box_masks.shape != mask_logits.shape[1:]:
        raise InputError(
            f"mask_logits has shape {list(mask_logits.shape)} and box_masks {list(box_masks.shape)}, "
            "expected [L, N, T, h, w] and [N, T, h, w]"
        )
    t, h, w = mask_logits.shape[2:]
    if affinity.shape[1:] != (t, h, w):
        raise InputError(
            f"affinity has shape {list(affinity.shape)}, expected [B, T, h, w] = [B, {t}, {h}, {w}]"
        )
    if clip_index is None:
        if affinity.shape[0] != 1:
            raise InputError(
                f"affinity holds {affinity.shape[0]} clips: clip_index must name each instance's"
            )
        clip_index = mask_logits.new_zeros(mask_logits.shape[1], dtype=torch.int64)
    if backends.resolve(backend, mask_logits) == "triton":
        return backends.kernels().pairwise_loss(
            mask_logits, affinity, box_masks, dilation=dilation, clip_index=clip_index
        )
    return _PairwiseLoss.apply(mask_logits, affinity[clip_index], box_masks, dilation)


class _PairwiseLoss(torch.autograd.Function):
    """Loss and gradient together: all layers share the list of weighted pairs, and each pair its softplus."""

    @staticmethod
    def forward(ctx, mask_logits: Tensor, affinity: Tensor, box_masks: Tensor, dilation: int) -> Tensor:
        logits = mask_logits if mask_logits.dtype == torch.float64 else mask_logits.float()
        logits = logits.flatten(1)  # [L, N*T*h*w]
        first, second, weight, total = _weighted_pairs(affinity, box_masks.to(logits.dtype), dilation)
        x, y = logits[:, first], logits[:, second]  # [L, pairs]
        normaliser = total.clamp(min=1)
        loss = pair_term(x, y) @ weight / normaliser
        if ctx.needs_input_grad[0]:
            s, weight = (x + y).sigmoid(), weight / normaliser
            gradient = torch.zeros_like(logits)
            gradient.index_add_(1, first, (x.sigmoid() - s) * weight)
            gradient.index_add_(1, second, (y.sigmoid() - s) * weight)
            ctx.save_for_backward(gradient.view(mask_logits.shape).to(mask_logits.dtype))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss: Tensor):
        (gradient,) = ctx.saved_tensors
        return (grad_loss[:, None, None, None, None] * gradient).to(gradient.dtype), None, None, None


def _weighted_pairs(affinity: Tensor, box_masks: Tensor, dilation: int) -> tuple[Tensor, ...]:
    """List each unordered pair of pixels once, with the weights of its two directions added.

    Returns:
        Flat positions first, second int64 [pairs] in [N, T, h, w], weight [pairs], and the sum of all
        weights, that of neighbours outside the frame included.
    """
    h, w = box_masks.shape[-2:]
    weights = [((affinity >> k) & 1) * box_masks for k in range(8)]  # [N, T, h, w] each
    firsts, steps, values = [], [], []
    for k, (dy, dx) in list(enumerate(neighbour_offsets(dilation)))[4:]:  # the other four are their opposites
        here = (..., slice(0, max(h - dy, 0)), slice(max(0, -dx), max(w - max(0, dx), 0)))
        there = (..., slice(dy, None), slice(max(0, dx), max(w + min(0, dx), 0)))
        weight = torch.zeros_like(box_masks)
        weight[here] = weights[k][here] + weights[7 - k][there]
        first = weight.flatten().nonzero().squeeze(1)
        firsts.append(first)
        steps.append(torch.full_like(first, dy * w + dx))
        values.append(weight.flatten()[first])
    first = torch.cat(firsts)
    return first, first + torch.cat(steps), torch.cat(values), sum(weight.sum() for weight in weights)
