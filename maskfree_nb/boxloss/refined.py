"""Refined masks: those of the network, redrawn along the colours of the image, as its own target."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from maskfree_nb.errors import InputError
from maskfree_nb.mean_field import mean_field


@torch.no_grad()
def refined_masks(
    mask_logits: Tensor, lab: Tensor, box_masks: Tensor, *, clip_index: Tensor | None = None
) -> Tensor:
    """Redraw masks along the colours of a finer map, and return them at their own size.

    The masks are upsampled, go through `mean_field` inside their boxes, and are averaged over the pixels of a
    cell again. As a target for the very network that gave the logits it is self-training, as in Mask
    Auto-Labeler (CVPR 2023, arXiv 2301.03992): the network sees a sharper version of what it half believes.

    Args:
        mask_logits: float [N, T, h, w].
        lab: float32 [B, T, 3, s h, s w], CIE Lab of the frames, s times as fine as the masks.
        box_masks: float [N, T, h, w] in 0..1, the filled boxes.
        clip_index: int64 [N], the clip in 0..B-1 of each instance; None if B = 1.

    Returns:
        float32 [N, T, h, w] in 0..1, at most `box_masks`; without a gradient.

    Raises:
        InputError: the shapes do not fit each other, or several clips come without `clip_index`.

    >>> lab = torch.zeros(1, 1, 3, 12, 12)
    >>> lab[..., 3:9] = 50.0  # six bright columns: an object three cells wide
    >>> blurred = torch.tensor([-1.0, 0.4, 2.0, 2.0, 0.4, -1.0]).expand(1, 1, 6, 6)
    >>> refined_masks(blurred, lab, torch.ones(1, 1, 6, 6))[0, 0, 3].round(decimals=1)
    tensor([0.0000, 0.5000, 1.0000, 1.0000, 0.5000, 0.0000])
    """
    scale = _scale(mask_logits, lab, box_masks)
    frames = mask_logits.shape[1]
    if clip_index is None:
        if len(lab) != 1:
            raise InputError(f"lab holds {len(lab)} clips: clip_index must name each instance's")
        clip_index = torch.zeros(len(mask_logits), dtype=torch.int64, device=mask_logits.device)
    image_index = clip_index[:, None] * frames + torch.arange(frames, device=clip_index.device)  # [N, T]
    logits = interpolate(mask_logits.float(), scale_factor=scale, mode="bilinear")
    inside = interpolate(box_masks.float(), scale_factor=scale) > 0
    expected = mean_field(
        logits.flatten(0, 1), lab.flatten(0, 1), inside.flatten(0, 1), image_index.flatten()
    )
    return avg_pool2d((expected.view(logits.shape) + 1) / 2, scale) * box_masks.float()


def _scale(mask_logits: Tensor, lab: Tensor, box_masks: Tensor) -> int:
    """How many times as fine as the masks the colour map is."""
    fits = mask_logits.dim() == 4 and lab.dim() == 5 and box_masks.shape == mask_logits.shape
    scale = lab.shape[-1] // mask_logits.shape[-1] if fits else 0
    t, h, w = mask_logits.shape[-3:] if fits else (0, 0, 0)
    if scale < 1 or lab.shape[1:] != (t, 3, scale * h, scale * w):
        raise InputError(
            f"mask_logits has shape {list(mask_logits.shape)}, lab {list(lab.shape)} and box_masks "
            f"{list(box_masks.shape)}, expected [N, T, h, w], [B, T, 3, s h, s w] and [N, T, h, w]"
        )
    return scale
