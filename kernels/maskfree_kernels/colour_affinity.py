"""Which neighbours of a pixel look like it: the marks over which the pairwise loss is summed.

Bit k of a pixel p is set if its neighbour q number k (eight, row major without the centre; k is opposite to
7 - k) has |Lab_p - Lab_q|² <= limit². Sums run in the order of the torch reference and without fused
multiply-add: every backend gets the same bits.

Bytes: reads Lab [B, T, 3, h, w] once (12 a pixel; its neighbours from cache), writes 4 a pixel.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from maskfree_kernels.tables import INTERPRETED, aot_case

NEIGHBOURS = tl.constexpr(8)

# Configs: pixels a program.
CONFIGS = {
    "gpu": {"BLOCK": 256, "num_warps": 4, "enable_fp_fusion": False},
    "interpreter": {"BLOCK": 1024},
}


@triton.jit
def neighbour(k: tl.constexpr, pixel, h, w, DILATION: tl.constexpr):
    """Flat position of neighbour k of each pixel, and whether both are inside the frame."""
    cell: tl.constexpr = k + (k > 3)  # of the 3 x 3 grid, without its centre
    dy: tl.constexpr = (cell // 3 - 1) * DILATION
    dx: tl.constexpr = (cell % 3 - 1) * DILATION
    y, x = pixel // w + dy, pixel % w + dx
    inside = (pixel < h * w) & (y >= 0) & (y < h) & (x >= 0) & (x < w)
    return pixel + dy * w + dx, inside


@triton.jit
def colour_affinity_fwd_kernel(
    lab,  # [B * T, 3, h, w]
    bits,  # out int32 [B * T, h, w]
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
        other, inside = neighbour(k, pixel, h, w, DILATION)
        dl = l0 - tl.load(lab + other, inside, 0.0)
        da = a0 - tl.load(lab + area + other, inside, 0.0)
        db = b0 - tl.load(lab + 2 * area + other, inside, 0.0)
        alike = dl * dl + da * da + db * db <= limit
        if CLEAN:
            alike &= inside
        result |= alike.to(tl.int32) << k
    tl.store(bits + frame * area + pixel, result, in_frame)


@torch.library.custom_op("maskfree::colour_affinity", mutates_args=())
def _colour_affinity(lab: Tensor, dilation: int, limit: float, clean: bool) -> Tensor:
    B, T, _, h, w = lab.shape
    bits = torch.empty(B, T, h, w, dtype=torch.int32, device=lab.device)
    launch = CONFIGS["interpreter" if INTERPRETED else "gpu"]
    tiles = triton.cdiv(h * w, launch["BLOCK"])
    if bits.numel():
        with torch.cuda.device_of(lab):
            colour_affinity_fwd_kernel[(B * T * tiles,)](
                lab, bits, h, w, tiles, limit, DILATION=dilation, CLEAN=clean, **launch
            )
    return bits


@_colour_affinity.register_fake
def _(lab, dilation, limit, clean):
    B, T, _, h, w = lab.shape
    return torch.empty(B, T, h, w, dtype=torch.int32, device=lab.device)


def colour_affinity(
    lab: Tensor, *, dilation: int = 2, threshold: float = 0.3, border: str = "zero"
) -> Tensor:
    """Mark the neighbours of like colour; see `maskfree_nb.boxloss.colour_affinity`, the torch reference.

    Args:
        lab: float32 [B, T, 3, h, w].
        dilation: distance of the neighbours in pixels.
        threshold: least similarity exp(-|Lab_p - Lab_q| / 2), in 0..1.
        border: "zero" (outside is Lab (0, 0, 0)) or "clean" (outside does not exist).

    Returns:
        int32 [B, T, h, w].

    Raises:
        ValueError: an argument that the kernel does not take; it names the argument.
    """
    if lab.ndim != 5 or lab.shape[2] != 3 or lab.dtype != torch.float32:
        raise ValueError(f"lab is {lab.dtype} {list(lab.shape)}, expected torch.float32 [B, T, 3, h, w]")
    if border not in ("zero", "clean"):
        raise ValueError(f"border is {border!r}, expected 'zero' or 'clean'")
    return _colour_affinity(lab.contiguous(), dilation, (2 * math.log(threshold)) ** 2, border == "clean")


def aot_cases() -> list[tuple]:
    """Return (kernel, signature, constexprs, options) of every shipped configuration, to be compiled."""
    types = {"lab": "*fp32", "bits": "*i32", "limit": "fp32"}
    return [
        aot_case(colour_affinity_fwd_kernel, types, {"DILATION": 2, "CLEAN": clean}, CONFIGS["gpu"])
        for clean in (False, True)
    ]
