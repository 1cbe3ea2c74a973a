"""Multi-scale deformable attention: every query reads a few points of every map (Deformable DETR)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskfree_nb import backend


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: list[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sum bilinear samples of several maps at given places, with given weights.

    out[q, m] = sum over levels l and points p of  A[q, m, l, p] * value_l[m](location[q, m, l, p])
    (Zhu et al., "Deformable DETR", arXiv 2010.04159, equation 3).  A location (x, y) is in [0, 1] over the
    map, so the sampled pixel is x * w - 0.5, y * h - 0.5; outside the map the value is zero.

    Args:
        value: [N, S, M, D], the maps' pixels one level after another, row major; S is the sum of all h * w.
        spatial_shapes: (h, w) of every level.
        sampling_locations: [N, Lq, M, L, P, 2], (x, y) for each query, head, level and point.
        attention_weights: [N, Lq, M, L, P], in the precision of the locations.

    Returns:
        [N, Lq, M * D] in the precision of the locations; the heads side by side.

    >>> value = torch.arange(6.0).view(1, 6, 1, 1)  # one map of 2 x 3 pixels
    >>> centre = torch.full((1, 1, 1, 1, 1, 2), 0.5)
    >>> ms_deform_attn(value, [(2, 3)], centre, torch.ones(1, 1, 1, 1, 1)).item()
    2.5
    """
    N, _, M, D = value.shape
    Lq = sampling_locations.shape[1]
    grids = 2 * sampling_locations - 1  # grid_sample counts from -1 to 1
    maps = value.to(grids.dtype).split([h * w for h, w in spatial_shapes], dim=1)
    out = 0
    for level, (h, w) in enumerate(spatial_shapes):
        pixels = maps[level].permute(0, 2, 3, 1).reshape(N * M, D, h, w)
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)  # [N*M, Lq, P, 2]
        samples = F.grid_sample(pixels, grid, align_corners=False)  # [N*M, D, Lq, P]
        weights = attention_weights[:, :, :, level].transpose(1, 2).flatten(0, 1)  # [N*M, Lq, P]
        out = out + (samples * weights[:, None]).sum(-1)  # [N*M, D, Lq]
    return out.view(N, M * D, Lq).transpose(1, 2)


def level_sizes(spatial_shapes: list[tuple[int, int]], device: torch.device) -> Tensor:
    """Return (w, h) of every level, int64 [L, 1, 2]; filled on the device, so that no copy makes it wait.

    >>> level_sizes([(2, 3), (4, 5)], torch.device("cpu")).tolist()
    [[[3, 2]], [[5, 4]]]
    """
    numbers = [torch.full((), n, dtype=torch.int64, device=device) for h, w in spatial_shapes for n in (w, h)]
    return torch.stack(numbers).view(-1, 1, 2)


class MSDeformAttn(nn.Module):
    """Deformable attention of a query over `levels` maps: it predicts where to look, and with what weights.

    Args:
        dim: channels of queries and maps.
        levels, heads, points: each query reads `points` places of each map with each head.
    """

    def __init__(self, dim: int, levels: int, heads: int, points: int):
        super().__init__()
        self.levels, self.heads, self.points = levels, heads, points
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as a star: head m looks along its own direction, point p at p + 1 pixels, weights equal."""
        for linear in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)  # [M, 2], on the unit square
        steps = torch.arange(1, self.points + 1).view(1, 1, -1, 1)
        star = (direction[:, None, None] * steps).expand(-1, self.levels, -1, -1)  # [M, L, P, 2]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(star.flatten())

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        maps: Tensor,
        spatial_shapes: list[tuple[int, int]],
        sizes: Tensor | None = None,
    ) -> Tensor:
        """Attend from `query` [N, Lq, C], placed at `reference` [Lq, 2] (x, y in 0..1), to maps [N, S, C].

        Args:
            query, reference, maps: as above.
            spatial_shapes: (h, w) of every level.
            sizes: their `level_sizes`, where the caller has them already.

        Returns:
            [N, Lq, C].
        """
        value = self.value_proj(maps).unflatten(-1, (self.heads, -1))  # [N, S, M, D]
        offsets = self.sampling_offsets(query).unflatten(-1, (self.heads, self.levels, self.points, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.heads, self.levels * self.points))
        weights = weights.to(reference.dtype).softmax(-1).unflatten(-1, (self.levels, self.points))
        sizes = level_sizes(spatial_shapes, query.device) if sizes is None else sizes
        locations = reference[:, None, None, None] + offsets / sizes  # [N, Lq, M, L, P, 2]
        on_triton = backend.resolve("auto", value) == "triton"
        attend = backend.kernels().ms_deform_attn if on_triton else ms_deform_attn
        return self.output_proj(attend(value, spatial_shapes, locations, weights))
