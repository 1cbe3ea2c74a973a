"""Real clips with true masks as material: their frames, the cut-outs of their objects, their two splits."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from maskfree_nb.data import rle
from maskfree_nb.data.dataset_folder import digest_of
from maskfree_nb.data.frames import opened_frame
from maskfree_nb.data.tracks import Track, Video
from maskfree_nb.data.ytvis import load_ytvis, verify_images
from maskfree_nb.errors import InputError

TRAIN_SHARE = 0.6  # of a clip's frames, from its first; the others are for validation
LEAST_FRAMES = 4  # of a clip: two or more for each split
STEPS = {1: 0.9, 2: 0.1}  # source frames a frame, and with what probability
MOST_OBJECTS = 3  # of a background: one more is pasted
FRAMES_IN_MEMORY = 2048


class SourceClips:
    """A YouTube-VIS file with masks, and its images, as material for composites.

    Frames are kept in memory, and reduced before that if they are far larger than needed.

    Attributes:
        videos: those with an object that can be cut out.
        backgrounds: those of `videos` of which every object is known: they have at most three, no crowd
            region, and not the field `"unannotated_same_class": true`.
        class_names: of the categories that have an object, by ascending id.
        sha256: of the annotation file and all images.

    Args:
        annotations, images: as for `load_ytvis`.
        least_size: (width, height) that a reduced frame still covers.

    Raises:
        InputError: bad annotations or images, annotations without masks, fewer than two videos with objects,
            no video for a background, or a video of fewer than four frames.
    """

    def __init__(self, annotations: str | Path, images: str | Path, least_size: tuple[int, int]):
        self._set = load_ytvis(annotations, images, masks=True)
        self._least_size = least_size
        path = self._set.source
        self.videos = [video for video in self._set.videos if objects(video)]
        if len(self.videos) < 2:
            raise InputError(
                f"{path}: videos with objects in annotations: {len(self.videos)}, expected at least 2, "
                "for an object of one is pasted on another"
            )
        for video in self.videos:
            if video.length < LEAST_FRAMES:
                raise InputError(
                    f"{path}: video {video.id}: length is {video.length}, expected at least {LEAST_FRAMES}, "
                    "for training and validation share no frame; take this video out of the file"
                )
        partly = {
            video["id"]
            for video in json.loads(path.read_text("utf-8"))["videos"]
            if video.get("unannotated_same_class")
        }
        self.backgrounds = [
            video
            for video in self.videos
            if video.id not in partly and len(objects(video)) == len(video.tracks) <= MOST_OBJECTS
        ]
        if not self.backgrounds:
            raise InputError(
                f"{path}: no video can be a background: each has iscrowd regions, unannotated_same_class or "
                f"more than {MOST_OBJECTS} objects; add one of which every object is annotated"
            )
        verify_images(self._set)
        self.sha256 = digest_of(self._set)
        used = sorted({track.category for video in self.videos for track in objects(video)})
        self.class_names = [self._set.categories[category].name for category in used]
        self._class_index = {category: index for index, category in enumerate(used)}
        self.frame = lru_cache(FRAMES_IN_MEMORY)(self._frame)
        self.mask = lru_cache(FRAMES_IN_MEMORY)(self._mask)
        self._is_whole = lru_cache(None)(self._find_whole)

    def category(self, track: Track) -> int:
        """Return the index of an object's class in `class_names`."""
        return self._class_index[track.category]

    def draw_times(
        self, rng: Generator, video: Video, split: str, count: int, track: Track | None = None
    ) -> list[int]:
        """Draw consecutive frames of one split: every one, or every second one.

        A clip that is too short is run through forth and back. Of all runs, those are drawn from in which
        `track`, if given, is whole in the most frames.
        """
        middle = int(video.length * TRAIN_SHARE)
        first, length = (0, middle) if split == "train" else (middle, video.length - middle)
        step = int(rng.choice(list(STEPS), p=list(STEPS.values())))
        if (count - 1) * step >= length:
            step = 1
        starts = length - (count - 1) * step
        turn = 2 * length - 2  # frames until it begins anew
        there_and_back = [*range(length), *range(length - 2, 0, -1)]
        runs = [
            [first + there_and_back[(start + n * step) % turn] for n in range(count)]
            for start in range(starts if starts > 0 else turn)
        ]
        if track is None:
            return runs[rng.integers(len(runs))]
        whole = [sum(self._is_whole(track)[t] for t in run) for run in runs]
        return runs[rng.choice(np.flatnonzero(np.equal(whole, max(whole))))]

    def _frame(self, video: Video, t: int) -> Image.Image:
        with opened_frame(self._set, video, t) as image:
            return image.convert("RGB").resize(self._size(video), Image.Resampling.BOX)

    def _mask(self, video: Video, track: Track, t: int, feathered: bool) -> Image.Image | None:
        """Return the coverage of an object, 0..255; None where it is absent.

        Feathered, it fades towards the edge over one source pixel, inside, so that nothing of what was behind
        the object comes along.
        """
        if track.segmentations[t] is None:
            return None
        image = Image.fromarray(rle.decode(track.segmentations[t]).astype(np.uint8) * 255)
        if feathered:
            image = image.filter(ImageFilter.BoxBlur(1)).point(lambda value: max(0, 2 * value - 255))
        image = image.resize(self._size(video), Image.Resampling.BOX)
        return image if image.getbbox() else None

    def _find_whole(self, track: Track) -> list[bool]:
        """Return for every frame whether the object is there and does not touch the frame's border."""
        whole = []
        for rle_mask in track.segmentations:
            mask = np.zeros((1, 1), bool) if rle_mask is None else rle.decode(rle_mask)
            border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
            whole.append(bool(mask.any() and not border.any()))
        return whole

    def _size(self, video: Video) -> tuple[int, int]:
        """Return the (width, height) in which the frames of a video are kept."""
        scale = min(max(self._least_size[0] / video.width, self._least_size[1] / video.height), 1)
        return round(video.width * scale), round(video.height * scale)


def objects(video: Video) -> list[Track]:
    """Return the tracks of single objects that are seen in some frame; crowd regions are none."""
    return [track for track in video.tracks if not track.is_crowd and any(track.segmentations)]
