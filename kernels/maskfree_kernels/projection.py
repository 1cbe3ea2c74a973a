"""The projection loss: row and column maxima of each mask against those of its box.

With p = sigmoid(mask_logits), m = box_masks, for each layer, instance and frame

    loss = dice(max_y p, max_y m) + dice(max_x p, max_x m),   dice(a, g) = 1 - 2 O / D,
    O = sum(a g),  D = sum(a^2) + sum(g^2) + 1e-5,            d dice / d a_i = (4 O a_i / D - 2 g_i) / D,

and the loss of a layer is the mean over N and T. The sigmoid rises, so the maximum is taken of the logits;
its gradient is a (1 - a) at the arg-max alone, the first of equal values. So only h + w numbers of each
map's gradient can differ from zero: the forward launch finds them (the maxima, their places, O and D), the
backward launch writes the map around them. No atomics, bitwise deterministic.

Bytes: forward reads logits [L, N, T, h, w] once and writes 8 (h + w) a map; backward reads those and writes
the gradient once. The maxima of the boxes, [N, T, h] and [N, T, w], are taken before, once for all layers.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from maskfree_kernels.tables import aot_case

EPSILON = tl.constexpr(1e-5)

# Configs: one program a map forward, one a strip of rows backward. A strip holds the whole width.
STRIP = 4096  # pixels
NUM_WARPS = 8


def config(h: int, w: int) -> dict:
    """The launch configuration: a strip's rows and columns, and a divisor of w that allows wide loads."""
    columns = max(128, triton.next_power_of_2(w))
    align = 8 if w % 8 == 0 else 1
    return {"BLOCK_H": max(1, STRIP // columns), "BLOCK_W": columns, "ALIGN": align, "num_warps": NUM_WARPS}


@triton.jit
def _sigmoid(x):
    e = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, e) / (1 + e)


@triton.jit
def _slope(p, target, sums):
    """d dice / d logit at the arg-max of each row or column; sums points at O, D."""
    overlap, total = tl.load(sums), tl.load(sums + 1)
    return (4 * overlap * p / total - 2 * target) / total * p * (1 - p)


@triton.jit
def projection_fwd_kernel(
    logits,  # [L * N * T, h, w]
    box_rows,  # [N * T, h], the maxima of the boxes
    box_columns,  # [N * T, w]
    row_max,  # out [L * N * T, h], sigmoid of the maximum
    row_arg,  # out int32, its x
    column_max,  # out [L * N * T, w]
    column_arg,  # out int32, its y
    sums,  # out [L * N * T, 4]: O, D of the rows, O, D of the columns
    frames,  # N * T
    h,
    w,  # in units of ALIGN
    ACC: tl.constexpr,
    ALIGN: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_W: tl.constexpr,
):
    map_index = tl.program_id(0).to(tl.int64)
    frame = map_index % frames
    w *= ALIGN
    logits += map_index * h * w
    x = tl.arange(0, BLOCK_W)
    best = tl.full([BLOCK_H, BLOCK_W], float("-inf"), ACC)
    best_y = tl.zeros([BLOCK_H, BLOCK_W], tl.int32)
    overlap = tl.zeros([BLOCK_H], ACC)
    total = tl.zeros([BLOCK_H], ACC)
    invalid = tl.zeros([BLOCK_H, BLOCK_W], tl.int32)
    for top in range(0, h, BLOCK_H):
        y = top + tl.arange(0, BLOCK_H)
        in_map = (y < h)[:, None] & (x < w)[None, :]
        logit = tl.load(logits + y[:, None] * w + x[None, :], in_map, float("-inf")).to(ACC)
        invalid |= (logit != logit).to(tl.int32)
        better = logit > best
        best = tl.where(better, logit, best)
        best_y = tl.where(better, y[:, None], best_y)

        highest, arg = tl.max(logit, axis=1, return_indices=True)  # [BLOCK_H]; -inf below the map
        p = _sigmoid(highest)
        target = tl.load(box_rows + frame * h + y, y < h, 0.0).to(ACC)
        overlap += p * target
        total += p * p + target * target
        tl.store(row_max + map_index * h + y, p, y < h)
        tl.store(row_arg + map_index * h + y, arg, y < h)

    highest = tl.max(best, axis=0)  # [BLOCK_W]; -inf right of the map
    arg = tl.min(tl.where(best == highest[None, :], best_y, h), axis=0)
    p = _sigmoid(highest)
    target = tl.load(box_columns + frame * w + x, x < w, 0.0).to(ACC)
    tl.store(column_max + map_index * w + x, p, x < w)
    tl.store(column_arg + map_index * w + x, arg, x < w)

    nan = tl.where(tl.max(tl.max(invalid, 1), 0) > 0, float("nan"), 0.0)  # a maximum drops NaN: bring it back
    sums += map_index * 4
    tl.store(sums, tl.sum(overlap) + nan)
    tl.store(sums + 1, tl.sum(total) + EPSILON)
    tl.store(sums + 2, tl.sum(p * target) + nan)
    tl.store(sums + 3, tl.sum(p * p + target * target) + EPSILON)


@triton.jit
def projection_bwd_kernel(
    grad_loss,  # [L]
    box_rows,
    box_columns,
    row_max,
    row_arg,
    column_max,
    column_arg,
    sums,
    gradient,  # out [L * N * T, h, w]
    frames,
    h,
    w,  # in units of ALIGN
    strips,
    ALIGN: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_W: tl.constexpr,
):
    map_index = (tl.program_id(0) // strips).to(tl.int64)
    frame = map_index % frames
    w *= ALIGN
    x = tl.arange(0, BLOCK_W)
    y = tl.program_id(0) % strips * BLOCK_H + tl.arange(0, BLOCK_H)
    in_row, in_column = y < h, x < w

    p = tl.load(row_max + map_index * h + y, in_row, 0.0)
    target = tl.load(box_rows + frame * h + y, in_row, 0.0)
    row_slope = _slope(p, target, sums + map_index * 4)
    row_x = tl.load(row_arg + map_index * h + y, in_row, 0)
    p = tl.load(column_max + map_index * w + x, in_column, 0.0)
    target = tl.load(box_columns + frame * w + x, in_column, 0.0)
    column_slope = _slope(p, target, sums + map_index * 4 + 2)
    column_y = tl.load(column_arg + map_index * w + x, in_column, 0)

    slope = tl.where(row_x[:, None] == x[None, :], row_slope[:, None], 0.0)
    slope += tl.where(column_y[None, :] == y[:, None], column_slope[None, :], 0.0)
    slope *= tl.load(grad_loss + map_index // frames) / frames
    place = gradient + map_index * h * w + y[:, None] * w + x[None, :]
    tl.store(place, slope, in_row[:, None] & in_column[None, :])


@torch.library.custom_op("maskfree::projection", mutates_args=())
def _projection(mask_logits: Tensor, box_rows: Tensor, box_columns: Tensor) -> list[Tensor]:
    """Launch forward: row_max, row_arg, column_max, column_arg, sums."""
    L, N, T, h, w = mask_logits.shape
    outputs = _empty_outputs(mask_logits)
    if mask_logits.numel():
        launch = config(h, w)
        accurate = tl.float64 if mask_logits.dtype == torch.float64 else tl.float32
        tensors = (mask_logits, box_rows, box_columns, *outputs)
        with torch.cuda.device_of(mask_logits):
            projection_fwd_kernel[(L * N * T,)](
                *tensors, N * T, h, w // launch["ALIGN"], ACC=accurate, **launch
            )
    return outputs


@_projection.register_fake
def _(mask_logits, box_rows, box_columns):
    return _empty_outputs(mask_logits)


def _empty_outputs(mask_logits: Tensor) -> list[Tensor]:
    *maps, h, w = mask_logits.shape
    real = torch.float64 if mask_logits.dtype == torch.float64 else torch.float32
    shapes = ((h, real), (h, torch.int32), (w, real), (w, torch.int32), (4, real))
    return [torch.empty(*maps, n, dtype=dtype, device=mask_logits.device) for n, dtype in shapes]


@torch.library.custom_op("maskfree::projection_backward", mutates_args=())
def _projection_backward(
    grad_loss: Tensor, box_rows: Tensor, box_columns: Tensor, saved: list[Tensor], dtype: torch.dtype
) -> Tensor:
    """Launch backward: the gradient [L, N, T, h, w]."""
    row_max, _, column_max, _, _ = saved
    L, N, T, h = row_max.shape
    w = column_max.shape[-1]
    gradient = torch.empty(L, N, T, h, w, dtype=dtype, device=row_max.device)
    if gradient.numel():
        launch = config(h, w)
        strips = triton.cdiv(h, launch["BLOCK_H"])
        tensors = (grad_loss, box_rows, box_columns, *saved, gradient)
        with torch.cuda.device_of(gradient):
            projection_bwd_kernel[(L * N * T * strips,)](
                *tensors, N * T, h, w // launch["ALIGN"], strips, **launch
            )
    return gradient


@_projection_backward.register_fake
def _(grad_loss, box_rows, box_columns, saved, dtype):
    return saved[0].new_empty(*saved[0].shape, saved[2].shape[-1], dtype=dtype)


class _ProjectionLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, mask_logits, box_rows, box_columns):
        saved = _projection(mask_logits, box_rows, box_columns)
        ctx.save_for_backward(box_rows, box_columns, *saved)
        ctx.dtype = mask_logits.dtype
        row_overlap, row_total, column_overlap, column_total = saved[-1].unbind(-1)  # [L, N, T]
        return (2 - 2 * row_overlap / row_total - 2 * column_overlap / column_total).mean((1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss):
        box_rows, box_columns, *saved = ctx.saved_tensors
        gradient = _projection_backward(grad_loss.contiguous(), box_rows, box_columns, saved, ctx.dtype)
        return gradient, None, None


def projection_loss(mask_logits: Tensor, box_masks: Tensor) -> Tensor:
    """Compare shadows of masks and boxes; see `maskfree_nb.boxloss.projection_loss`, the torch reference.

    Args:
        mask_logits: float32, bfloat16, float16 (float32 arithmetic) or float64 [L, N, T, h, w].
        box_masks: float [N, T, h, w].

    Returns:
        Loss [L], float32 (float64 for float64 logits); 0 if N = 0.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    if mask_logits.shape[1:] != box_masks.shape:
        raise ValueError(
            f"box_masks {list(box_masks.shape)} do not fit mask_logits {list(mask_logits.shape)}"
        )
    if mask_logits.shape[1] == 0:
        return mask_logits.float().sum((1, 2, 3, 4))
    return _ProjectionLoss.apply(mask_logits.contiguous(), box_masks.amax(-1), box_masks.amax(-2))


def aot_cases() -> list[tuple]:
    """Return (kernel, signature, constexprs, options) of every shipped configuration, to be compiled.

    Widths up to 128, 256 and 512; those not divisible by 8; halves.
    """
    pointers = ("grad_loss", "box_rows", "box_columns", "row_max", "column_max", "sums")
    types = {**dict.fromkeys(pointers, "*fp32"), **dict.fromkeys(("row_arg", "column_arg"), "*i32")}
    cases = []
    for w, real in (
        (128, "*fp32"),
        (256, "*fp32"),
        (512, "*fp32"),
        (250, "*fp32"),
        (256, "*bf16"),
        (256, "*fp16"),
    ):
        launch, all_types = config(128, w), {**types, "logits": real, "gradient": real}
        cases.append(aot_case(projection_fwd_kernel, all_types, {"ACC": tl.float32}, launch))
        cases.append(aot_case(projection_bwd_kernel, all_types, {}, launch))
    return cases
