"""The sums over a frame pair: its number of matches inside the regions, and the loss of each layer.

Programs of other kernels leave partial counts (`reverse_matches`) and partial losses (`tube_consistency`);
here they are added up in a fixed order, so that results repeat bitwise: a program for each layer and pair.
Bytes: reads each part once.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from maskfree_kernels.tables import aot_case

# Config: BLOCK partial losses at a time.
CONFIG = dict(BLOCK=4096, num_warps=8)


@triton.jit
def pair_weight(counts, p, parts, PARTS: tl.constexpr):
    """Add up the partial counts of pair p."""
    part = tl.arange(0, PARTS)
    return tl.sum(tl.load(counts + p * parts + part, mask=part < parts, other=0)).to(tl.float32)


@triton.jit
def pair_sums_kernel(
    pair_loss,  # out [L, P]
    weights,  # out [P]
    loss_parts,  # [L, P, size]
    counts,  # int32 [P, parts]
    P,
    size,
    parts,
    pixels,
    PARTS: tl.constexpr,
    PER_MATCH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0)  # layer P + p
    weight = pair_weight(counts, row % P, parts, PARTS)
    if row < P:
        tl.store(weights + row, weight)
    sums = tl.zeros([BLOCK], tl.float32)
    for first in range(0, size, BLOCK):
        part = first + tl.arange(0, BLOCK)
        sums += tl.load(loss_parts + row.to(tl.int64) * size + part, mask=part < size, other=0.0)
    divisor = pixels
    if PER_MATCH:
        divisor = tl.maximum(weight, 1.0)
    tl.store(pair_loss + row, tl.sum(sums) / divisor)


def pair_sums(
    loss_parts: Tensor, counts: Tensor, pixels: float, per_match: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Launch once, and let torch add up the pairs of each layer.

    Args:
        loss_parts: float32 [L, P, parts of the loss].
        counts: int32 [P, parts of the counts].
        pixels, per_match: losses are divided by `pixels`, or by max(the pair's count, 1) if `per_match`.

    Returns:
        loss [L], pair_loss [L, P] and the counts [P], float32.
    """
    L, P, size = loss_parts.shape
    pair_loss, weights = (torch.empty(shape, device=counts.device) for shape in ((L, P), P))
    pair_sums_kernel[(L * P,)](
        pair_loss,
        weights,
        loss_parts,
        counts,
        P,
        size,
        counts.shape[1],
        pixels,
        PARTS=triton.next_power_of_2(counts.shape[1]),
        PER_MATCH=per_match,
        BLOCK=min(CONFIG["BLOCK"], triton.next_power_of_2(size)),
        num_warps=CONFIG["num_warps"],
    )
    return pair_loss.sum(1), pair_loss, weights


def aot_cases() -> list[tuple]:
    """Return (kernel, signature, constexprs, options) of every shipped configuration, to be compiled."""
    floats = dict.fromkeys(("pair_loss", "weights", "loss_parts"), "*fp32")
    types = dict(**floats, counts="*i32", pixels="fp32")
    return [aot_case(pair_sums_kernel, types, dict(PARTS=128, PER_MATCH=True), CONFIG)]
