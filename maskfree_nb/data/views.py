"""A view of a clip: one crop, resize and mirroring for all of its frames, boxes and masks."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from maskfree_nb.data.frames import resize


@dataclass(frozen=True)
class View:
    """A rectangle of the frame, resized and perhaps mirrored.

    Attributes:
        top, left, height, width: the rectangle, in pixels of the frame.
        out_height, out_width: the size that it is resized to.
        mirrored: whether left and right change places, last of all.

    >>> view = View(top=0, left=2, height=4, width=8, out_height=8, out_width=16, mirrored=True)
    >>> view.boxes(torch.tensor([[[3.0, 1.0, 5.0, 3.0]]]))
    tensor([[[10.,  2., 14.,  6.]]])
    """

    top: int
    left: int
    height: int
    width: int
    out_height: int
    out_width: int
    mirrored: bool

    def frames(self, frames: Tensor) -> Tensor:
        """Show uint8 frames [T, 3, H, W]; bilinear, with antialiasing."""
        return self._mirror(resize(self._crop(frames), self.out_height, self.out_width))

    def masks(self, masks: Tensor) -> Tensor:
        """Show bool masks [N, T, H, W]; a resized pixel takes the value of the pixel at its centre."""
        masks = self._crop(masks)
        if masks.shape[-2:] != (self.out_height, self.out_width) and len(masks) > 0:
            size = (self.out_height, self.out_width)
            masks = F.interpolate(masks.to(torch.uint8), size, mode="nearest-exact").bool()
        return self._mirror(masks)

    def boxes(self, boxes: Tensor, min_size: float = 0.0) -> Tensor:
        """Show boxes [N, T, 4] (xyxy pixels, NaN where absent), clipped to the view; absent where nothing, or
        less than `min_size` pixels in width or height, is left."""
        corner = boxes.new_tensor([self.left, self.top] * 2)
        size = boxes.new_tensor([self.width, self.height] * 2)
        out_size = boxes.new_tensor([self.out_width, self.out_height] * 2)
        boxes = (boxes - corner).clamp(min=0).minimum(size) * out_size / size  # size becomes out_size exactly
        if self.mirrored:
            x0, y0, x1, y1 = boxes.unbind(-1)
            boxes = torch.stack((self.out_width - x1, y0, self.out_width - x0, y1), dim=-1)
        extent = (boxes[..., 2:] - boxes[..., :2]).amin(-1, keepdim=True)  # [N, T, 1]
        return boxes.masked_fill((extent <= 0) | (extent < min_size), torch.nan)

    def _crop(self, images: Tensor) -> Tensor:
        return images[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def _mirror(self, images: Tensor) -> Tensor:
        return images.flip(-1) if self.mirrored else images
