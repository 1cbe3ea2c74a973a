"""The composites as a data set, written in the layout of `data/dataset_folder.py`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from numpy.random import Generator

from maskfree_nb.data.composites.scene import (
    BACKGROUND_ZOOM,
    LEAST_OBJECTS,
    LEAST_PIXELS,
    OVERSAMPLING,
    render_composite,
)
from maskfree_nb.data.composites.source import SourceClips
from maskfree_nb.data.dataset_folder import DatasetSummary, RenderedVideo, make_dataset
from maskfree_nb.errors import InputError

VERSION = 1  # of the generator: the same version, seed, sizes and source give the same data
MOST_TRIES = 20


@dataclass(frozen=True)
class CompositesSummary(DatasetSummary):
    """What was made: the content of `dataset.json`."""

    NAME: ClassVar[str] = "composites"

    source_sha256: str  # of the annotation file and the images that it was made of
    kind: str = "composites"


def make_composites(
    folder: str | Path,
    annotations: str | Path,
    images: str | Path,
    seed: int = 0,
    *,
    train_videos: int = 800,
    val_videos: int = 50,
    train_frames: int = 5,
    val_frames: int = 10,
    width: int = 128,
    height: int = 96,
) -> CompositesSummary:
    """Make videos of real objects pasted on other real clips, or keep them if the folder holds the same ones.

    Each video is a clip of the source, cropped, with its own objects, over which objects of other clips move
    as they did in theirs: two to four in all, in random order from front to back. What is behind is hidden;
    an object of less than 12 visible pixels is absent. Edges are feathered by one source pixel.

    The first 60 % of each clip's frames serve training, the others validation, and no frame serves both. But
    the same objects and places are in both: this measures masks on real pixels, not how well a model knows
    new things. A clip too short for a video is run through forth and back.

    The classes are the source's categories that have an object. No other grouping is made, so give a source
    of few categories for a model that is to learn them from few clips.

    Args:
        folder: as `make_embedded` makes it, with the same files; it appears only when it is complete.
        annotations: a YouTube-VIS file with masks. A video with `"unannotated_same_class": true` lends its
            objects, but is no background: some of what is seen there is not in the file.
        images: the folder that its file_names are in.
        seed: another seed, another data set.
        train_videos, val_videos: number of videos of each split.
        train_frames, val_frames: frames of each video.
        width, height: of the frames in pixels.

    Raises:
        InputError: as `SourceClips`; a number that is too small; or a folder that holds something else,
            another data set as well; it is left as it is.

    >>> make_composites("runs/composites", "instances.json", "JPEGImages")        # doctest: +SKIP
    """
    canvas = (width * OVERSAMPLING, height * OVERSAMPLING)
    zoomed = tuple(round(side * BACKGROUND_ZOOM[1]) for side in canvas)
    source = SourceClips(annotations, images, zoomed)
    wanted = CompositesSummary(
        version=VERSION,
        seed=seed,
        width=width,
        height=height,
        train_videos=train_videos,
        train_frames=train_frames,
        val_videos=val_videos,
        val_frames=val_frames,
        sha256="",
        source_sha256=source.sha256,
    )

    def render(rng: Generator, split: str, length: int) -> RenderedVideo:
        for _ in range(MOST_TRIES):
            video = render_composite(rng, source, split, length, canvas)
            if len(video.categories) >= LEAST_OBJECTS:
                return video
        raise InputError(
            f"{annotations}: segmentations are too small or too rare: in {MOST_TRIES} tries no two objects "
            f"were seen with {LEAST_PIXELS} pixels; take out the videos in which there is little to see"
        )

    return make_dataset(folder, wanted, source.class_names, render)
