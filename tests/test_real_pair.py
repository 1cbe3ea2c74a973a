"""The real pair of frames: its parts fit each other, and its true masks lie on what moves like them."""

import torch

from maskfree_nb.data.real_pair import motorcycle_pair


def test_parts_fit_each_other():
    clip = motorcycle_pair()
    assert clip.frames.shape == (2, 3, 480, 704) and clip.frames.dtype == torch.uint8
    assert clip.masks.shape == (1, 2, 480, 704) and clip.masks.dtype == torch.bool
    for (x1, y1, x2, y2), mask in zip(clip.boxes[0].int().tolist(), clip.masks[0], strict=True):
        outside = mask.clone()
        outside[y1:y2, x1:x2] = False
        assert not outside.any()
        assert all(mask[edge].any() for edge in (y1, y2 - 1, (slice(None), x1), (slice(None), x2 - 1)))
        assert 0.3 < mask.sum() / ((x2 - x1) * (y2 - y1)) < 0.6  # a motorcycle is no rectangle


def test_masks_hold_the_red_tank_and_not_the_walls():
    clip = motorcycle_pair()
    red, green, blue = clip.frames.float().unbind(1)  # [T, H, W]
    paint = (red > 120) & (green < 60) & (blue < 70)
    paint[:, :170] = paint[:, 320:] = False  # above and below the tank there are other red things
    paint[..., :100] = paint[..., 430:] = False
    assert paint.sum() > 2000
    assert clip.masks[0][paint].float().mean() > 0.95
    assert not clip.masks[0, :, :, :30].any() and not clip.masks[0, :, :20].any()
