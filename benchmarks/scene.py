"""A small moving scene for benchmarks: photographs on photographs, each with a motion of its own."""

import skimage.data
import torch
from torch import Tensor
from torch.nn import functional as F


def moving_scene(frames: int, height: int, width: int, instances: int) -> tuple[Tensor, Tensor]:
    """Return a clip, uint8 [T, 3, H, W], and the boxes of its moving ellipses, float32 [N, T, 4]."""
    background = _photo(skimage.data.coffee(), height + 8 * frames, width + 8 * frames)
    clip = torch.stack([background[:, 5 * t : 5 * t + height, 7 * t : 7 * t + width] for t in range(frames)])
    boxes = torch.zeros(instances, frames, 4)
    rows, columns = height * 5 // 8, width * 3 // 8  # of an ellipse
    y = torch.linspace(-1, 1, rows)[:, None]
    x = torch.linspace(-1, 1, columns)
    inside = x * x + y * y < 1
    textures = (skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.rocket())
    for n in range(instances):
        texture = _photo(textures[n % len(textures)], rows, columns)
        for t in range(frames):
            top = int((height - rows) * (0.2 + 0.6 * n / instances)) + (n % 3 - 1) * 3 * t
            left = int((width - columns) * (0.05 + 0.9 * n / instances)) + (5 - 2 * n) * t
            top, left = min(max(top, 0), height - rows), min(max(left, 0), width - columns)
            place = clip[t, :, top : top + rows, left : left + columns]
            place.copy_(torch.where(inside, texture, place))
            boxes[n, t] = torch.tensor([left, top, left + columns, top + rows])
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(0))
    return (clip + 3 * noise).clamp(0, 255).byte(), boxes


def _photo(photo, height: int, width: int) -> Tensor:
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    return F.interpolate(image, (height, width), mode="bilinear", antialias=True)[0]
