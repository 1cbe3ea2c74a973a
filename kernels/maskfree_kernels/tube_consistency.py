"""Loss and gradient of a tube's matched pixels: all layers, instances and frame pairs in one launch.

For pair (a, b), instance n, pixel p of frame b inside the instance's region, and match q = p + o_s in frame
a, with logits y at p and x at q,

    loss = sum of softplus(x) + softplus(y) - softplus(x + y) / normaliser of the pair,
    d loss / dx = (sigmoid(x) - sigmoid(x + y)) / normaliser,    d loss / dy likewise.

The gradient is gathered: pixel p of frame t meets its own matches where t is the centre of a pair, and, where
t is the source, every centre p - o_s of which it is match s. The bits of those centres, turned round, are p's
own words of `reversed_bits`, so a program walks through set bits only (`walk_matches`). No atomics; every sum
has a fixed order: results repeat bitwise.

Launches: `reverse_matches_kernel` (of no layer, and of N only where it counts matches inside the regions),
`tube_consistency_fwd_kernel` (all the work), `pair_sums_kernel` and torch's sum (add up programs and pairs).

Bytes: reads logits [L, N, T, h, w] once (again from cache where matched), writes the gradient once; bits and
region are read from cache, once for every LAYERS layers. Backward: reads the gradient, writes its multiple.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from maskfree_kernels.pair_sums import pair_sums, pair_weight
from maskfree_kernels.reverse_matches import reverse_matches
from maskfree_kernels.tables import INTERPRETED, TABLE_TAGS, aot_case, device_table
from maskfree_kernels.walk_matches import LOG2_E, one_plus_and_sigmoid, walk_matches

LN_2 = tl.constexpr(0.6931471805599453)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)

# Configs: a program does BLOCK pixels of a frame in LAYERS layers, for one instance after another, for
# so many that about PROGRAMS programs are left. It is one warp: it walks no farther than its own
# most matched pixel, and votes without a barrier. 7 layers are too many for the registers of sm_80.
CONFIGS = {layers: dict(LAYERS=layers, BLOCK=32, num_warps=1) for layers in (5, 3, 2, 1)}
PROGRAMS = 16384


def config(layers: int) -> dict:
    """Return the configuration of a launch for `layers` layers."""
    chosen = next(CONFIGS[group] for group in CONFIGS if layers % group == 0)
    return {**chosen, "BLOCK": 512} if INTERPRETED else chosen


def launches(layers: int) -> list[slice]:
    """Return which of L = `layers` layers each launch does: two launches rather than layers one by one."""
    if layers < max(CONFIGS) or config(layers)["LAYERS"] > 1:
        return [slice(0, layers)]
    whole = layers - layers % max(CONFIGS)
    return [slice(0, whole), slice(whole, layers)]


@triton.jit
def tube_consistency_fwd_kernel(
    logits,  # [L, N, T, h, w]
    gradient,  # out [L, N, T, h, w]
    loss_parts,  # out [L, P, N, blocks]
    bits,  # int32 [B, P, WORDS, h, w]
    reversed_bits,
    counts,  # int32 [P, parts]
    region,  # uint8 [N, h, w]
    clip_index,  # int64 [N]
    offsets,  # int32 [S, 2]
    frame_pairs,  # int32 [P, 2]
    N,
    T,
    P,
    h,
    w,
    groups,  # of layers
    instances,  # a program
    parts,
    pixels,  # the normaliser "pixels"
    WORDS: tl.constexpr,
    PARTS: tl.constexpr,
    PER_MATCH: tl.constexpr,
    ONE_CLIP: tl.constexpr,
    WITH_GRADIENT: tl.constexpr,
    LAYERS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    area = h * w
    blocks = tl.cdiv(area, BLOCK)
    block = tl.program_id(0) % blocks
    t = tl.program_id(0) // blocks % T
    first_layer = tl.program_id(0) // (blocks * T) % groups * LAYERS
    first_instance = tl.program_id(0) // (blocks * T * groups) * instances
    pixel = block * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < area
    y, x = pixel // w, pixel % w
    layer_size = tl.cast(N, tl.int64) * T * area
    for n in range(first_instance, tl.minimum(first_instance + instances, N)):
        start = first_layer * layer_size + tl.cast(n, tl.int64) * T * area
        logit = ()
        one_plus = ()
        sigmoid = ()
        slope = ()
        for i in tl.static_range(LAYERS):
            own = logits + start + i * layer_size + t * area + pixel
            value = tl.load(own, mask=inside, other=0.0).to(tl.float32) * LOG2_E
            value_plus, value_sigmoid = one_plus_and_sigmoid(value)
            logit = logit + (value,)
            one_plus = one_plus + (value_plus,)
            sigmoid = sigmoid + (value_sigmoid,)
            slope = slope + (tl.zeros([BLOCK], tl.float32),)

        clip = 0
        if not ONE_CLIP:
            clip = tl.load(clip_index + n).to(tl.int32)
        own_region = region + tl.cast(n, tl.int64) * area
        in_region = tl.load(own_region + pixel, mask=inside, other=0) != 0
        for p in range(0, P):
            for role in tl.static_range(0 if WITH_GRADIENT else 1, 2):  # t is: 0 the source, 1 the centre
                if tl.load(frame_pairs + 2 * p + role) == t:
                    scale = 1.0 / pixels
                    if PER_MATCH:
                        scale = 1.0 / tl.maximum(pair_weight(counts, p, parts, PARTS), 1.0)
                    words = ()
                    for i in tl.static_range(WORDS):
                        word = (bits if role else reversed_bits) + pixel
                        word += ((clip * P + p).to(tl.int64) * WORDS + i) * area
                        words = words + (tl.load(word, mask=in_region if role else inside, other=0),)
                    slope, loss, steps = walk_matches(
                        words,
                        (y, x),
                        (h, w),
                        offsets,
                        logits + start + tl.load(frame_pairs + 2 * p + 1 - role) * area,
                        layer_size,
                        own_region,
                        scale,
                        (logit, one_plus, sigmoid),
                        slope,
                        role == 1,
                    )
                    if role:
                        part = loss_parts + ((first_layer * P + p).to(tl.int64) * N + n) * blocks + block
                        for i in tl.static_range(LAYERS):
                            total = 0.0
                            if steps > 0:
                                total = tl.sum(loss[i]) * LN_2
                            tl.store(part + i * P * N * blocks, total)
        if WITH_GRADIENT:
            for i in tl.static_range(LAYERS):
                target = gradient + start + i * layer_size + t * area + pixel
                tl.store(target, slope[i].to(gradient.dtype.element_ty), mask=inside)


@torch.library.custom_op("maskfree::tube_consistency", mutates_args=(), tags=TABLE_TAGS)
def _tube_consistency(
    mask_logits: Tensor,
    bits: Tensor,
    region: Tensor,
    clip_index: Tensor | None,
    offsets: list[int],
    frame_pairs: list[int],
    per_match: bool,
    with_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Launch the kernels: loss, pair_loss, pair_weight and the gradient of each layer's loss."""
    L, N, T, h, w = mask_logits.shape
    P, pixels = len(frame_pairs) // 2, float(h * w * N)
    blocks = triton.cdiv(h * w, config(L)["BLOCK"])
    gradient = _empty_gradient(mask_logits, with_gradient)
    loss_parts = torch.empty(L, P, N * blocks, dtype=torch.float32, device=mask_logits.device)
    tables = (device_table(tuple(numbers), bits.device) for numbers in (offsets, frame_pairs))
    with torch.cuda.device_of(mask_logits):
        reversed_bits, counts = reverse_matches(bits, region, clip_index, offsets)
        shared = (bits, reversed_bits, counts, region, clip_index, *tables, N, T, P, h, w)
        for part in launches(L):
            launch = config(part.stop - part.start)
            groups = (part.stop - part.start) // launch["LAYERS"]
            chunks = min(N, triton.cdiv(PROGRAMS, blocks * T * groups))  # of the instances
            tube_consistency_fwd_kernel[(blocks * T * groups * chunks,)](
                mask_logits[part],
                gradient[part],
                loss_parts[part],
                *shared,
                groups,
                triton.cdiv(N, chunks),
                counts.shape[1],
                pixels,
                WORDS=bits.shape[2],
                PARTS=triton.next_power_of_2(counts.shape[1]),
                PER_MATCH=per_match,
                ONE_CLIP=clip_index is None,
                WITH_GRADIENT=with_gradient,
                **launch,
            )
        return *pair_sums(loss_parts, counts, pixels, per_match), gradient


@_tube_consistency.register_fake
def _(mask_logits, bits, region, clip_index, offsets, frame_pairs, per_match, with_gradient):
    L, P = len(mask_logits), len(frame_pairs) // 2
    sums = (mask_logits.new_empty(shape, dtype=torch.float32) for shape in ((L,), (L, P), (P,)))
    return *sums, _empty_gradient(mask_logits, with_gradient)


def _empty_gradient(mask_logits: Tensor, with_gradient: bool) -> Tensor:
    # float16 would lose a gradient this small before a loss scaler could save it
    dtype = torch.bfloat16 if mask_logits.dtype == torch.bfloat16 else torch.float32
    return torch.empty(mask_logits.shape if with_gradient else (0,), dtype=dtype, device=mask_logits.device)


class _TubeConsistency(torch.autograd.Function):
    @staticmethod
    def forward(ctx, mask_logits, bits, region, clip_index, offsets, frame_pairs, per_match):
        loss, pair_loss, pair_weight, gradient = _tube_consistency(
            mask_logits, bits, region, clip_index, offsets, frame_pairs, per_match, ctx.needs_input_grad[0]
        )
        ctx.save_for_backward(gradient)
        ctx.dtype = mask_logits.dtype
        ctx.mark_non_differentiable(pair_loss, pair_weight)
        return loss, pair_loss, pair_weight

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss, _pair_loss, _pair_weight):
        (gradient,) = ctx.saved_tensors
        scaled = torch.empty(gradient.shape, dtype=ctx.dtype, device=gradient.device)
        torch.mul(gradient, grad_loss[:, None, None, None, None], out=scaled)
        return scaled, None, None, None, None, None, None


def tube_consistency(
    mask_logits: Tensor,
    bits: Tensor,
    offsets: tuple[tuple[int, int], ...],
    frame_pairs: list[tuple[int, int]],
    region: Tensor,
    *,
    clip_index: Tensor | None = None,
    normaliser: str = "matches",
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum the disagreement of matched pixels over a tube; see `maskfree_nb.tkloss.tube_consistency`.

    Args:
        mask_logits: [L, N, T, h, w], float32, bfloat16 or float16 (float32 arithmetic).
        bits: int32 [B, P, ceil(S/32), h, w], from `knn_match`.
        offsets, frame_pairs: those of `bits`.
        region: bool [N, h, w], the centre pixels that count.
        clip_index: int64 [N], the clip of each instance; may be None if B = 1.
        normaliser: "matches" or "pixels".

    Returns:
        loss [L], pair_loss [L, P] and pair_weight [P], float32; only loss carries a gradient.

    Raises:
        ValueError: an argument that the kernels do not take; it names the argument.
    """
    if mask_logits.ndim != 5 or mask_logits.dtype not in DTYPES:
        raise ValueError(
            f"mask_logits are {mask_logits.dtype} {list(mask_logits.shape)}, expected [L, N, T, h, w] of "
            "float32, bfloat16 or float16; for float64 use backend='torch'"
        )
    L, N, T, h, w = mask_logits.shape
    if (
        bits.shape[1:] != (len(frame_pairs), (len(offsets) + 31) // 32, h, w)
        or region.shape != (N, h, w)
        or region.dtype != torch.bool
        or not all(0 <= t < T for pair in frame_pairs for t in pair)
        or (clip_index is None and len(bits) != 1)
    ):
        raise ValueError(
            f"bits {list(bits.shape)}, region {region.dtype} {list(region.shape)}, {len(offsets)} offsets, "
            f"frame_pairs {list(frame_pairs)} and clip_index do not fit mask_logits {list(mask_logits.shape)}"
        )
    if normaliser not in ("matches", "pixels"):
        raise ValueError(f"normaliser is {normaliser!r}, expected 'matches' or 'pixels'")
    if mask_logits.numel() == 0:
        zeros = mask_logits.new_zeros(L, len(frame_pairs), dtype=torch.float32)
        return mask_logits.float().sum((1, 2, 3, 4)), zeros, zeros.new_zeros(len(frame_pairs))
    return _TubeConsistency.apply(
        mask_logits.contiguous(),
        bits.contiguous(),
        region.contiguous().view(torch.uint8),
        None if len(bits) == 1 else clip_index.contiguous(),
        [step for offset in offsets for step in offset],
        [t for pair in frame_pairs for t in pair],
        normaliser == "matches",
    )


def aot_cases() -> list[tuple]:
    """Return (kernel, signature, constexprs, options) of every shipped configuration, to be compiled."""
    types = dict(
        **dict.fromkeys(("logits", "gradient", "loss_parts"), "*fp32"),
        **dict.fromkeys(("bits", "reversed_bits", "counts", "offsets", "frame_pairs"), "*i32"),
        region="*u8",
        clip_index="*i64",
        pixels="fp32",
    )
    bf16 = {**types, "logits": "*bf16", "gradient": "*bf16"}
    shape = dict(WORDS=1, PARTS=128, PER_MATCH=True, ONE_CLIP=False, WITH_GRADIENT=True)
    cases = [aot_case(tube_consistency_fwd_kernel, types, shape, launch) for launch in CONFIGS.values()]
    return [*cases, aot_case(tube_consistency_fwd_kernel, bf16, {**shape, "WORDS": 3}, CONFIGS[5])]
