"""Step 1 of the TK-Loss: which pixels of the other frame may match a pixel (the search window)."""

from torch import Tensor
from torch.nn import functional as F

from maskfree_nb.errors import InputError

Offsets = tuple[tuple[int, int], ...]


def disk_offsets(radius: int) -> Offsets:
    """Return every integer offset (dy, dx) within `radius`, the candidate set of the paper.

    S_p = { p + (dy, dx) : dy² + dx² <= R² }  (Algorithm 1, line 9, of MaskFreeVIS, CVPR 2023, arXiv
    2303.15904). The place of an offset in the tuple, dy ascending, then dx ascending, is its number.

    Args:
        radius: R >= 0, in pixels of the mask map. The paper's R = 5 gives 81 candidates.

    >>> disk_offsets(1)
    ((-1, 0), (0, -1), (0, 0), (0, 1), (1, 0))
    >>> len(disk_offsets(5))
    81
    """
    _check("radius", radius, 0)
    span = range(-radius, radius + 1)
    return tuple((dy, dx) for dy in span for dx in span if dy * dy + dx * dx <= radius * radius)


def grid_offsets(radius: int, dilation: int = 1) -> Offsets:
    """Return a square grid of (2·radius + 1)² offsets (dy, dx), `dilation` pixels apart.

    The published training code uses `grid_offsets(1, 3)`: nine candidates, three pixels apart.

    Args:
        radius: grid steps from the centre to the edge, >= 0.
        dilation: pixels of the mask map between two steps, >= 1.

    >>> grid_offsets(1, 3)
    ((-3, -3), (-3, 0), (-3, 3), (0, -3), (0, 0), (0, 3), (3, -3), (3, 0), (3, 3))
    """
    _check("radius", radius, 0)
    _check("dilation", dilation, 1)
    steps = range(-radius * dilation, radius * dilation + 1, dilation)
    return tuple((dy, dx) for dy in steps for dx in steps)


def pad_by_reach(maps: Tensor, offsets: Offsets) -> Tensor:
    """Pad [..., h, w] with zeros on all sides, as far as the farthest candidate reaches."""
    reach = max(max(abs(dy), abs(dx)) for dy, dx in offsets)
    return F.pad(maps, [reach] * 4)


def shifted(padded: Tensor, offset: tuple[int, int], height: int, width: int) -> Tensor:
    """Return the view [..., h, w] of a padded map whose pixel (y, x) is the map's pixel (y + dy, x + dx).

    >>> import torch
    >>> row = torch.tensor([[1, 2, 3]])
    >>> shifted(pad_by_reach(row, ((0, 1),)), (0, 1), 1, 3)
    tensor([[2, 3, 0]])
    """
    top = (padded.shape[-2] - height) // 2 + offset[0]
    left = (padded.shape[-1] - width) // 2 + offset[1]
    return padded[..., top : top + height, left : left + width]


def _check(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {value!r}, expected an integer >= {least}")
