"""Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159, equation 3), forward and backward.

    out[n, q, m] = sum over levels l and points p of A[n, q, m, l, p] * v_l(x w_l - 0.5, y h_l - 0.5),

v_l the bilinear interpolation of value's level l and head m, zero outside the map. With the four corners
v00 v01 v10 v11 around the point, (u, t) its fractional position (x, y), and g = grad_out[n, q, m]:

    dA = g . v(x, y),    dx = w_l A g . ((1 - t)(v01 - v00) + t (v11 - v10)),    dy likewise,
    dvalue[corner] += A * (bilinear weight of the corner) * g.

A program takes BLOCK_Q queries of one head; the D channels lie side by side in memory, so that a corner is
one wide load. Gradients to locations and weights are written once, by the program that owns them:
deterministic. The gradient to value is a scatter in which many queries meet in one pixel: fp32 atomic
additions, whose order, and with it the last bits of the sums, differs from run to run. Under
`torch.use_deterministic_algorithms(True)` the additions are of 64-bit integers (fixed point, 2^-40 of the
largest summand), which commute: bitwise the same every run, at more time.

Bytes, forward: reads value [N, S, M, D] once from memory (and each corner, 4 L P D values a query and head,
from cache), locations [N, Lq, M, L, P, 2] and weights [N, Lq, M, L, P] once; writes [N, Lq, M, D].
Backward: reads the same and grad_out, writes the three gradients, and adds 4 L P D times a query and head
to the first.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from maskfree_kernels.level_points import corner_place, level_point
from maskfree_kernels.tables import INTERPRETED, TABLE_TAGS, aot_case, device_table

FRACTION_BITS = 40  # of the fixed-point sums

# Configs: queries a program.
CONFIGS = {
    "forward": {"BLOCK_Q": 16, "num_warps": 4},
    "backward": {"BLOCK_Q": 16, "num_warps": 4},
    "interpreter": {"BLOCK_Q": 64},
}


@triton.jit
def ms_deform_attn_fwd_kernel(
    value,  # [N, S, M, D]
    levels,  # int32 [L, 3]: h, w, start in S
    locations,  # [N, Lq, M, L, P, 2]
    weights,  # [N, Lq, M, L, P]
    out,  # [N, Lq, M, D]
    S,
    Lq,
    M,
    L,
    blocks,  # of queries
    ACC: tl.constexpr,
    P: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_Q: tl.constexpr,
):
    n = (tl.program_id(0) // (blocks * M)).to(tl.int64)
    m = tl.program_id(0) // blocks % M
    q = tl.program_id(0) % blocks * BLOCK_Q + tl.arange(0, BLOCK_Q)
    in_query = q < Lq
    head = (n * Lq + q) * M + m  # [BLOCK_Q]
    d = tl.arange(0, BLOCK_D)
    value += (n * S * M + m) * D
    result = tl.zeros([BLOCK_Q, BLOCK_D], ACC)
    for level in range(L):
        for p in tl.static_range(P):
            sample = (head * L + level) * P + p
            row, column, t, u, weight, h, w, start = level_point(
                locations, weights, levels, level, sample, in_query, ACC
            )
            for corner in tl.static_range(4):
                position, inside = corner_place(row + corner // 2, column + corner % 2, h, w, start, in_query)
                pixel = value + position.to(tl.int64)[:, None] * (M * D) + d[None, :]
                v = tl.load(pixel, inside[:, None] & (d < D)[None, :], 0.0).to(ACC)
                share = (t if corner // 2 else 1 - t) * (u if corner % 2 else 1 - u)
                result += (weight * share)[:, None] * v
    place = out + head[:, None] * D + d[None, :]
    tl.store(place, result, in_query[:, None] & (d < D)[None, :])


@triton.jit
def ms_deform_attn_bwd_kernel(
    grad_out,  # [N, Lq, M, D]
    value,
    levels,
    locations,
    weights,
    unit,  # of the fixed-point sums: a scalar on the device; not read otherwise
    grad_value,  # in and out [N, S, M, D]: zeros, to be added to
    grad_locations,  # out
    grad_weights,  # out
    S,
    Lq,
    M,
    L,
    blocks,
    ACC: tl.constexpr,
    FIXED_POINT: tl.constexpr,
    P: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_Q: tl.constexpr,
):
    n = (tl.program_id(0) // (blocks * M)).to(tl.int64)
    m = tl.program_id(0) // blocks % M
    q = tl.program_id(0) % blocks * BLOCK_Q + tl.arange(0, BLOCK_Q)
    in_query = q < Lq
    head = (n * Lq + q) * M + m
    d = tl.arange(0, BLOCK_D)
    in_head = in_query[:, None] & (d < D)[None, :]
    value += (n * S * M + m) * D
    grad_value += (n * S * M + m) * D
    g = tl.load(grad_out + head[:, None] * D + d[None, :], in_head, 0.0).to(ACC)
    if FIXED_POINT:
        units = g / tl.load(unit)
    for level in range(L):
        for p in tl.static_range(P):
            sample = (head * L + level) * P + p
            row, column, t, u, weight, h, w, start = level_point(
                locations, weights, levels, level, sample, in_query, ACC
            )
            sampled = tl.zeros([BLOCK_Q, BLOCK_D], ACC)
            along_x = tl.zeros([BLOCK_Q, BLOCK_D], ACC)
            along_y = tl.zeros([BLOCK_Q, BLOCK_D], ACC)
            for corner in tl.static_range(4):
                position, inside = corner_place(row + corner // 2, column + corner % 2, h, w, start, in_query)
                place = position.to(tl.int64)[:, None] * (M * D) + d[None, :]
                there = inside[:, None] & (d < D)[None, :]
                v = tl.load(value + place, there, 0.0).to(ACC)
                share_y = t if corner // 2 else 1 - t
                share_x = u if corner % 2 else 1 - u
                share = share_y * share_x
                sampled += share[:, None] * v
                along_x += (share_y if corner % 2 else -share_y)[:, None] * v
                along_y += (share_x if corner // 2 else -share_x)[:, None] * v
                share *= weight
                if FIXED_POINT:
                    tl.atomic_add(
                        grad_value + place, (share[:, None] * units).to(tl.int64), there, sem="relaxed"
                    )
                else:
                    tl.atomic_add(grad_value + place, share[:, None] * g, there, sem="relaxed")
            tl.store(grad_weights + sample, tl.sum(g * sampled, 1), in_query)
            grad_x = tl.sum(g * along_x, 1) * weight * w
            grad_y = tl.sum(g * along_y, 1) * weight * h
            tl.store(grad_locations + 2 * sample, grad_x, in_query)
            tl.store(grad_locations + 2 * sample + 1, grad_y, in_query)


def _launch(kernel, name: str, tensors: tuple, value: Tensor, locations: Tensor, **constants) -> None:
    N, S, M, D = value.shape
    _, Lq, _, L, P, _ = locations.shape
    config = CONFIGS["interpreter" if INTERPRETED else name]
    blocks = triton.cdiv(Lq, config["BLOCK_Q"])
    constants |= {"P": P, "D": D, "BLOCK_D": triton.next_power_of_2(D)}
    constants["ACC"] = tl.float64 if locations.dtype == torch.float64 else tl.float32
    with torch.cuda.device_of(value):
        kernel[(N * M * blocks,)](*tensors, S, Lq, M, L, blocks, **constants, **config)


@torch.library.custom_op("maskfree::ms_deform_attn", mutates_args=(), tags=TABLE_TAGS)
def _forward(value: Tensor, levels: list[int], locations: Tensor, weights: Tensor) -> Tensor:
    (N, _, M, D), Lq = value.shape, locations.shape[1]
    out = torch.empty(N, Lq, M * D, dtype=locations.dtype, device=value.device)
    if out.numel():
        tensors = (value, device_table(tuple(levels), value.device), locations, weights, out)
        _launch(ms_deform_attn_fwd_kernel, "forward", tensors, value, locations)
    return out


@_forward.register_fake
def _(value, levels, locations, weights):
    return locations.new_empty(*locations.shape[:2], value.shape[2] * value.shape[3])


@torch.library.custom_op("maskfree::ms_deform_attn_backward", mutates_args=(), tags=TABLE_TAGS)
def _backward(
    grad_out: Tensor,
    value: Tensor,
    levels: list[int],
    locations: Tensor,
    weights: Tensor,
    deterministic: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    accurate = torch.float64 if locations.dtype == torch.float64 else torch.float32
    total = torch.zeros_like(value, dtype=torch.int64 if deterministic else accurate)
    unit = None
    if deterministic and grad_out.numel():
        largest = grad_out.abs().amax().to(accurate) * weights.abs().amax()
        unit = (largest * 2.0**-FRACTION_BITS).clamp(min=torch.finfo(accurate).tiny)
    grad_locations, grad_weights = torch.empty_like(locations), torch.empty_like(weights)
    if grad_out.numel():
        table = device_table(tuple(levels), value.device)
        tensors = (grad_out, value, table, locations, weights, unit, total, grad_locations, grad_weights)
        _launch(ms_deform_attn_bwd_kernel, "backward", tensors, value, locations, FIXED_POINT=deterministic)
    grad_value = total * unit if unit is not None else total
    return grad_value.to(value.dtype), grad_locations, grad_weights


@_backward.register_fake
def _(grad_out, value, levels, locations, weights, deterministic):
    return torch.empty_like(value), torch.empty_like(locations), torch.empty_like(weights)


class _MSDeformAttn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, levels, locations, weights):
        ctx.save_for_backward(value, locations, weights)
        ctx.levels = levels
        return _forward(value, levels, locations, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_out):
        value, locations, weights = ctx.saved_tensors
        deterministic = torch.are_deterministic_algorithms_enabled()
        grad_value, grad_locations, grad_weights = _backward(
            grad_out.contiguous(), value, ctx.levels, locations, weights, deterministic
        )
        return grad_value, None, grad_locations, grad_weights


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: list[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sum weighted samples of several maps; see `maskfree_nb.model.ms_deform_attn`, the torch reference.

    Args:
        value: float32, bfloat16 or float16 [N, S, M, D]; summed in float32 (float64 if the locations are).
        spatial_shapes: (h, w) of every level.
        sampling_locations: [N, Lq, M, L, P, 2], (x, y) in 0..1 over the map.
        attention_weights: [N, Lq, M, L, P], of the same dtype.

    Returns:
        [N, Lq, M * D] in the dtype of the locations.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    levels, S = [], 0
    for h, w in spatial_shapes:
        levels += [h, w, S]
        S += h * w
    N, Lq, _, L, P, _ = sampling_locations.shape
    M, D = value.shape[2:]
    if (
        value.shape != (N, S, M, D)
        or sampling_locations.shape != (N, Lq, M, len(spatial_shapes), P, 2)
        or attention_weights.shape != (N, Lq, M, L, P)
    ):
        raise ValueError(
            f"value {list(value.shape)}, sampling_locations {list(sampling_locations.shape)} and "
            f"attention_weights {list(attention_weights.shape)} do not fit maps of {list(spatial_shapes)}"
        )
    return _MSDeformAttn.apply(
        value.contiguous(), levels, sampling_locations.contiguous(), attention_weights.contiguous()
    )


def aot_cases() -> list[tuple]:
    """Return (kernel, signature, constexprs, options) of every shipped configuration, to be compiled."""
    gradients = ("grad_out", "grad_value", "grad_locations", "grad_weights")
    types = dict.fromkeys(("locations", "weights", "out", "unit", *gradients), "*fp32") | {"levels": "*i32"}
    shape = {"ACC": tl.float32, "P": 4, "D": 32, "BLOCK_D": 32}
    floating = {**shape, "FIXED_POINT": False, "unit": None}
    fixed = {**shape, "FIXED_POINT": True}
    cases = []
    for real in ("*fp32", "*bf16", "*fp16"):
        real_types = {**types, "value": real}
        cases.append(aot_case(ms_deform_attn_fwd_kernel, real_types, shape, CONFIGS["forward"]))
        cases.append(aot_case(ms_deform_attn_bwd_kernel, real_types, floating, CONFIGS["backward"]))
    fixed_types = {**types, "value": "*fp32", "grad_value": "*i64"}
    return [*cases, aot_case(ms_deform_attn_bwd_kernel, fixed_types, fixed, CONFIGS["backward"])]
