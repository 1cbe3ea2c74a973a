"""The pixel decoder: of each frame alone, maps that have looked at each other, and mask features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskfree_nb.model.config import ModelConfig
from maskfree_nb.model.ms_deform_attn import MSDeformAttn, level_sizes
from maskfree_nb.model.position import position_2d
from maskfree_nb.model.resnet import ConvNorm, group_norm

LEVELS = ("res5", "res4", "res3")  # the maps that the transformers attend to: strides 32, 16, 8


class EncoderLayer(nn.Module):
    """Deformable self-attention, then two linear layers; each added to its input and normalised after."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        dim = config.hidden_dim
        self.self_attn = MSDeformAttn(dim, len(LEVELS), config.heads, config.points)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, config.encoder_ffn)
        self.linear2 = nn.Linear(config.encoder_ffn, dim)
        self.norm2 = nn.LayerNorm(dim)
        nn.init.xavier_uniform_(self.linear1.weight)
        nn.init.xavier_uniform_(self.linear2.weight)

    def forward(
        self, x: Tensor, position: Tensor, reference: Tensor, shapes: list[tuple[int, int]], sizes: Tensor
    ) -> Tensor:
        x = self.norm1(x + self.self_attn(x + position, reference, x, shapes, sizes=sizes))
        return self.norm2(x + self.linear2(F.relu(self.linear1(x))))


class DeformableEncoder(nn.Module):
    """A transformer over the pixels of three maps together."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.level_embed = nn.Parameter(torch.randn(len(LEVELS), config.hidden_dim))
        layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.encoder = nn.ModuleDict({"layers": layers})

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Refine `maps`, three of [N, C, h, w], coarse to fine."""
        shapes = [(m.shape[-2], m.shape[-1]) for m in maps]
        C, embed = maps[0].shape[1], self.level_embed
        codes = [position_2d(h, w, C, embed.device) for h, w in shapes]
        position = torch.cat([c.flatten(1).T + e for c, e in zip(codes, embed, strict=True)])  # [S, C]
        reference = torch.cat([cell_centres(h, w, embed.device) for h, w in shapes]).to(embed)  # [S, 2]
        x = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], dim=1)  # [N, S, C]
        sizes = level_sizes(shapes, embed.device)
        for layer in self.encoder["layers"]:
            x = layer(x, position, reference, shapes, sizes)
        parts = x.split([h * w for h, w in shapes], dim=1)
        return [part.transpose(1, 2).unflatten(2, shape) for part, shape in zip(parts, shapes, strict=True)]


def cell_centres(h: int, w: int, device: torch.device | None = None) -> Tensor:
    """Return the (x, y) of the pixels' centres in a map of unit size: [h * w, 2], row major.

    >>> cell_centres(1, 2)
    tensor([[0.2500, 0.5000],
            [0.7500, 0.5000]])
    """
    y = (torch.arange(h, device=device) + 0.5) / h
    x = (torch.arange(w, device=device) + 0.5) / w
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)], dim=-1).flatten(0, 1)


class PixelDecoder(nn.Module):
    """Mask2Former's pixel decoder (Cheng et al., arXiv 2112.01527, section 3.2.1).

    Args:
        config: the model's shape.
        channels: of the backbone's maps, by name.
    """

    def __init__(self, config: ModelConfig, channels: dict[str, int]):
        super().__init__()
        dim = config.hidden_dim
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels[name], dim, 1), group_norm(dim)) for name in LEVELS
        )
        self.transformer = DeformableEncoder(config)
        self.adapter_1 = ConvNorm(channels["res2"], dim, 1, "gn")
        self.layer_1 = ConvNorm(dim, dim, 3, "gn")
        self.mask_features = nn.Conv2d(dim, config.mask_dim, 1)
        self.has_fine_path = config.mask_stride == 2
        if self.has_fine_path:
            self.adapter_0 = ConvNorm(channels["stem"], config.mask_dim, 1, "gn")
            self.layer_0 = nn.Conv2d(config.mask_dim, config.mask_dim, 3, padding=1)

    def forward(self, maps: dict[str, Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return maps [N, C, h, w] at strides 32, 16, 8, and mask features [N, mask_dim, h, w].

        Args:
            maps: of the backbone, N = B * T frames.
        """
        projected = [project(maps[name]) for project, name in zip(self.input_proj, LEVELS, strict=True)]
        levels = self.transformer(projected)
        fine = self.adapter_1(maps["res2"]) + resize(levels[-1], maps["res2"].shape[-2:])
        features = self.mask_features(F.relu(self.layer_1(fine)))
        if self.has_fine_path:
            finer = self.adapter_0(maps["stem"]) + resize(features, maps["stem"].shape[-2:])
            features = self.layer_0(F.relu(finer))
        return levels, features


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps [N, C, h, w] to `size` bilinearly, with half-pixel centres and no anti-aliasing."""
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
