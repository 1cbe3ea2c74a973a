"""Sine position codes: where a pixel is in its frame, and in which frame of the clip."""

import math

import torch
from torch import Tensor


def sine_code(length: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Return the code of the positions 0 .. length - 1 of one axis.

    code[i, j] = sin (j even) or cos (j odd) of  c_i / 10000^(2 (j // 2) / channels) with
    c_i = 2 pi (i + 1) / length: one turn over the axis, whatever its length (after Vaswani et al., arXiv
    1706.03762, section 3.5).

    Returns:
        float32 [length, channels].

    >>> sine_code(5, 2)[0]  # a fifth of a turn
    tensor([0.9511, 0.3090])
    """
    turn = (torch.arange(length, device=device) + 1) * (2 * math.pi / (length + 1e-6))
    channel = torch.arange(channels, device=device)
    angle = turn[:, None] / 10000 ** (2 * (channel // 2) / channels)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos())


def position_2d(h: int, w: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Return the code of the pixels of a map: first half of the channels the row, second half the column.

    Returns:
        float32 [channels, h, w].
    """
    rows = sine_code(h, channels // 2, device).T[:, :, None].expand(-1, h, w)
    columns = sine_code(w, channels // 2, device).T[:, None, :].expand(-1, h, w)
    return torch.cat([rows, columns])


def position_3d(T: int, h: int, w: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Return the code of the pixels of a clip's maps: the 2-D code plus the code of the frame's number.

    Returns:
        float32 [T, channels, h, w].
    """
    frames = sine_code(T, channels, device)[:, :, None, None]
    return position_2d(h, w, channels, device) + frames
