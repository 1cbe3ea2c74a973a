"""A mean field: masks redrawn along the colours of the frames, and along matches between them."""

import torch
from torch import Tensor

from maskfree_nb.temporal_links import Links

REACH = 2  # of a pixel's window, in pixels of the colour map
TOLERANCE = 5.0  # Lab units: the difference at which a neighbour's word counts exp(-1/2)
OWN = 4.0  # the most that a pixel's own logit counts
NEIGHBOURS = 8.0  # what the word of all neighbours together counts, where they agree
OTHER_FRAMES = 6.0  # what the word of all matches in other frames together counts, where they agree
ROUNDS = 10
ROUNDS_LINKED = 15  # with links
KEPT = 0.3  # of a pixel's expectation in each of those: two frames that contradict would swap for ever


def finer(stride: int) -> int:
    """Image pixels per pixel of the colour map for masks of `stride`: half as many, where there is a half.

    >>> finer(4), finer(1)
    (2, 1)
    """
    return stride // 2 if stride % 2 == 0 else stride


@torch.no_grad()
def mean_field(logits: Tensor, lab: Tensor, inside: Tensor, links: Links | None = None) -> Tensor:
    """Let each pixel listen to those around it that look like it, ten times over.

    The mean field of a conditional random field (Kraehenbuehl and Koltun, NeurIPS 2011, arXiv 1210.5644), of
    small windows instead of all pairs: with u the logits held to +-4, from q = u,

        q_p <- u_p + 8 * sum of k(p, p') tanh(q_p' / 2) / max(sum of k(p, p'), 1),
        k(p, p') = exp(-|Lab_p - Lab_p'|^2 / (2 * 5^2)),

    over p' within 2 pixels. tanh(q / 2) is what the field expects of a pixel that is +1 inside the mask and
    -1 outside it; what is not `inside` is -1 throughout. With `links`, another such sum comes to it, six
    times over the matches of p in the frames around, with their weights; there are 15 rounds then, and each
    keeps 0.3 of what the last one expected.

    Args:
        logits: float32 [N, T, H, W], of masks; made finer than they are predicted, if the edges are to be.
        lab: float32 [T, 3, H, W], CIE Lab.
        inside: bool [N, T, H, W], where a mask may be.
        links: `temporal_links` of `lab`; without them each frame is on its own.

    Returns:
        float32 [N, T, H, W] in -1..1, the expectation: positive in the mask. Without a gradient.

    >>> lab = torch.zeros(1, 3, 1, 6)
    >>> lab[..., 3:] = 50.0  # two colours
    >>> logits = torch.tensor([[[[-3.0, -3.0, 0.5, 0.5, 3.0, 3.0]]]])
    >>> mean_field(logits, lab, torch.ones(1, 1, 1, 6, dtype=torch.bool)).round()
    tensor([[[[-1., -1., -1.,  1.,  1.,  1.]]]])
    """
    pairs, total = _pairs(lab)
    strength = NEIGHBOURS / total.clamp(min=1)
    kept, rounds = 0.0, ROUNDS
    if links is not None:
        kept, rounds = KEPT, ROUNDS_LINKED
        strength_of_links = OTHER_FRAMES / links.total().clamp(min=1).view(total.shape)
    own = logits.clamp(-OWN, OWN)
    expected = torch.where(inside, torch.tanh(own / 2), -1.0)
    for _ in range(rounds):
        heard = torch.zeros_like(expected)
        for here, there, weight in pairs:
            heard[here] += weight * expected[there]
            heard[there] += weight * expected[here]
        field = own + strength * heard
        if links is not None:
            field += strength_of_links * links.heard(expected)
        now = torch.where(inside, torch.tanh(field / 2), -1.0)
        expected = kept * expected + (1 - kept) * now
    return expected


def _pairs(lab: Tensor) -> tuple[list[tuple[tuple, tuple, Tensor]], Tensor]:
    """Each pair of pixels within reach once, by its step: both ends, its weight; then the sum at a pixel."""
    h, w = lab.shape[-2:]
    total = torch.zeros_like(lab[:, 0])  # [T, H, W]
    pairs = []
    steps = [(dy, dx) for dy in range(REACH + 1) for dx in range(-REACH, REACH + 1) if (dy, dx) > (0, 0)]
    for dy, dx in steps:
        here = (..., slice(0, max(h - dy, 0)), slice(max(0, -dx), max(w - max(0, dx), 0)))
        there = (..., slice(dy, None), slice(max(0, dx), max(w + min(0, dx), 0)))
        weight = torch.exp((lab[here] - lab[there]).square().sum(1) / (-2 * TOLERANCE**2))
        total[here] += weight
        total[there] += weight
        pairs.append((here, there, weight))
    return pairs, total
