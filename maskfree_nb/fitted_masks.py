"""Masks fitted to boxes that are known: what a box still says once a network has drawn the mask."""

import torch
from torch import Tensor

from maskfree_nb.mean_field import mean_field
from maskfree_nb.model.pixel_decoder import resize
from maskfree_nb.temporal_links import Links

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
    links: Links | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw the masks of a video into their boxes, along the colours, and raise those that are too small.

    Each mask is redrawn by `mean_field` within its box. Where it then spans less than `least_span` of the
    box, its logits are raised and it is drawn again, up to six times and by at most 4: too small is what
    masks learnt from boxes are most often, and what a box can tell. A mask that vanishes, as small ones may
    where all around looks alike, is left as the network has it.

    Args:
        mask_logits: float [N, T, h, w], of the padded frames.
        lab: float32 [T, 3, h', w'], CIE Lab of the padded frames, as fine as the masks or finer.
        cells: bool [N, T, h', w'], the filled boxes in the padded frames; empty where an object is absent.
        inside: bool [N, T, H, W], the filled boxes at the size of the video.
        padded_hw: height and width of the padded frames.
        valid_hw: height and width of those frames without their padding.
        least_span: 0..1; 0 raises nothing. Compact objects may be asked for more than those with a thin tail,
            for which the whole mask would have to grow.
        links: `temporal_links` of `lab`, along which masks listen to other frames; without them, frames are
            on their own.

    Returns:
        (masks, spans): bool [N, T, H, W], nothing outside of a box; float32 [N, T], the span of each mask
        before its logits were raised: 0..1, NaN where there is no box.
    """
    height, width = valid_hw

    def at_full_size(maps: Tensor) -> Tensor:  # [n, t, h', w'] -> bool [n, t, H, W]
        valid = [resize(frame[None], padded_hw)[..., :height, :width] for frame in maps.unbind(1)]
        return torch.stack([resize(frame, inside.shape[-2:])[0] > 0 for frame in valid], 1)

    logits = resize(mask_logits.float(), lab.shape[-2:])
    masks = torch.zeros_like(inside)
    spans = torch.full(inside.shape[:2], torch.nan, device=inside.device)
    lifts = torch.zeros(inside.shape[:2], device=inside.device)
    pending = inside.flatten(2).any(-1)  # [N, T], what is still to be drawn, or drawn too small
    for lift in LIFTS:
        tracks = pending.any(1).nonzero()[:, 0]
        if len(tracks) == 0:
            break
        todo = pending[tracks]
        lifts[pending] = lift
        raised = logits[tracks] + lifts[tracks, :, None, None]
        drawn = at_full_size(mean_field(raised, lab, cells[tracks], links)) & inside[tracks]
        reached = span(drawn.flatten(0, 1), inside[tracks].flatten(0, 1)).view(todo.shape)
        masks[tracks] = torch.where(todo[..., None, None], drawn, masks[tracks])
        if lift == LIFTS[0]:
            spans[tracks] = reached
        pending[tracks] = todo & (reached < least_span)
    vanished = ~masks.flatten(2).any(-1)
    if vanished.any():
        masks[vanished] = at_full_size(logits[vanished][:, None])[:, 0] & inside[vanished]
    return masks, spans
