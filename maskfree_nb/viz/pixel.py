"""What one pixel sees: the distance to each of its candidates, its K matches, its case."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from maskfree_nb.errors import InputError
from maskfree_nb.tkloss.candidates import Offsets, pad_by_reach
from maskfree_nb.viz.cases import pixel_case


@dataclass(frozen=True)
class PixelView:
    """One pixel of frame b and its candidates in frame a; `look_at` makes it.

    Attributes:
        pair: (source a, centre b).
        y, x: the pixel, on the map.
        map_hw: (h, w) of the map.
        offsets: S candidates (dy, dx).
        distance: float32 [S], patch distance to each, inf outside the frame.
        matches: numbers of the matched candidates, most similar first, at most K.
        case: a key of `CASES`.
        patch_size: side of the patches compared.
    """

    pair: tuple[int, int]
    y: int
    x: int
    map_hw: tuple[int, int]
    offsets: Offsets
    distance: Tensor
    matches: tuple[int, ...]
    case: str
    patch_size: int = 3

    def place(self, s: int) -> tuple[int, int]:
        """Return (y, x) of candidate s in frame a."""
        return self.y + self.offsets[s][0], self.x + self.offsets[s][1]

    def similarity(self, s: int) -> float:
        """Return exp(-d/2) of candidate s: 1 for equal patches, D at the threshold."""
        return math.exp(-self.distance[s].item() / 2)

    def heat_map(self) -> Tensor:
        """Return the distances laid out as the window: float32 [2R + 1, 2R + 1], NaN where there is none."""
        reach = max(max(abs(dy), abs(dx)) for dy, dx in self.offsets)
        window = self.distance.new_full((2 * reach + 1, 2 * reach + 1), math.nan)
        for (dy, dx), distance in zip(self.offsets, self.distance, strict=True):
            window[reach + dy, reach + dx] = distance if distance.isfinite() else math.nan
        return window


def look_at(
    lab: Tensor,
    pair: tuple[int, int],
    y: int,
    x: int,
    offsets: Offsets,
    *,
    k: int = 5,
    threshold: float = 0.05,
    patch_size: int = 3,
) -> PixelView:
    """Match one pixel, as `match_patches` does with clean borders, and keep all that was compared.

    Args:
        lab: float32 [T, 3, h, w], from `rgb_to_lab`.
        pair: (source a, centre b): the pixel is in frame b, its candidates are in frame a.
        y, x: the pixel.
        offsets, k, threshold, patch_size: as in `match_patches`.

    Raises:
        InputError: a pixel outside the map.

    >>> from maskfree_nb.tkloss import disk_offsets
    >>> lab = torch.zeros(2, 3, 8, 8)
    >>> lab[0, :, 2, 2] = lab[1, :, 3, 4] = 50.0
    >>> view = look_at(lab, (0, 1), 3, 4, disk_offsets(3))
    >>> view.case, [view.place(s) for s in view.matches]
    ('unique', [(2, 2)])
    """
    distance = candidate_distances(lab, pair, y, x, offsets, patch_size)
    near = distance.isfinite() & (torch.exp(-distance / 2) >= threshold)
    order = distance.argsort(stable=True).tolist()  # of equal distances the lower number is the nearer
    matches = tuple(s for s in order[:k] if near[s])
    case = pixel_case(distance, offsets, threshold)
    return PixelView(
        tuple(pair), y, x, tuple(lab.shape[-2:]), tuple(offsets), distance, matches, case, patch_size
    )


def candidate_distances(
    lab: Tensor, pair: tuple[int, int], y: int, x: int, offsets: Offsets, patch_size: int = 3
) -> Tensor:
    """Return the patch distance of one pixel to each of its candidates: float32 [S], inf outside the frame.

    d(p, q)² = Σ over patch places i and the 3 channels of (Lab_b(p + i) - Lab_a(q + i))², as in `knn_match`.

    Args:
        lab: float32 [T, 3, h, w], from `rgb_to_lab`.
        pair: (source a, centre b): the pixel is in frame b, its candidates are in frame a.
        y, x: the pixel.
        offsets: S candidates (dy, dx).
        patch_size: 1, 3, 5, ...

    >>> lab = torch.zeros(2, 3, 4, 4)
    >>> lab[0, 0, 0, 0] = 3.0
    >>> candidate_distances(lab, (0, 1), 0, 0, ((-1, 0), (0, 0), (2, 2)))
    tensor([inf, 3., 0.])
    """
    height, width = lab.shape[-2:]
    margin = patch_size // 2
    if not (0 <= y < height and 0 <= x < width):
        raise InputError(f"pixel ({y}, {x}) is outside the map of {height} x {width} (rows x columns)")
    padded = F.pad(lab, [margin] * 4)
    reach = max(max(abs(dy), abs(dx)) for dy, dx in offsets)
    source = pad_by_reach(padded[pair[0]], offsets)
    patch = padded[pair[1], :, y : y + patch_size, x : x + patch_size]
    distances = []
    for dy, dx in offsets:
        top, left = y + reach + dy, x + reach + dx
        candidate = source[:, top : top + patch_size, left : left + patch_size]
        inside = 0 <= y + dy < height and 0 <= x + dx < width
        distances.append((patch - candidate).square().sum().sqrt() if inside else lab.new_tensor(math.inf))
    return torch.stack(distances)
