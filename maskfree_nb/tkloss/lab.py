"""The colours by which patches are compared: CIE-Lab, whose distance is what the eye sees, or plain RGB."""

import torch
from torch import Tensor
from torch.nn import functional as F

from maskfree_nb.errors import InputError

CHANNEL_ORDERS = ("rgb", "bgr")
# linear sRGB -> XYZ under D65, 2 degrees, each row divided by the white point (.95047, 1, 1.08883)
RGB_TO_XYZ = (
    (0.412453 / 0.95047, 0.357580 / 0.95047, 0.180423 / 0.95047),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883),
)


@torch.no_grad()
def rgb_to_lab(
    frames: Tensor, stride: int = 4, *, channel_order: str = "rgb", quantise: bool = True
) -> Tensor:
    """Convert frames to CIE-Lab at the resolution of the mask maps.

    Average pool, sRGB -> linear -> XYZ, then L = 116 f(Y) - 16, a = 500 (f(X) - f(Y)), b = 200 (f(Y) - f(Z))
    with f(u) = cbrt(u) if u > .008856 else 7.787 u + 16/116  (IEC 61966-2-1 and CIE 15, as in scikit-image).

    Args:
        frames: [..., 3, H, W], uint8, or float in 0..255.
        stride: pooling factor from image to mask map; 1 keeps the resolution.
        channel_order: "rgb"; "bgr" swaps red and blue first, a quirk of the published code.
        quantise: round the pooled colour down to a whole byte, as the published code does.

    Returns:
        float32 [..., 3, H // stride, W // stride]; L in 0..100, a and b in about -108..108.

    Raises:
        InputError: frames without 3 channels, a bad stride or an unknown channel order.

    >>> white = torch.full((3, 8, 8), 255, dtype=torch.uint8)
    >>> rgb_to_lab(white).shape, round(rgb_to_lab(white)[0].max().item())
    (torch.Size([3, 2, 2]), 100)
    """
    if frames.ndim < 3 or frames.shape[-3] != 3:
        raise InputError(f"frames have shape {list(frames.shape)}, expected [..., 3, H, W]")
    if not isinstance(stride, int) or stride < 1:
        raise InputError(f"stride is {stride!r}, expected an integer >= 1")
    if channel_order not in CHANNEL_ORDERS:
        raise InputError(f"channel_order is {channel_order!r}, expected 'rgb' or 'bgr'")

    colour = F.avg_pool2d(frames.reshape(-1, *frames.shape[-3:]).float(), stride)  # [frames, 3, h, w]
    if channel_order == "bgr":
        colour = colour.flip(-3)
    colour = (colour.floor() if quantise else colour) / 255
    linear = torch.where(colour > 0.04045, ((colour + 0.055) / 1.055) ** 2.4, colour / 12.92)
    matrix = torch.tensor(RGB_TO_XYZ, device=linear.device)
    xyz = torch.einsum("ij,njhw->nihw", matrix, linear)
    f = torch.where(xyz > 0.008856, xyz ** (1 / 3), 7.787 * xyz + 16 / 116)
    fx, fy, fz = f.unbind(-3)
    lab = torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], dim=-3)
    return lab.reshape(*frames.shape[:-3], *lab.shape[-3:])


@torch.no_grad()
def pooled_rgb(frames: Tensor, stride: int = 4) -> Tensor:
    """Bring RGB to the resolution of the mask maps, as percent of full brightness: what Lab is held against.

    Args:
        frames: [..., 3, H, W], uint8, or float in 0..255.
        stride: pooling factor from image to mask map.

    Returns:
        float32 [..., 3, H // stride, W // stride] in 0..100, the range of L: grey levels are as far apart.

    >>> pooled_rgb(torch.full((3, 8, 8), 255, dtype=torch.uint8)).amax((1, 2))
    tensor([100., 100., 100.])
    """
    colour = F.avg_pool2d(frames.reshape(-1, *frames.shape[-3:]).float(), stride) * (100 / 255)
    return colour.reshape(*frames.shape[:-3], *colour.shape[-3:])
