"""What a set of labelled videos is made of: categories, videos, tracks of boxes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskfree_nb.data.rle import Rle


@dataclass(frozen=True)
class Category:
    """A class of objects: the file's `id` and its `name`."""

    id: int
    name: str


@dataclass(frozen=True, eq=False)
class Track:
    """One object through one video.

    Attributes:
        id: the annotation's id, unique in its file.
        category: index into `VideoSet.categories`, 0-based; not the file's category id.
        boxes: float32 [length, 4], pixels, (x0, y0, x1, y1) half open, all NaN where the object is absent.
        segmentations: one compressed RLE or None a frame; None as a whole where no masks were loaded.
        is_crowd: a crowd region, of which no training target is made.
    """

    id: int
    category: int
    boxes: np.ndarray
    segmentations: tuple[Rle | None, ...] | None = None
    is_crowd: bool = False


@dataclass(frozen=True, eq=False)
class Video:
    """One video: its size in pixels, its frames' file names relative to the image folder, its tracks."""

    id: int
    width: int
    height: int
    length: int
    file_names: tuple[str, ...]
    tracks: tuple[Track, ...]


@dataclass(frozen=True, eq=False)
class VideoSet:
    """The videos of one annotation file.

    Attributes:
        categories: by ascending id.
        videos: in the file's order.
        image_root: the folder that `file_names` are relative to.
        source: the annotation file, for messages.
        has_masks: whether the tracks carry segmentations.
    """

    categories: tuple[Category, ...]
    videos: tuple[Video, ...]
    image_root: Path
    source: Path
    has_masks: bool
