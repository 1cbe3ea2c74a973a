"""The default data set, made from a seed and written in the layout of `data/dataset_folder.py`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from maskfree_nb.data.dataset_folder import DatasetSummary, make_dataset
from maskfree_nb.data.embedded.camera import Shot
from maskfree_nb.data.embedded.scene import render_video
from maskfree_nb.data.embedded.shapes import CLASSES
from maskfree_nb.data.embedded.style import STYLES
from maskfree_nb.errors import InputError

VERSION = 3  # of the generator: the same version, seed and sizes give the same data


@dataclass(frozen=True)
class EmbeddedSummary(DatasetSummary):
    """What was made: the content of `dataset.json`."""

    NAME: ClassVar[str] = "embedded data set"

    style: str = "handheld"  # see `STYLES`

    def __str__(self) -> str:
        return super().__str__() + ("" if self.style == "handheld" else f", style {self.style}")


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
    style: str = "handheld",
) -> EmbeddedSummary:
    """Make the default data set, or keep it if the folder holds the same one already.

    Args:
        folder: made by this function; it appears only when it is complete.
        seed: another seed, another data set.
        train_videos, val_videos: number of videos of each split.
        train_frames, val_frames: frames of each video.
        width, height: of the frames in pixels.
        style: `handheld`, which resembles real clips, or `fixed`: a camera that stands still before a fine,
            strong texture, and faster objects.

    Raises:
        InputError: an unknown style; a number that is too small; or a folder that holds something else,
            another data set as well; it is left as it is.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "data"
    >>> make_embedded(folder, train_videos=1, val_videos=1).train_videos
    1
    """
    if style not in STYLES:
        raise InputError(f"style is {style!r}, expected one of {', '.join(STYLES)}")
    shot = partial(Shot, width, height, style=STYLES[style])
    wanted = EmbeddedSummary(
        version=VERSION,
        seed=seed,
        width=width,
        height=height,
        train_videos=train_videos,
        train_frames=train_frames,
        val_videos=val_videos,
        val_frames=val_frames,
        sha256="",
        style=style,
    )
    return make_dataset(
        folder,
        wanted,
        CLASSES,
        lambda rng, split, length: render_video(rng, split, shot(length=length)),
    )
