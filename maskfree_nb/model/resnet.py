"""ResNet: the backbone, from a frame to maps at strides 2 to 32 (He et al., arXiv 1512.03385)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class FrozenBatchNorm2d(nn.Module):
    """Batch norm with constant statistics and scale: the pretrained ones, at any batch size."""

    def __init__(self, channels: int):
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm with groups of at least 8 channels, at most the usual 32 groups."""
    return nn.GroupNorm(math.gcd(channels, max(1, min(32, channels // 8))), channels)


NORMS = {"frozen_bn": FrozenBatchNorm2d, "gn": group_norm}


class ConvNorm(nn.Conv2d):
    """A convolution without bias, same-padded, and its norm."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, norm: str, stride: int = 1):
        super().__init__(channels_in, channels_out, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = NORMS[norm](channels_out)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: the block of ResNet-18 and 34."""

    expansion = 1

    def __init__(self, channels_in: int, width: int, stride: int, norm: str):
        super().__init__()
        changes = channels_in != width
        self.shortcut = ConvNorm(channels_in, width, 1, norm, stride) if changes else nn.Identity()
        self.conv1 = ConvNorm(channels_in, width, 3, norm, stride)
        self.conv2 = ConvNorm(width, width, 3, norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.conv2(F.relu(self.conv1(x))))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut, the stride in the 3x3: the block of ResNet-50 and 101."""

    expansion = 4

    def __init__(self, channels_in: int, width: int, stride: int, norm: str):
        super().__init__()
        channels_out = width * self.expansion
        changes = channels_in != channels_out
        self.shortcut = ConvNorm(channels_in, channels_out, 1, norm, stride) if changes else nn.Identity()
        self.conv1 = ConvNorm(channels_in, width, 1, norm)
        self.conv2 = ConvNorm(width, width, 3, norm, stride)
        self.conv3 = ConvNorm(width, channels_out, 1, norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.conv3(F.relu(self.conv2(F.relu(self.conv1(x))))))


class ResNet(nn.Module):
    """A ResNet that returns the maps of its stem and of its four stages.

    Args:
        depth: 18, 34, 50 or 101.
        stem_width, width: channels of the stem and (before expansion) of the first stage; usually both 64.
        norm: "frozen_bn" or "gn".

    >>> maps = ResNet(18, stem_width=8, width=8, norm="gn")(torch.zeros(1, 3, 64, 96))
    >>> {name: tuple(maps[name].shape[1:]) for name in ("stem", "res5")}
    {'stem': (8, 32, 48), 'res5': (64, 2, 3)}
    """

    def __init__(self, depth: int, stem_width: int = 64, width: int = 64, norm: str = "frozen_bn"):
        super().__init__()
        block = BasicBlock if depth < 50 else Bottleneck
        self.stem = nn.ModuleDict({"conv1": ConvNorm(3, stem_width, 7, norm, stride=2)})
        self.channels = {"stem": stem_width}  # of every map that forward returns
        channels = stem_width
        for stage, blocks in enumerate(BLOCKS[depth]):
            layers = []
            for index in range(blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(block(channels, width << stage, stride, norm))
                channels = (width << stage) * block.expansion
            name = f"res{stage + 2}"
            self.add_module(name, nn.Sequential(*layers))
            self.channels[name] = channels

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """Return the maps {"stem", "res2", .., "res5"} of `frames` [N, 3, H, W]: strides 2, 4, 8, 16, 32."""
        maps = {"stem": F.relu(self.stem["conv1"](frames))}
        x = F.max_pool2d(maps["stem"], 3, stride=2, padding=1)
        for name in ("res2", "res3", "res4", "res5"):
            x = maps[name] = self.get_submodule(name)(x)
        return maps
