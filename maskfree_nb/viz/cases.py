"""The case a pixel is: one match, many in a flat region, many along an edge, or none."""

import torch
from torch import Tensor

from maskfree_nb.tkloss.candidates import Offsets
from maskfree_nb.tkloss.matching import match_patches
from maskfree_nb.viz.colours import PALETTE

# The colours of the method's own slides; there both white and yellow are edges, here they also tell which way
CASES = {
    "none": PALETTE[2],  # green
    "unique": PALETTE[6],  # blue
    "homogeneous": PALETTE[0],  # orange
    "edge, sideways": (255, 255, 255),  # white
    "edge, upright": PALETTE[3],  # yellow
}
LINE = 0.5  # places lie along a line where their spread across it is less than this part of that along it


def pixel_case(distance: Tensor, offsets: Offsets, threshold: float = 0.05) -> str:
    """Name the case of one pixel, a key of `CASES`, from its distances to all candidates.

    Count the candidates that are near enough, exp(-d/2) >= D, before the best K are chosen (K would cut a
    flat region down to a few places whose form says nothing):

    - none at all: "none"; the patch is hidden, changed, or has moved farther than the window reaches;
    - one: "unique";
    - several whose places lie along a line (their spread across it, as a standard deviation, is less than
      half of that along it; two places always do): "edge, sideways", or "edge, upright" where the line is
      steeper than 45 degrees;
    - several that spread both ways: "homogeneous".

    Args:
        distance: [S], from `candidate_distances`: inf where the candidate is outside the frame.
        offsets: the S candidates (dy, dx).
        threshold: D in 0..1.

    >>> offsets = ((-1, 0), (0, -1), (0, 0), (0, 1), (1, 0))
    >>> pixel_case(torch.tensor([9.0, 1.0, 1.0, 1.0, 9.0]), offsets)
    'edge, sideways'
    >>> pixel_case(torch.tensor([9.0, 9.0, 1.0, 9.0, 9.0]), offsets)
    'unique'
    """
    near = distance.isfinite() & (torch.exp(-distance / 2) >= threshold)
    return tuple(CASES)[_classify(near[:, None], offsets).item()]


def case_map(
    lab: Tensor, pair: tuple[int, int], offsets: Offsets, threshold: float = 0.05, patch_size: int = 3
) -> Tensor:
    """Return the case of every pixel of frame b, uint8 [h, w]: a place in `tuple(CASES)`.

    The rule is that of `pixel_case`; the arguments are those of `look_at`.

    >>> lab = torch.zeros(2, 3, 5, 5)  # two flat frames
    >>> tuple(CASES)[case_map(lab, (0, 1), ((0, 0), (0, 1), (1, 0)))[2, 2]]
    'homogeneous'
    """
    matches = match_patches(
        lab, [pair], offsets, k=len(offsets), threshold=threshold, patch_size=patch_size, backend="torch"
    )
    return _classify(matches.keep()[0, 0], offsets)


def _classify(near: Tensor, offsets: Offsets) -> Tensor:
    """Return the case of bool [S, ...]: uint8 [...]."""
    near = near.float()
    dy, dx = torch.tensor(offsets, dtype=torch.float32, device=near.device).unbind(1)
    count = near.sum(0)

    def mean(values: Tensor) -> Tensor:
        return torch.einsum("s,s...->...", values, near) / count.clamp(min=1)

    variance_y = mean(dy * dy) - mean(dy) ** 2
    variance_x = mean(dx * dx) - mean(dx) ** 2
    covariance = mean(dy * dx) - mean(dy) * mean(dx)
    middle = (variance_y + variance_x) / 2
    radius = ((variance_y - variance_x) ** 2 / 4 + covariance**2).sqrt()
    across, along = (middle - radius).clamp(min=0), middle + radius  # variances: the two eigenvalues
    names = list(CASES)
    case = torch.full_like(count, names.index("homogeneous"))
    line = across < LINE**2 * along
    case[line & (variance_y <= variance_x)] = names.index("edge, sideways")
    case[line & (variance_y > variance_x)] = names.index("edge, upright")
    case[count == 1] = names.index("unique")
    case[count == 0] = names.index("none")
    return case.to(torch.uint8)
