"""Clips laid over each other on a canvas, and the objects that are cut out of them."""

from dataclasses import dataclass, field

import numpy as np
from numpy import ndarray
from PIL import Image

from maskfree_nb.data.composites.source import SourceClips
from maskfree_nb.data.tracks import Track, Video

Window = tuple[int, int, int, int]  # of the canvas: x0, y0, x1, y1, half open


@dataclass(frozen=True, eq=False)
class Layer:
    """A clip on the canvas: point p of its frame t lies at `scale * p + origin + velocity * t`."""

    source: SourceClips
    video: Video
    times: list[int]  # of the source, for each frame
    mirrored: bool
    scale: float  # canvas pixels a source pixel
    origin: ndarray  # x, y
    velocity: ndarray = field(default_factory=lambda: np.zeros(2))

    def cut(self, image: Image.Image, t: int, window: Window) -> ndarray:
        """Return the part of a source image that lies in a window of the canvas, xyxy, as float32."""
        x, y = self.origin + self.velocity * t
        x0, y0, x1, y1 = window
        box = ((x0 - x) / self.scale, (y0 - y) / self.scale, (x1 - x) / self.scale, (y1 - y) / self.scale)
        box = np.clip(box, 0, [image.width, image.height] * 2)  # rounding
        cut = self.turned(image).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR, tuple(box))
        return np.asarray(cut, dtype=np.float32)

    def window(self, mask: Image.Image, t: int, canvas: tuple[int, int]) -> Window | None:
        """Return the part of the canvas, xyxy, in which an object is; None if it is outside."""
        corners = np.reshape(self.turned(mask).getbbox(), (2, 2)) * self.scale
        shift = self.origin + self.velocity * t
        whole = np.array(mask.size) * self.scale + shift  # the source has nothing beyond
        low = np.maximum(np.floor(corners[0] + shift) - 1, np.maximum(np.ceil(shift), 0))
        high = np.minimum(np.ceil(corners[1] + shift) + 1, np.minimum(np.floor(whole), canvas))
        return (*low.astype(int), *high.astype(int)) if (low < high).all() else None

    def turned(self, image: Image.Image) -> Image.Image:
        """Return a source image as it lies on the canvas, mirrored or not."""
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.mirrored else image


@dataclass(frozen=True, eq=False)
class Cutout:
    """An object of a layer's clip; the background's own is cut with a hard edge: it hides no seam."""

    layer: Layer
    track: Track
    feathered: bool

    def mask(self, t: int) -> Image.Image | None:
        """Return its coverage in the source frame of frame t, or None where it is absent."""
        return self.layer.source.mask(self.layer.video, self.track, self.layer.times[t], self.feathered)

    def box(self) -> tuple[int, ndarray] | None:
        """Return the frame nearest to the middle in which the object is there, and its box in that mask."""
        middle = (len(self.layer.times) - 1) / 2
        for t in sorted(range(len(self.layer.times)), key=lambda t: abs(t - middle)):
            if (mask := self.mask(t)) is not None:
                return t, np.array(self.layer.turned(mask).getbbox(), dtype=float)
        return None
