"""Photographs inside the wheel of scikit-image: some are backgrounds, some what objects are made of.

Each photograph is cut in two: the left part serves the training videos, the right part the validation videos,
so that no pixel of a photograph is in both.
"""

from functools import cache
from pathlib import Path

import numpy as np
import skimage
from numpy import ndarray
from numpy.random import Generator
from PIL import Image

BACKGROUNDS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "coffee.png",
    "coins.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
SURFACES = {  # what the objects of a class are made of
    "arrow": ("grass.png",),
    "crescent": ("moon.png", "retina.jpg"),
    "cross": ("gravel.png",),
    "star": ("chelsea.png", "ihc.png"),
}
TRAIN_SHARE = 0.55  # of a photograph's columns
LONGEST_SIDE = 700


@cache
def photograph(name: str, split: str) -> Image.Image:
    """Return the part of a photograph that belongs to a split, "train" or "val", as RGB.

    >>> photograph("grass.png", "train").size
    (281, 512)
    """
    image = Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
    if max(image.size) > LONGEST_SIDE:
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    cut = int(TRAIN_SHARE * image.width)
    return image.crop((0, 0, cut, image.height) if split == "train" else (cut, 0, *image.size))


@cache
def _mirrored(name: str, split: str) -> Image.Image:
    """The part, surrounded by its mirror images, so that a crop may reach over the edge."""
    pixels = np.asarray(photograph(name, split))
    height, width = pixels.shape[:2]
    return Image.fromarray(np.pad(pixels, ((height, height), (width, width), (0, 0)), mode="symmetric"))


def random_crop(
    name: str, split: str, size: tuple[int, int], magnification: float, rng: Generator
) -> ndarray:
    """Cut a random piece out of a photograph and resize it.

    Args:
        name: one of `BACKGROUNDS` or `SURFACES`.
        split: "train" or "val".
        size: (width, height) of the piece in pixels, after resizing.
        magnification: pixels after resizing for each pixel of the photograph.

    Returns:
        float64 [height, width, 3] in 0..255.
    """
    part = photograph(name, split)
    taken = np.array(size) / max(magnification, *(np.array(size) / (2.6 * np.array(part.size))))
    room = np.array(part.size) - taken
    # where the part is too small, the piece reaches over its edges equally
    corner = np.where(room > 0, rng.random(2) * np.maximum(room, 0), room / 2) + np.array(part.size)
    piece = _mirrored(name, split).resize(size, Image.Resampling.LANCZOS, box=(*corner, *(corner + taken)))
    return np.asarray(piece, dtype=np.float64)
