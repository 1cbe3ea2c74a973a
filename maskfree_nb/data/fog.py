"""Copies of frames with less contrast: homogeneous video, to see what training makes of it."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from maskfree_nb.errors import InputError

GREY = 128.0  # what colours fade to


def fade(pixels: np.ndarray, contrast: float) -> np.ndarray:
    """Return the image uint8 [H, W, 3] with every colour drawn towards grey; contrast 0..1.

    >>> fade(np.array([[[0, 128, 255]]], np.uint8), 0.1)
    array([[[115, 128, 141]]], dtype=uint8)
    """
    if not 0 <= contrast <= 1:
        raise InputError(f"contrast is {contrast!r}, expected 0..1")
    return np.rint(GREY + contrast * (pixels - GREY)).astype(np.uint8)


def fade_frames(images: str | Path, folder: str | Path, contrast: float) -> Path:
    """Write a faded copy of every JPEG under `images`, by the same name, to `folder`; return `folder`.

    Args:
        images: the folder that the file names of an annotation file are in.
        folder: made by this function; it appears only when it is complete, and is kept if it exists.
        contrast: 0..1.

    Raises:
        InputError: another contrast, or no JPEG there.
    """
    images, folder = Path(images), Path(folder)
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        made = Path(temporary) / folder.name
        for path in sorted(images.rglob("*.jpg")):
            copy = made / path.relative_to(images)
            copy.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                faded = Image.fromarray(fade(np.asarray(image.convert("RGB")), contrast))
            faded.save(copy, quality=95, subsampling=0)
        if not made.exists():
            raise InputError(f"{images}: has no frame to fade, expected *.jpg")
        made.replace(folder)
    return folder
