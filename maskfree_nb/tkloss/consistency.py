"""Step 3 of the TK-Loss: matched pixels are both inside or both outside the instance."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from maskfree_nb.errors import InputError
from maskfree_nb.tkloss.candidates import Offsets, pad_by_reach, shifted
from maskfree_nb.tkloss.matching import unpack_bits

NORMALISERS = ("matches", "pixels")
CHUNK = 1 << 18


class TubeConsistency(NamedTuple):
    """What `tube_consistency` returns; only `loss` carries a gradient."""

    loss: Tensor  # [L]
    pair_loss: Tensor  # [L, P]
    pair_weight: Tensor  # [P]


def pair_term(x: Tensor, y: Tensor) -> Tensor:
    """Return -log(p q + (1-p)(1-q)) with p = σ(x), q = σ(y): how much two mask logits disagree.

    L_cons = softplus(x) + softplus(y) - softplus(x + y)  (Equation 3 of MaskFreeVIS, CVPR 2023, in logits: no
    logarithm of a small number anywhere, so any logit is safe).

    >>> pair_term(torch.tensor([0.0, 9.0]), torch.tensor([5.0, -9.0]))
    tensor([0.6931, 8.3071])
    """
    return _softplus(x) + _softplus(y) - _softplus(x + y)


def tube_consistency(
    mask_logits: Tensor,
    bits: Tensor,
    offsets: Offsets,
    frame_pairs: Sequence[tuple[int, int]],
    region: Tensor,
    *,
    clip_index: Tensor | None = None,
    normaliser: str = "matches",
) -> TubeConsistency:
    """Sum the disagreement of all matched pixels over a tube, for all instances and decoder layers at once.

    L = Σ_pairs (a, b) Σ_instances Σ_p in region Σ_matches q of p L_cons(M_a(q), M_b(p)) / normaliser
    (Algorithm 1, lines 13 and 16, of MaskFreeVIS, CVPR 2023). `tube_consistency_dense` says it pixel by
    pixel; here the matches are listed once, and loss and gradient, dL/dx = σ(x) - σ(x + y), touch only them.

    Args:
        mask_logits: [L, N, T, h, w], float32, bfloat16, float16 (float32 arithmetic) or float64.
        bits: int32 [B, P, ceil(S/32), h, w], from `knn_match`.
        offsets: the S candidates (dy, dx) of `bits`.
        frame_pairs: the P pairs (source a, centre b) of `bits`.
        region: bool [N, h, w], the centre pixels p that count for instance n (see `union_region`).
        clip_index: int64 [N], the clip of the batch that each instance belongs to; may be left out if B is 1.
        normaliser: "matches": max(number of kept matches of the pair over the whole batch, 1);
            "pixels": h · w · max(N, 1).

    Returns:
        `loss` [L], `pair_loss` [L, P] and `pair_weight` [P] (the number of kept matches), float32 or float64.
        A match outside the frame (border "zero") counts in the weight and adds no loss. N = 0 gives zeros.
        Bitwise repeatable on a CPU.

    Raises:
        InputError: shapes that do not belong together, or an unknown normaliser.

    >>> from maskfree_nb.tkloss import disk_offsets, match_patches
    >>> matches = match_patches(torch.zeros(2, 3, 6, 6), [(0, 1)], disk_offsets(1))
    >>> logits, region = torch.zeros(10, 4, 2, 6, 6), torch.ones(4, 6, 6, dtype=torch.bool)
    >>> tube_consistency(logits, matches.bits, matches.offsets, matches.frame_pairs, region).loss[0]
    tensor(0.6931)
    """
    clip_index = check_tube(mask_logits, bits, offsets, frame_pairs, region, clip_index, normaliser)
    frames = mask_logits.shape[2]
    listed, counts = [], []
    for p, pair in enumerate(frame_pairs):
        source, centre, count = _list_matches(bits[:, p], offsets, pair, region, clip_index, frames)
        listed.append((source, centre))
        counts.append(count)
    weight = torch.tensor(counts, device=mask_logits.device, dtype=_arithmetic(mask_logits))
    loss, pair_loss = _ListedMatches.apply(mask_logits, listed, _divisor(weight, region, normaliser))
    return TubeConsistency(loss, pair_loss, weight)


def tube_consistency_dense(
    mask_logits: Tensor,
    bits: Tensor,
    offsets: Offsets,
    frame_pairs: Sequence[tuple[int, int]],
    region: Tensor,
    *,
    clip_index: Tensor | None = None,
    normaliser: str = "matches",
) -> TubeConsistency:
    """Compute `tube_consistency` as the sum reads: one shifted frame per candidate, gradient by autograd.

    The definition that the fast forms are tested against; same arguments and returns as `tube_consistency`.
    """
    clip_index = check_tube(mask_logits, bits, offsets, frame_pairs, region, clip_index, normaliser)
    logits = mask_logits.to(_arithmetic(mask_logits))
    height, width = logits.shape[-2:]
    padded = pad_by_reach(logits, offsets)
    in_frame = pad_by_reach(torch.ones_like(region), offsets)
    keep = unpack_bits(bits, len(offsets), dim=2)[clip_index] & region[:, None, None]  # [N, P, S, h, w]
    weight = keep.sum(dim=(0, 2, 3, 4)).to(logits.dtype)  # [P]
    pair_sums = []
    for p, (a, b) in enumerate(frame_pairs):
        total = logits.new_zeros(len(logits))
        for s, offset in enumerate(offsets):
            source = shifted(padded[:, :, a], offset, height, width)  # [L, N, h, w]
            counted = keep[:, p, s] & shifted(in_frame, offset, height, width)  # [N, h, w]
            total = total + (pair_term(source, logits[:, :, b]) * counted).sum(dim=(1, 2, 3))
        pair_sums.append(total)
    pair_loss = torch.stack(pair_sums, dim=1) / _divisor(weight, region, normaliser)  # [L, P]
    return TubeConsistency(pair_loss.sum(1), pair_loss.detach(), weight)


class _ListedMatches(torch.autograd.Function):
    """Loss and gradient of the listed matches in one pass, one frame pair at a time."""

    @staticmethod
    def forward(ctx, mask_logits: Tensor, listed: list[tuple[Tensor, Tensor]], divisor: Tensor):
        logits = mask_logits.to(_arithmetic(mask_logits)).flatten(1)  # [L, N T h w]
        gradient = torch.zeros_like(logits) if ctx.needs_input_grad[0] else None
        pair_loss = logits.new_zeros(len(logits), len(listed))
        chunk = max(1, CHUNK // len(logits))  # matches at a time: what they need fits the cache
        for p, places in enumerate(listed):
            for source, centre in zip(*(place.split(chunk) for place in places), strict=True):
                source, centre = source.expand(len(logits), -1), centre.expand(len(logits), -1)
                x, y = logits.gather(1, source), logits.gather(1, centre)  # [L, matches]
                pair_loss[:, p] += pair_term(x, y).sum(1) / divisor[p]
                if gradient is not None:
                    both = (x + y).sigmoid_()
                    gradient.scatter_add_(1, source, x.sigmoid_().sub_(both).div_(divisor[p]))
                    gradient.scatter_add_(1, centre, y.sigmoid_().sub_(both).div_(divisor[p]))
        ctx.save_for_backward(gradient)
        ctx.like = mask_logits.shape, mask_logits.dtype
        ctx.mark_non_differentiable(pair_loss)
        return pair_loss.sum(1), pair_loss

    @staticmethod
    @once_differentiable
    def backward(ctx, loss_gradient: Tensor, _):
        (gradient,) = ctx.saved_tensors
        shape, dtype = ctx.like
        return (gradient * loss_gradient[:, None]).view(shape).to(dtype), None, None


def _list_matches(
    bits: Tensor, offsets: Offsets, pair: tuple[int, int], region: Tensor, clip_index: Tensor, frames: int
) -> tuple[Tensor, Tensor, int]:
    """Return the places of a pair's matches in the flattened [N, T, h, w], in frames a and b; count them."""
    a, b = pair
    height, width = region.shape[1:]
    in_frame = pad_by_reach(region.new_ones(height, width), offsets)
    in_frame = torch.stack(
        [shifted(in_frame, offset, height, width) for offset in offsets], dim=2
    )  # [h, w, S]
    step = torch.tensor([((a - b) * height + dy) * width + dx for dy, dx in offsets], device=bits.device)

    matched = (bits != 0).any(dim=1)[clip_index] & region  # [N, h, w]
    n, y, x = matched.nonzero(as_tuple=True)
    kept = unpack_bits(bits[clip_index[n], :, y, x], len(offsets), dim=1)  # [pixels, S]
    pixel, s = (kept & in_frame[y, x]).nonzero(as_tuple=True)
    centre = (((n * frames + b) * height + y) * width + x)[pixel]
    return centre + step[s], centre, int(kept.sum())


def check_tube(mask_logits, bits, offsets, frame_pairs, region, clip_index, normaliser) -> Tensor:
    """Raise InputError unless the arguments of `tube_consistency` belong together; return `clip_index`."""
    if mask_logits.ndim != 5:
        raise InputError(f"mask_logits has shape {list(mask_logits.shape)}, expected [L, N, T, h, w]")
    _, instances, frames, height, width = mask_logits.shape
    expected = (len(frame_pairs), (len(offsets) + 31) // 32, height, width)
    if bits.shape[1:] != expected:
        raise InputError(
            f"the matches' bits have shape {list(bits.shape)}, expected {['B', *expected]}: "
            f"{len(frame_pairs)} frame pairs, {len(offsets)} offsets, mask_logits on a {height}x{width} map"
        )
    if max(max(pair) for pair in frame_pairs) >= frames:
        raise InputError(f"frame_pairs {list(frame_pairs)} do not fit mask_logits with T = {frames} frames")
    if region.shape != (instances, height, width) or region.dtype != torch.bool:
        raise InputError(
            f"region is {region.dtype} {list(region.shape)}, "
            f"expected torch.bool [{instances}, {height}, {width}]"
        )
    if normaliser not in NORMALISERS:
        raise InputError(f"normaliser is {normaliser!r}, expected one of {', '.join(NORMALISERS)}")
    if clip_index is None and len(bits) > 1:
        raise InputError(
            f"the matches hold {len(bits)} clips: clip_index must name the clip of each instance"
        )
    if clip_index is None:
        clip_index = torch.zeros(instances, dtype=torch.int64, device=bits.device)
    if clip_index.shape != (instances,):
        raise InputError(f"clip_index has shape {list(clip_index.shape)}, expected [{instances}]")
    return clip_index


def _divisor(weight: Tensor, region: Tensor, normaliser: str) -> Tensor:
    """Return what each pair's sum is divided by, [P]."""
    if normaliser == "matches":
        return weight.clamp(min=1)
    instances, height, width = region.shape
    return torch.full_like(weight, height * width * max(instances, 1))


def _arithmetic(mask_logits: Tensor) -> torch.dtype:
    return torch.float64 if mask_logits.dtype == torch.float64 else torch.float32


def _softplus(x: Tensor) -> Tensor:
    return F.softplus(x, threshold=40)  # exact to the last bit of float64 on both sides of the threshold
