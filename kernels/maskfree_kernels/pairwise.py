"""The pairwise loss: marked neighbours are both inside or both outside the mask.

Over all instances, frames and marked neighbours, with logits x at p and y at q,

    L = sum m_p (softplus(x) + softplus(y) - softplus(x + y)) / max(sum m_p, 1),    m = box_masks.

Each unordered pair {p, q} has one weight W = bit_k(p) m_p + bit_{7-k}(q) m_q, so that in gather form

    dL/dx_p = sum over the eight neighbours of W (sigmoid(x) - sigmoid(x + y)) / max(sum m, 1):

no pixel is written twice, no atomics, bitwise deterministic. Loss and gradient leave one launch. The gradient
is stored before it is divided by the normaliser, which is known only when all programs have ended; the
backward pass multiplies it by grad_loss / normaliser.

The loss is summed without cancellation. With l(x) = log(1 + exp(-|x|)), softplus(x) = max(x, 0) + l(x), and
max(x, 0) + max(y, 0) - max(x + y, 0) = max(0, min(max(x, y), -min(x, y))).

Bytes: reads logits [L, N, T, h, w] where a weight is not zero, box_masks [N, T, h, w] once for every LAYERS
layers, affinity [B, T, h, w] (again for each instance, from cache); writes the gradient once. Backward: reads
the gradient, writes its multiple.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from maskfree_kernels.colour_affinity import NEIGHBOURS, neighbour
from maskfree_kernels.tables import INTERPRETED, aot_case

# Configs: pixels a program, and layers a program, which share the eight weights.
CONFIGS = {
    "gpu": {"BLOCK": 256, "LAYERS": 5, "num_warps": 4},
    "interpreter": {"BLOCK": 1024, "LAYERS": 2},
}


@triton.jit
def _tail_and_sigmoid(x):
    """log(1 + exp(-|x|)) and sigmoid(x), from one exponential."""
    e = tl.exp(-tl.abs(x))
    root = tl.rsqrt(1 + e)  # one instruction; a division takes eight
    return tl.log(1 + e), tl.where(x >= 0, 1.0, e) * root * root


@triton.jit
def pairwise_fwd_kernel(
    logits,  # [L, N * T, h, w]
    affinity,  # int32 [B, T, h, w]
    box_masks,  # [N * T, h, w]
    clip_index,  # int64 [N]
    gradient,  # out, like logits; not yet divided by the normaliser
    loss_parts,  # out [L, N * T * tiles]
    weight_parts,  # out [N * T * tiles]
    L,
    frames,  # N * T
    T,
    h,
    w,
    tiles,
    ACC: tl.constexpr,
    DILATION: tl.constexpr,
    LAYERS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    part = tl.program_id(0) % (frames * tiles)
    first_layer = tl.program_id(0) // (frames * tiles) * LAYERS
    frame = part // tiles
    clip = tl.load(clip_index + frame // T)
    area = h * w
    layer_size = tl.cast(frames, tl.int64) * area
    affinity += (clip * T + frame % T) * area
    box_masks += frame.to(tl.int64) * area
    pixel = part % tiles * BLOCK + tl.arange(0, BLOCK)
    in_frame = pixel < area

    # the weights of the eight pairs of each pixel, for all layers
    own_bits = tl.load(affinity + pixel, in_frame, 0)
    own_mask = tl.load(box_masks + pixel, in_frame, 0.0).to(ACC)
    marked = tl.zeros([BLOCK], tl.int32)
    weight_sum = tl.zeros([BLOCK], ACC)
    weights = ()
    for k in tl.static_range(NEIGHBOURS):
        other, inside = neighbour(k, pixel, h, w, DILATION)
        other_bits = tl.load(affinity + other, inside, 0)
        other_mask = tl.load(box_masks + other, inside, 0.0).to(ACC)
        own_bit = (own_bits >> k) & 1
        weight = tl.where(inside, own_bit * own_mask, 0.0) + ((other_bits >> (7 - k)) & 1) * other_mask
        marked += own_bit
        weight_sum += weight
        weights = weights + (weight,)
    if first_layer == 0:
        tl.store(weight_parts + part, tl.sum(marked * own_mask))
    active = tl.max(weight_sum) > 0

    for layer in range(first_layer, min(first_layer + LAYERS, L)):
        start = layer * layer_size + frame.to(tl.int64) * area
        loss = tl.zeros([BLOCK], ACC)
        slope = tl.zeros([BLOCK], ACC)
        if active:
            x = tl.load(logits + start + pixel, in_frame, 0.0).to(ACC)
            tail, sigmoid = _tail_and_sigmoid(x)
            loss += weight_sum * tail  # l(x) of both ends of each pair
            for k in tl.static_range(NEIGHBOURS):
                other, _ = neighbour(k, pixel, h, w, DILATION)
                y = tl.load(logits + start + other, weights[k] != 0, 0.0).to(ACC)
                tail_both, sigmoid_both = _tail_and_sigmoid(x + y)
                slope += weights[k] * (sigmoid - sigmoid_both)
                if k > 3:  # each pair once
                    linear = tl.maximum(tl.minimum(tl.maximum(x, y), -tl.minimum(x, y)), 0.0)
                    loss += weights[k] * (linear - tail_both)
        tl.store(gradient + start + pixel, slope, in_frame)
        tl.store(loss_parts + layer * frames * tiles + part, tl.sum(loss))


@torch.library.custom_op("maskfree::pairwise", mutates_args=())
def _pairwise(
    mask_logits: Tensor, affinity: Tensor, box_masks: Tensor, clip_index: Tensor, dilation: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Launch once; return loss [L], the normaliser, and the gradient not yet divided by it."""
    L, N, T, h, w = mask_logits.shape
    launch = CONFIGS["interpreter" if INTERPRETED else "gpu"]
    tiles = triton.cdiv(h * w, launch["BLOCK"])
    accurate = torch.float64 if mask_logits.dtype == torch.float64 else torch.float32
    gradient = torch.empty_like(mask_logits)
    loss_parts = torch.empty(L, N * T * tiles, dtype=accurate, device=mask_logits.device)
    weight_parts = torch.empty(N * T * tiles, dtype=accurate, device=mask_logits.device)
    tensors = (mask_logits, affinity, box_masks, clip_index, gradient, loss_parts, weight_parts)
    sizes = (L, N * T, T, h, w, tiles)
    acc = tl.float64 if accurate == torch.float64 else tl.float32
    if gradient.numel():
        with torch.cuda.device_of(mask_logits):
            programs = N * T * tiles * triton.cdiv(L, launch["LAYERS"])
            pairwise_fwd_kernel[(programs,)](*tensors, *sizes, ACC=acc, DILATION=dilation, **launch)
    normaliser = weight_parts.sum().clamp(min=1)
    return loss_parts.sum(1) / normaliser, normaliser, gradient


@_pairwise.register_fake
def _(mask_logits, affinity, box_masks, clip_index, dilation):
    accurate = torch.float64 if mask_logits.dtype == torch.float64 else torch.float32
    loss = mask_logits.new_empty(mask_logits.shape[0], dtype=accurate)
    return loss, loss.new_empty(()), torch.empty_like(mask_logits)


class _PairwiseLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, mask_logits, affinity, box_masks, clip_index, dilation):
        loss, normaliser, gradient = _pairwise(mask_logits, affinity, box_masks, clip_index, dilation)
        ctx.save_for_backward(normaliser, gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss):
        normaliser, gradient = ctx.saved_tensors
        scale = (grad_loss / normaliser)[:, None, None, None, None]
        return torch.mul(gradient, scale, out=torch.empty_like(gradient)), None, None, None, None


def pairwise_loss(
    mask_logits: Tensor,
    affinity: Tensor,
    box_masks: Tensor,
    *,
    dilation: int = 2,
    clip_index: Tensor | None = None,
) -> Tensor:
    """Ask alike neighbours for the same side; see `maskfree_nb.boxloss.pairwise_loss`, the torch reference.

    Args:
        mask_logits: float32, bfloat16, float16 (float32 arithmetic) or float64 [L, N, T, h, w].
        affinity: int32 [B, T, h, w], from `colour_affinity` with the same dilation.
        box_masks: float [N, T, h, w], not negative.
        clip_index: int64 [N], the clip of each instance; may be None if B = 1.

    Returns:
        Loss [L], float32 (float64 for float64 logits).

    Raises:
        ValueError: shapes that do not fit each other.
    """
    N, T, h, w = mask_logits.shape[1:]
    if (
        box_masks.shape != (N, T, h, w)
        or affinity.shape[1:] != (T, h, w)
        or affinity.dtype != torch.int32
        or (clip_index is None and len(affinity) != 1)
    ):
        raise ValueError(
            f"affinity {affinity.dtype} {list(affinity.shape)}, box_masks {list(box_masks.shape)} and "
            f"clip_index do not fit mask_logits {list(mask_logits.shape)}"
        )
    if clip_index is None:
        clip_index = torch.zeros(N, dtype=torch.int64, device=mask_logits.device)
    tensors = (tensor.contiguous() for tensor in (mask_logits, affinity, box_masks, clip_index))
    return _PairwiseLoss.apply(*tensors, dilation)


def aot_cases() -> list[tuple]:
    """Return (kernel, signature, constexprs, options) of every shipped configuration, to be compiled."""
    types = dict.fromkeys(("box_masks", "loss_parts", "weight_parts"), "*fp32")
    types |= {"affinity": "*i32", "clip_index": "*i64"}
    shape = {"ACC": tl.float32, "DILATION": 2}
    return [
        aot_case(pairwise_fwd_kernel, {**types, "logits": real, "gradient": real}, shape, CONFIGS["gpu"])
        for real in ("*fp32", "*bf16", "*fp16")
    ]
