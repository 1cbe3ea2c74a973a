"""Step 3 of the TK-Loss: matched pixels are both inside or both outside the instance."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from maskfree_nb.errors import InputError
from maskfree_nb.tkloss.candidates import Offsets
from maskfree_nb.tkloss.matching import unpack_bits

NORMALISERS = ("matches", "pixels")


class TubeConsistency(NamedTuple):
    """What `tube_consistency` returns; only `loss` carries a gradient."""

    loss: Tensor  # [L]
    pair_loss: Tensor  # [L, P]
    pair_weight: Tensor  # [P]


def pair_term(x: Tensor, y: Tensor) -> Tensor:
    """Return -log(p q + (1-p)(1-q)) for p = σ(x), q = σ(y): the disagreement of two mask logits.

    L_cons (Equation 3 of MaskFreeVIS, CVPR 2023) = softplus(x) + softplus(y) - softplus(x + y), stable for all logits.

    >>> pair_term(torch.tensor([9.0, 0.0, 9.0]), torch.tensor([9.0, 5.0, -9.0]))
    tensor([2.4676e-04, 6.9315e-01, 8.3070e+00])
    """
    return _softplus(x) + _softplus(y) - _softplus(x + y)


def tube_consistency(
    mask_logits: Tensor,
    bits: Tensor,
    offsets: Offsets,
    frame_pairs: list[tuple[int, int]],
    region: Tensor,
    *,
    clip_index: Tensor | None = None,
    normaliser: str = "matches",
) -> TubeConsistency:
    layers, instances, frames, height, width = mask_logits.shape
    if clip_index is None:
        clip_index = torch.zeros(instances, dtype=torch.int64, device=bits.device)
    logits = mask_logits.flatten(1)  # [L, N T h w]
    logits = logits if logits.dtype == torch.float64 else logits.float()
    pairs = [_matched_pixels(bits[:, p], offsets, region, clip_index) for p in range(len(frame_pairs))]
    losses, weights = [], []
    for (a, b), (n, y, x, dy, dx) in zip(frame_pairs, pairs, strict=True):
        weights.append(len(n))
        inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
        n, y, x, dy, dx = (v[inside] for v in (n, y, x, dy, dx))
        centre = ((n * frames + b) * height + y) * width + x
        source = ((n * frames + a) * height + y + dy) * width + x + dx
        both = logits.gather(1, torch.cat([source, centre]).expand(layers, -1))
        losses.append(pair_term(*both.chunk(2, dim=1)).sum(1))
    pair_weight = torch.tensor(weights, dtype=logits.dtype, device=logits.device)
    divisor = pair_weight.clamp(min=1) if normaliser == "matches" else height * width * max(instances, 1)
    pair_loss = torch.stack(losses, dim=1) / divisor
    return TubeConsistency(pair_loss.sum(1), pair_loss.detach(), pair_weight)


def _matched_pixels(bits, offsets, region, clip_index):
    some = (bits != 0).any(1)[clip_index] & region
    n, y, x = some.nonzero(as_tuple=True)
    kept = unpack_bits(bits[clip_index[n], :, y, x], len(offsets), dim=1)
    entry, s = kept.nonzero(as_tuple=True)
    shift = torch.tensor(offsets, device=bits.device)[s]
    return n[entry], y[entry], x[entry], shift[:, 0], shift[:, 1]


def _softplus(x):
    return F.softplus(x, threshold=40)
