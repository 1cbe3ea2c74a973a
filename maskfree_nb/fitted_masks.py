"""Masks fitted to boxes that are known: what a box still says once a network has drawn the mask."""

import torch
from torch import Tensor

from maskfree_nb.mean_field import mean_field
from maskfree_nb.model.pixel_decoder import resize

LIFTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # logits: what a mask is raised by, one after another
LEAST_SPAN = 0.8  # below it a mask is raised


def span(masks: Tensor, inside: Tensor) -> Tensor:
    """How much of its box a mask reaches: the share of its rows, or of its columns if that is less.

    The mask of an object touches all four sides of its tight box: a true one has a span of 1, or nearly if it
    is in pieces. How far a predicted one falls short needs no true mask to see; what that is worth is on the
    results page.

    Args:
        masks: bool [N, H, W].
        inside: bool [N, H, W], the filled boxes.

    Returns:
        float32 [N], 0..1; NaN where there is no box.

    >>> inside = torch.ones(1, 4, 4, dtype=torch.bool)
    >>> mask = torch.zeros_like(inside)
    >>> mask[0, 1:, 2:] = True  # three rows of four, two columns of four
    >>> span(mask, inside)
    tensor([0.5000])
    """
    reached = masks & inside
    shares = [reached.any(dim).sum(-1) / inside.any(dim).sum(-1) for dim in (-1, -2)]
    return torch.minimum(*shares)


def fit_to_boxes(
    mask_logits: Tensor,
    lab: Tensor,
    cells: Tensor,
    inside: Tensor,
    padded_hw: tuple[int, int],
    valid_hw: tuple[int, int],
    least_span: float = LEAST_SPAN,
) -> tuple[Tensor, Tensor]:
    """Draw the masks of one frame into their boxes, along the colours, and raise those that are too small.

    Each mask is redrawn by `mean_field` within its box. Where it then spans less than `least_span` of the
    box, its logits are raised and it is drawn again, up to six times and by at most 4: too small is what
    masks learnt from boxes are most often, and what a box can tell. A mask that vanishes, as small ones may
    where all around looks alike, is left as the network has it.

    Args:
        mask_logits: float [N, h, w], of the padded frame.
        lab: float32 [3, h', w'], CIE Lab of the padded frame, as fine as the masks or finer.
        cells: bool [N, h', w'], the filled boxes in the padded frame; empty where an object is absent.
        inside: bool [N, H, W], the filled boxes at the size of the video.
        padded_hw: height and width of the padded frame.
        valid_hw: height and width of that frame without its padding.
        least_span: 0..1; 0 raises nothing. Compact objects may be asked for more than those with a thin tail,
            for which the whole mask would have to grow.

    Returns:
        (masks, spans): bool [N, H, W], nothing outside of a box; float32 [N], the span of each mask before
        its logits were raised: 0..1, NaN where there is no box.
    """
    height, width = valid_hw

    def at_full_size(maps: Tensor) -> Tensor:  # [n, h', w'] -> bool [n, H, W]
        valid = resize(maps[None], padded_hw)[..., :height, :width]
        return resize(valid, inside.shape[-2:])[0] > 0

    logits = resize(mask_logits[None].float(), lab.shape[-2:])[0]
    masks = torch.zeros_like(inside)
    spans = torch.full((len(inside),), torch.nan, device=inside.device)
    pending = inside.flatten(1).any(1).nonzero()[:, 0]  # what is still to be drawn, or drawn too small
    for lift in LIFTS:
        if len(pending) == 0:
            break
        image_index = torch.zeros_like(pending)
        expected = mean_field(logits[pending] + lift, lab[None], cells[pending], image_index)
        masks[pending] = at_full_size(expected) & inside[pending]
        reached = span(masks[pending], inside[pending])
        if lift == LIFTS[0]:
            spans[pending] = reached
        pending = pending[reached < least_span]
    vanished = ~masks.flatten(1).any(1)
    if vanished.any():
        masks[vanished] = at_full_size(logits[vanished]) & inside[vanished]
    return masks, spans
