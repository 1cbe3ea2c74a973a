"""Where each pixel of a video looks alike in the frames around: patch matches as links of a mean field."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from maskfree_nb.tkloss import disk_offsets, match_patches
from maskfree_nb.tkloss.matching import NONE

FRAMES = 2  # how many frames before and after a frame are looked at
RADIUS = 7  # of the candidates, in pixels of the colour map
K = 3  # matches of a pixel in each of those frames
PATCH = 3  # the side of a patch in pixels
TOLERANCE = 5.0  # Lab units for each value of a patch: the difference at which a match counts exp(-1/2)


class Links(NamedTuple):
    """The matches of every pixel of a video in the frames around it, M a pixel.

    A pixel of the video is numbered t * H * W + y * W + x. A link that leads nowhere has the weight 0.
    """

    places: Tensor  # int32 [T * H * W, M], the pixels that each one is linked to
    weights: Tensor  # float32 [T * H * W, M], 0..1: how alike the patches are

    def total(self) -> Tensor:
        """The sum of the weights of every pixel, float32 [T * H * W]."""
        return self.weights.sum(1)

    def heard(self, values: Tensor) -> Tensor:
        """The sum over the links of every pixel of weight times value: [N, T, H, W] -> [N, T, H, W].

        >>> links = Links(torch.tensor([[1], [0]], dtype=torch.int32), torch.tensor([[0.5], [1.0]]))
        >>> links.heard(torch.tensor([[[[3.0]], [[8.0]]]])).flatten()
        tensor([4., 3.])
        """
        if values.numel() == 0:
            return values.clone()
        sums = F.embedding_bag(
            self.places, values.flatten(1).T.contiguous(), mode="sum", per_sample_weights=self.weights
        )
        return sums.T.reshape(values.shape)


@torch.no_grad()
def temporal_links(lab: Tensor) -> Links:
    """Match every pixel with the K nearest patches in each of the two frames before and after it.

    As TK-Loss matches (Algorithm 1, line 11, of MaskFreeVIS, CVPR 2023), but with a weight in place of a
    threshold,

        k(p, p') = exp(-d(p, p')^2 / (2 * 27 * 5^2)),

    d the distance of two 3x3 patches of Lab colours, which is the root of a sum of 27 squares.

    Args:
        lab: float32 [T, 3, H, W], CIE Lab.

    Returns:
        `Links`, of M = 3 * 4 matches; those in frames before the first or after the last have the weight 0.

    >>> lab = torch.zeros(2, 3, 4, 4)
    >>> lab[0, 0, 1, 1] = lab[1, 0, 2, 2] = 90.0  # one bright pixel, moved by one
    >>> links = temporal_links(lab)
    >>> links.places[0 * 16 + 1 * 4 + 1, 0].item() == 1 * 16 + 2 * 4 + 2
    True
    """
    count, _, height, width = lab.shape
    offsets = disk_offsets(RADIUS)
    steps = torch.tensor((*offsets, (0, 0)), dtype=torch.int32, device=lab.device)  # the last: no match
    number = torch.arange(height * width, dtype=torch.int32, device=lab.device).view(height, width)
    places = torch.zeros(count, height * width, 2 * FRAMES * K, dtype=torch.int32, device=lab.device)
    weights = torch.zeros(places.shape, device=lab.device)
    for centre in range(count):
        first, last = max(0, centre - FRAMES), min(count - 1, centre + FRAMES)
        pairs = [(source - first, centre - first) for source in range(first, last + 1) if source != centre]
        if not pairs:
            break  # a video of one frame
        found = match_patches(
            lab[first : last + 1], pairs, offsets, k=K, threshold=0, patch_size=PATCH, return_index=True
        )
        index = found.index[0].int()  # [P, K, H, W]
        dy, dx = steps[index.where(index != NONE, len(offsets)).long()].unbind(-1)
        sources = torch.tensor([first + source for source, _ in pairs], dtype=torch.int32, device=lab.device)
        place = sources.view(-1, 1, 1, 1) * (height * width) + number + dy * width + dx
        weight = torch.exp(found.distance[0].square() / (-2 * 3 * PATCH**2 * TOLERANCE**2))
        places[centre, :, : len(pairs) * K] = place.permute(2, 3, 0, 1).flatten(2).flatten(0, 1)
        weights[centre, :, : len(pairs) * K] = weight.permute(2, 3, 0, 1).flatten(2).flatten(0, 1)
    return Links(places.flatten(0, 1), weights.flatten(0, 1))
