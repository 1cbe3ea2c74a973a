"""The default data set, made from a seed and written in the layout of `data/dataset_folder.py`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from maskfree_nb.data.dataset_folder import DatasetSummary, make_dataset
from maskfree_nb.data.embedded.camera import Shot
from maskfree_nb.data.embedded.scene import render_video
from maskfree_nb.data.embedded.shapes import CLASSES

VERSION = 3  # of the generator: the same version, seed and sizes give the same data


@dataclass(frozen=True)
class EmbeddedSummary(DatasetSummary):
    """What was made: the content of `dataset.json`."""

    NAME: ClassVar[str] = "embedded data set"


def make_embedded(
    folder: str | Path,
    seed: int = 0,
    *,
    train_videos: int = 240,
    val_videos: int = 50,
    train_frames: int = 10,
    val_frames: int = 10,
    width: int = 128,
    height: int = 96,
) -> EmbeddedSummary:
    """Make the default data set, or keep it if the folder holds the same one already.

    Args:
        folder: made by this function; it appears only when it is complete.
        seed: another seed, another data set.
        train_videos, val_videos: number of videos of each split.
        train_frames, val_frames: frames of each video.
        width, height: of the frames in pixels.

    Raises:
        InputError: a number that is too small, or a folder that holds something else than a data set made by
            this function; it is left as it is.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "data"
    >>> make_embedded(folder, train_videos=1, val_videos=1).train_videos
    1
    """
    wanted = EmbeddedSummary(
        VERSION, seed, width, height, train_videos, train_frames, val_videos, val_frames, sha256=""
    )
    return make_dataset(
        folder,
        wanted,
        CLASSES,
        lambda rng, split, length: render_video(rng, split, Shot(width, height, length)),
    )
