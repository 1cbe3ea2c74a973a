"""Boxes as filled masks at the resolution of the mask logits, without an image-size tensor."""

import torch
from torch import Tensor

from maskfree_nb.errors import InputError


def box_masks(boxes: Tensor, image_hw: tuple[int, int], stride: int = 4) -> Tensor:
    """Fill each box at image resolution and resize it bilinearly to the mask map.

    A filled box is the product of a profile over rows and a profile over columns, and so is its resized
    form: only the two profiles are ever computed. With stride 4 and whole-pixel boxes the values are
    0, 1/4, 1/2 or 1; a fractional box edge covers its pixel in part.

    Args:
        boxes: float [N, T, 4], x1 y1 x2 y2 in pixels, half open; NaN where the instance is absent.
        image_hw: height and width of the image in pixels, multiples of `stride`.
        stride: image pixels per mask pixel.

    Returns:
        float32 [N, T, h, w] in 0..1, with h = H // stride and w = W // stride; absent boxes are all 0.

    Raises:
        InputError: `boxes` is not [N, T, 4], or the image is not a whole number of strides.

    >>> box_masks(torch.tensor([[[0., 0., 6., 4.]]]), (4, 8))
    tensor([[[[1.0000, 0.5000]]]])
    """
    if boxes.dim() != 3 or boxes.shape[-1] != 4:
        raise InputError(f"boxes has shape {list(boxes.shape)}, expected [N, T, 4]")
    if image_hw[0] % stride or image_hw[1] % stride:
        raise InputError(f"the image is {image_hw[0]} x {image_hw[1]}, expected multiples of stride {stride}")
    x1, y1, x2, y2 = boxes.float().nan_to_num(nan=0.0).unbind(-1)  # each [N, T]
    rows = _profile(y1, y2, image_hw[0], stride)  # [N, T, h]
    columns = _profile(x1, x2, image_hw[1], stride)  # [N, T, w]
    return rows[..., :, None] * columns[..., None, :]  # [N, T, h, w]


def union_region(box_masks: Tensor) -> Tensor:
    """Mark the pixels that an instance's boxes cover over the tube: sum over the frames >= 1.

    Args:
        box_masks: float [N, T, h, w] from `box_masks`.

    Returns:
        bool [N, h, w]. It is a sum, not a maximum: two halves in different frames count.

    >>> union_region(torch.tensor([[[[0.5, 1.0]], [[0.5, 0.0]], [[0.0, 0.0]]]]))
    tensor([[[True, True]]])
    """
    return box_masks.sum(1) >= 1


def _profile(low: Tensor, high: Tensor, size: int, stride: int) -> Tensor:
    """The interval low..high over `size` pixels, resized to size // stride cells: [N, T, size // stride]."""
    centre = (torch.arange(size // stride, device=low.device) + 0.5) * stride - 0.5  # in image pixels
    left = centre.floor()
    fraction = centre - left
    right = (left + 1).clamp(max=size - 1)
    return torch.lerp(_coverage(low, high, left), _coverage(low, high, right), fraction)


def _coverage(low: Tensor, high: Tensor, pixel: Tensor) -> Tensor:
    """The part of each pixel, from `pixel` to `pixel + 1`, that lies between low and high."""
    return (torch.minimum(high[..., None], pixel + 1) - torch.maximum(low[..., None], pixel)).clamp(0, 1)
