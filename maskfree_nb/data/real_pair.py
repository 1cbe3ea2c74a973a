"""Two real frames with true motion and a true mask: a stereo photograph in the wheel of scikit-image."""

import numpy as np
import torch
from scipy import ndimage
from skimage.data import stereo_motorcycle
from torch import Tensor

from maskfree_nb.data.clips import Clip

HEIGHT, WIDTH = 480, 704  # of the part that is used, multiples of 32
FOLLOWED = 30  # disparity, in pixels, that counts as no motion: the camera follows the motorcycle
FURTHEST, CLEARANCE = 27, 3  # disparity of the furthest ground beside it; what lies that far above the ground


def motorcycle_pair() -> Clip:
    """Return the *Motorcycle* pair of the Middlebury 2014 stereo data as a clip of two frames and one object.

    The right photograph is frame 0, the left one frame 1, cut so that a disparity of 30 pixels is no motion:
    near things move one way, far things the other, as when a camera follows its subject. The mask comes from
    the measured disparity: what stands out from the ground. It is true to about two pixels.

    >>> clip = motorcycle_pair()
    >>> clip.frames.shape, clip.boxes.shape
    (torch.Size([2, 3, 480, 704]), torch.Size([1, 2, 4]))
    """
    left, right, disparity = stereo_motorcycle()
    disparity = np.where(np.isfinite(disparity), disparity, 0.0)
    later = _motorcycle(disparity)
    views = (slice(0, HEIGHT), slice(0, WIDTH)), (slice(0, HEIGHT), slice(FOLLOWED, FOLLOWED + WIDTH))
    frames = np.stack([image[view] for image, view in zip((right, left), views, strict=True)])
    masks = [
        mask[view] for mask, view in zip((_seen_from_the_right(later, disparity), later), views, strict=True)
    ]
    masks = torch.from_numpy(np.stack(masks))
    return Clip(
        frames=torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous(),
        boxes=torch.stack([_tight_box(mask) for mask in masks])[None],  # [1, 2, 4]
        labels=torch.zeros(1, dtype=torch.int64),
        masks=masks[None],  # [1, 2, H, W]
        video_id=0,
        frame_indices=(0, 1),
    )


def _motorcycle(disparity: np.ndarray) -> np.ndarray:
    """What is nearer than the ground of its row, which the left margin shows; its largest piece."""
    ground = np.maximum.accumulate(np.median(disparity[:, :60], axis=1))
    nearer = disparity > np.maximum(ground, FURTHEST)[:, None] + CLEARANCE
    pieces, number = ndimage.label(ndimage.binary_closing(nearer, iterations=2))
    largest = 1 + np.argmax(ndimage.sum(nearer, pieces, range(1, number + 1)))
    return pieces == largest


def _seen_from_the_right(mask: np.ndarray, disparity: np.ndarray) -> np.ndarray:
    """Move each pixel of the mask by its disparity, close the gaps that open, drop what is single."""
    y, x = mask.nonzero()
    moved = np.zeros_like(mask)
    moved[y, (x - disparity[y, x]).round().astype(int).clip(0)] = True
    return ndimage.median_filter(ndimage.binary_closing(moved, iterations=2), size=3)


def _tight_box(mask: Tensor) -> Tensor:
    y, x = mask.nonzero(as_tuple=True)
    return torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]).float()
