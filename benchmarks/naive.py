"""The TK-Loss in the unfold formulation, as such losses are usually written: the baseline of the benchmark.

Every patch becomes a column of 27 numbers and every window a stack of nine columns (`functional.unfold`).
Patch similarities are found once per clip, the K best once per instance and decoder layer; log-probabilities
of foreground and background are unfolded too; the gradient is left to autograd. The result is that of
`TKLoss.official()`.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

K, THRESHOLD, DILATION = 5, 0.05, 3


def naive_tk_loss(
    mask_logits: Tensor, lab: Tensor, region: Tensor, frame_pairs: list[tuple[int, int]]
) -> Tensor:
    """Return the loss of each layer, [L]; mask_logits [L, N, T, h, w], lab [T, 3, h, w], region [N, h, w]."""
    similarities = [patch_similarity(lab[a], lab[b]) for a, b in frame_pairs]
    losses = []
    for layer in mask_logits:  # [N, T, h, w]
        loss = 0.0
        for (a, b), similarity in zip(frame_pairs, similarities, strict=True):
            similarity = similarity.repeat(len(layer), 1, 1, 1)  # [N, 9, h, w]
            weight = best(similarity) * (similarity >= THRESHOLD) * region[:, None]
            term = disagreement(layer[:, a], layer[:, b])  # [N, 9, h, w]
            loss = loss + (term * weight).sum() / weight.sum().clamp(min=1)
        losses.append(0.1 * loss)
    return torch.stack(losses)


def patch_similarity(source: Tensor, centre: Tensor) -> Tensor:
    """Return exp(-d/2) of each patch of `centre` to nine patches of `source`: [3, h, w] -> [1, 9, h, w]."""
    source = F.unfold(source[None], 3, padding=1).view(1, 27, *source.shape[1:])
    centre = F.unfold(centre[None], 3, padding=1).view(1, 27, 1, *centre.shape[1:])
    return (-0.5 * (centre - window(source)).norm(dim=1)).exp()


def best(similarity: Tensor) -> Tensor:
    """Return 1 for the K most similar of the nine candidates, 0 for the others."""
    return torch.zeros_like(similarity).scatter(1, similarity.topk(K, dim=1).indices, 1.0)


def disagreement(source: Tensor, centre: Tensor) -> Tensor:
    """Return -log(p q + (1-p)(1-q)) of each pixel and its nine candidates: [N, h, w] -> [N, 9, h, w]."""
    both_inside = window(F.logsigmoid(source)[:, None])[:, 0] + F.logsigmoid(centre)[:, None]
    both_outside = window(F.logsigmoid(-source)[:, None])[:, 0] + F.logsigmoid(-centre)[:, None]
    highest = torch.maximum(both_inside, both_outside)
    return -(((both_inside - highest).exp() + (both_outside - highest).exp()).log() + highest)


def window(maps: Tensor) -> Tensor:
    """Return the nine candidates of every pixel, zero outside the frame: [N, C, h, w] -> [N, C, 9, h, w]."""
    unfolded = F.unfold(maps, 3, dilation=DILATION, padding=DILATION)  # [N, 9 C, h w]
    return unfolded.view(maps.shape[0], maps.shape[1], 9, *maps.shape[2:])
