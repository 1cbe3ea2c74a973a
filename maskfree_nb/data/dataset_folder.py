"""A made data set on disk, in the YouTube-VIS layout.

folder/train.json          boxes only: no masks, no areas
folder/train_oracle.json   the same videos with their true masks
folder/val.json            with masks
folder/train/JPEGImages/<video>/<frame>.jpg, folder/val/JPEGImages/<video>/<frame>.jpg
folder/dataset.json        the `DatasetSummary`: version, seed, sizes, SHA-256 of all the rest
"""

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
from PIL import Image

from maskfree_nb import atomic
from maskfree_nb.data import rle
from maskfree_nb.data.annotations import write_annotations
from maskfree_nb.data.tracks import Category, Track, Video, VideoSet
from maskfree_nb.errors import InputError

MANIFEST = "dataset.json"
JPEG_QUALITY = 95
SPLITS = ("train", "val")
LEAST = dict(seed=0, width=32, height=32, train_videos=1, train_frames=1, val_videos=1, val_frames=1)


@dataclass(frozen=True)
class DatasetSummary:
    """What was made: the content of `dataset.json`. `sha256` is "" before it is made."""

    NAME: ClassVar[str] = "data set"

    version: int
    seed: int
    width: int
    height: int
    train_videos: int
    train_frames: int  # of each video
    val_videos: int
    val_frames: int
    sha256: str

    def __str__(self) -> str:
        return (
            f"{self.NAME}, version {self.version}, seed {self.seed}: "
            f"{self.train_videos} x {self.train_frames} training and {self.val_videos} x {self.val_frames} "
            f"validation frames of {self.width}x{self.height}, sha256 {self.sha256[:16]}"
        )


Summary = TypeVar("Summary")  # `DatasetSummary`, or another dataclass with a `sha256`


@dataclass(frozen=True, eq=False)
class RenderedVideo:
    """Frames with their true masks.

    Attributes:
        frames: uint8 [T, H, W, 3].
        masks: bool [N, T, H, W], the visible part of every object.
        categories: of the N objects, indices into the data set's class names.
    """

    frames: np.ndarray
    masks: np.ndarray
    categories: tuple[int, ...]


def make_dataset(
    folder: str | Path,
    wanted: Summary,
    class_names: Sequence[str],
    render: Callable[[np.random.Generator, str, int], RenderedVideo],
) -> Summary:
    """Make a data set, or keep it if the folder holds the same one already.

    Args:
        folder: made by this function; it appears only when it is complete.
        wanted: what to make, with `sha256` = "".
        class_names: of which `RenderedVideo.categories` are indices.
        render: makes one video from a random generator of its own, the split and the number of frames.

    Raises:
        InputError: a number that is too small, or a folder that holds something else, another data set as
            well; it is left as it is.
    """
    _check_sizes(wanted)

    def fill(made: Path) -> str:
        digest = hashlib.sha256()
        for split in SPLITS:
            _make_split(made, split, wanted, class_names, render, digest)
        return digest.hexdigest()

    return make_folder(folder, wanted, fill)


def make_folder(folder: str | Path, wanted: Summary, fill: Callable[[Path], str]) -> Summary:
    """Make the folder of a data set, or keep it, and all else in it, if it holds the same one already.

    Nothing that exists is ever removed. What is interrupted leaves no folder, so that it is made anew.

    Args:
        folder: missing or empty, or with the same data set; it appears only when it is complete.
        wanted: what to make, with `sha256` = "".
        fill: writes everything but the manifest into an empty folder and returns the SHA-256.

    Returns:
        `wanted` with its `sha256`.

    Raises:
        InputError: as `make_dataset`.
    """
    folder = Path(folder)
    existing = _existing(folder, wanted)
    if existing:
        return existing

    target = folder.resolve()  # a link is followed
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        made = Path(temporary) / target.name
        summary = replace(wanted, sha256=fill(made))
        atomic.write_json(made / MANIFEST, asdict(summary), indent=2)
        try:
            made.replace(target)  # onto an empty folder or none
        except OSError:
            if existing := _existing(folder, wanted):  # another process was faster
                return existing
            raise
    return summary


def digest_of(video_set: VideoSet) -> str:
    """SHA-256 of an annotation file and of all its images, in hexadecimal digits."""
    digest = hashlib.sha256(video_set.source.read_bytes())
    for video in video_set.videos:
        for name in video.file_names:
            digest.update((video_set.image_root / name).read_bytes())
    return digest.hexdigest()


def _check_sizes(wanted: DatasetSummary) -> None:
    for name, least in LEAST.items():
        if getattr(wanted, name) < least:
            raise InputError(f"{name} is {getattr(wanted, name)}, expected at least {least}")


def _existing(folder: Path, wanted: Summary) -> Summary | None:
    """The summary of the wanted data set if it is there, None if nothing is; all else is refused."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    remedy = "name another folder, or remove it"
    now, content = _options(asdict(wanted)), None
    try:
        content = json.loads((folder / MANIFEST).read_text())
        existing = type(wanted)(**content)
    except (OSError, ValueError, TypeError) as error:
        if isinstance(content, dict) and "sha256" in content:
            raise InputError(
                f"{folder}: holds a data set of another kind or release ({_listed(_options(content))}), "
                f"one with {_listed(now)} was asked for; {remedy}"
            ) from error
        raise InputError(f"{folder}: exists and is not a data set made by this program; {remedy}") from error
    before = asdict(existing)
    others = {name: value for name, value in now.items() if value != before[name]}
    if others:
        raise InputError(
            f"{folder}: holds another data set ({existing}), one with {_listed(others)} was asked for; "
            f"{remedy}"
        )
    return existing


def _options(content: dict) -> dict:
    return {name: value for name, value in content.items() if name != "sha256"}


def _listed(options: dict) -> str:
    return ", ".join(f"{name} {str(value)[:16]}" for name, value in options.items())


def _make_split(
    folder: Path, split: str, wanted: DatasetSummary, class_names: Sequence[str], render: Callable, digest
) -> None:
    """Write the images and the annotation files of one split; feed all of their bytes to `digest`."""
    count, length = getattr(wanted, f"{split}_videos"), getattr(wanted, f"{split}_frames")
    videos = []
    next_track = 1
    for number in range(1, count + 1):
        rng = np.random.default_rng([wanted.version, wanted.seed, SPLITS.index(split), number])
        rendered = render(rng, split, length)
        file_names = tuple(f"{number:05d}/{t:05d}.jpg" for t in range(length))
        for name, frame in zip(file_names, rendered.frames, strict=True):
            path = folder / split / "JPEGImages" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            content = _jpeg(frame)
            path.write_bytes(content)
            digest.update(content)
        tracks = _tracks(rendered, next_track)
        next_track += len(tracks)
        videos.append(Video(number, wanted.width, wanted.height, length, file_names, tracks))
    categories = [Category(id, name) for id, name in enumerate(class_names, start=1)]
    files = {"train": {"train.json": False, "train_oracle.json": True}, "val": {"val.json": True}}[split]
    for name, masks in files.items():
        write_annotations(folder / name, categories, videos, masks=masks)
        digest.update((folder / name).read_bytes())


def _jpeg(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _tracks(video: RenderedVideo, first_id: int) -> tuple[Track, ...]:
    return tuple(
        Track(
            id=first_id + n,
            category=category,
            boxes=np.stack([_box(mask) for mask in masks]),
            segmentations=tuple(rle.encode(mask) if mask.any() else None for mask in masks),
        )
        for n, (category, masks) in enumerate(zip(video.categories, video.masks, strict=True))
    )


def _box(mask: np.ndarray) -> np.ndarray:
    """Return the box of a bool mask [H, W] as float32 xyxy, half open; NaN for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return np.full(4, np.nan, dtype=np.float32)
    return np.float32([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
