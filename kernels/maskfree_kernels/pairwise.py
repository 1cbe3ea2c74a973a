"""Colour affinity of neighbouring pixels, and the pairwise loss over it.

`colour_affinity`: bit k of a pixel p is set if its neighbour q number k (eight, row major) has |Lab_p -
Lab_q| <= -2 ln(threshold). Reads 12 bytes a pixel (and its neighbours from cache), writes 4.

`pairwise_loss`: over all instances, frames and marked neighbours, with logits x at p and y at q,

    L = sum m_p (softplus(x) + softplus(y) - softplus(x + y)) / max(sum m_p, 1),    m = box_masks.

Each unordered pair {p, q} has one weight W = bit_k(p) m_p + bit_{7-k}(q) m_q, so that in gather form

    dL/dx_p = sum over the eight neighbours of W (sigmoid(x) - sigmoid(x + y)) / max(sum m, 1):

no pixel is written twice, no atomics, bitwise deterministic. Loss and gradient leave one launch. The
gradient is stored before it is divided by the normaliser, which is known only when all programs have ended;
the backward pass multiplies it by grad_loss / normaliser.

The loss is summed without cancellation. With l(x) = log(1 + exp(-|x|)), softplus(x) = max(x, 0) + l(x), and
max(x, 0) + max(y, 0) - max(x + y, 0) = max(0, min(max(x, y), -min(x, y))).

Bytes: reads logits [L, N, T, h, w] once where a weight is not zero, box_masks [N, T, h, w] and affinity [B,
T, h, w] once for every LAYERS layers (affinity from cache for all but the first instance); writes the
gradient once. Backward: reads and writes the gradient.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

# Configs: pixels a program, and layers a program, which share the eight weights.
CONFIGS = {
    "affinity": {"BLOCK": 256, "num_warps": 4, "enable_fp_fusion": False},  # bit for bit as torch
    "pairwise": {"BLOCK": 256, "LAYERS": 5, "num_warps": 4},
    "affinity, interpreter": {"BLOCK": 1024},
    "pairwise, interpreter": {"BLOCK": 1024, "LAYERS": 2},
}

NEIGHBOURS = tl.constexpr(8)


def config(op: str) -> dict:
    """The launch configuration."""
    return CONFIGS[f"{op}, interpreter" if triton.knobs.runtime.interpret else op]


@triton.jit
def _neighbour(k: tl.constexpr, pixel, h, w, DILATION: tl.constexpr):
    """Flat position of neighbour k of each pixel, and whether it is inside the frame."""
    cell: tl.constexpr = k + (k > 3)  # of the 3 x 3 grid, without its centre
    dy: tl.constexpr = (cell // 3 - 1) * DILATION
    dx: tl.constexpr = (cell % 3 - 1) * DILATION
    y, x = pixel // w + dy, pixel % w + dx
    inside = (pixel < h * w) & (y >= 0) & (y < h) & (x >= 0) & (x < w)
    return pixel + dy * w + dx, inside


@triton.jit
def _tail_and_sigmoid(x):
    """log(1 + exp(-|x|)) and sigmoid(x), from one exponential."""
    e = tl.exp(-tl.abs(x))
    upper = 1 / (1 + e)
    return tl.log(1 + e), tl.where(x >= 0, upper, e * upper)


@triton.jit
def colour_affinity_kernel(
    lab,  # [B * T, 3, h, w]
    bits,  # int32 [B * T, h, w]
    h,
    w,
    tiles,
    limit,  # the largest squared distance
    DILATION: tl.constexpr,
    CLEAN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    frame = (tl.program_id(0) // tiles).to(tl.int64)
    pixel = tl.program_id(0) % tiles * BLOCK + tl.arange(0, BLOCK)
    area = h * w
    lab += frame * 3 * area
    in_frame = pixel < area
    l0 = tl.load(lab + pixel, in_frame, 0.0)
    a0 = tl.load(lab + area + pixel, in_frame, 0.0)
    b0 = tl.load(lab + 2 * area + pixel, in_frame, 0.0)
    result = tl.zeros([BLOCK], tl.int32)
    for k in tl.static_range(NEIGHBOURS):
        other, inside = _neighbour(k, pixel, h, w, DILATION)
        dl = l0 - tl.load(lab + other, inside, 0.0)
        da = a0 - tl.load(lab + area + other, inside, 0.0)
        db = b0 - tl.load(lab + 2 * area + other, inside, 0.0)
        alike = dl * dl + da * da + db * db <= limit
        if CLEAN:
            alike &= inside
        result |= alike.to(tl.int32) << k
    tl.store(bits + frame * area + pixel, result, in_frame)


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
        other, inside = _neighbour(k, pixel, h, w, DILATION)
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
                other, _ = _neighbour(k, pixel, h, w, DILATION)
                y = tl.load(logits + start + other, weights[k] != 0, 0.0).to(ACC)
                tail_both, sigmoid_both = _tail_and_sigmoid(x + y)
                slope += weights[k] * (sigmoid - sigmoid_both)
                if k > 3:  # each pair once
                    linear = tl.maximum(tl.minimum(tl.maximum(x, y), -tl.minimum(x, y)), 0.0)
                    loss += weights[k] * (linear - tail_both)
        tl.store(gradient + start + pixel, slope, in_frame)
        tl.store(loss_parts + layer * frames * tiles + part, tl.sum(loss))


@torch.library.custom_op("maskfree::colour_affinity", mutates_args=())
def _colour_affinity(lab: Tensor, dilation: int, max_distance: float, clean: bool) -> Tensor:
    B, T, _, h, w = lab.shape
    bits = torch.empty(B, T, h, w, dtype=torch.int32, device=lab.device)
    options = config("affinity")
    tiles = triton.cdiv(h * w, options["BLOCK"])
    if bits.numel():
        colour_affinity_kernel[(B * T * tiles,)](
            lab, bits, h, w, tiles, max_distance**2, DILATION=dilation, CLEAN=clean, **options
        )
    return bits


@_colour_affinity.register_fake
def _(lab, dilation, max_distance, clean):
    return torch.empty_like(lab[:, :, 0], dtype=torch.int32)


@torch.library.custom_op("maskfree::pairwise", mutates_args=())
def _pairwise(
    mask_logits: Tensor, affinity: Tensor, box_masks: Tensor, clip_index: Tensor, dilation: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Launch once; return loss [L], the normaliser, and the gradient not yet divided by it."""
    L, N, T, h, w = mask_logits.shape
    accurate = torch.float64 if mask_logits.dtype == torch.float64 else torch.float32
    options = config("pairwise")
    tiles = triton.cdiv(h * w, options["BLOCK"])
    gradient = torch.empty_like(mask_logits)
    loss_parts = torch.empty(L, N * T * tiles, dtype=accurate, device=mask_logits.device)
    weight_parts = torch.empty(N * T * tiles, dtype=accurate, device=mask_logits.device)
    if gradient.numel():
        pairwise_fwd_kernel[(N * T * tiles * triton.cdiv(L, options["LAYERS"]),)](
            mask_logits,
            affinity,
            box_masks,
            clip_index,
            gradient,
            loss_parts,
            weight_parts,
            L,
            N * T,
            T,
            h,
            w,
            tiles,
            ACC=tl.float64 if accurate == torch.float64 else tl.float32,
            DILATION=dilation,
            **options,
        )
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


def colour_affinity(
    lab: Tensor, *, dilation: int = 2, threshold: float = 0.3, border: str = "zero"
) -> Tensor:
    """Mark the neighbours of like colour; see `maskfree_nb.boxloss.colour_affinity`, the torch reference.

    Args:
        lab: float32 [B, T, 3, h, w].

    Returns:
        int32 [B, T, h, w].
    """
    return _colour_affinity(lab.contiguous(), dilation, -2 * math.log(threshold), border == "clean")


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
        affinity: int32 [B, T, h, w].
        box_masks: float [N, T, h, w].
        clip_index: int64 [N]; None if B = 1.

    Returns:
        Loss [L], float32 (float64 for float64 logits).
    """
    if clip_index is None:
        clip_index = torch.zeros(mask_logits.shape[1], dtype=torch.int64, device=mask_logits.device)
    return _PairwiseLoss.apply(
        mask_logits.contiguous(), affinity.contiguous(), box_masks.contiguous(), clip_index, dilation
    )
