"""What is random about a training clip: its video, its frames, its view of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskfree_nb.data.frames import shortest_edge_hw
from maskfree_nb.data.tracks import Video, VideoSet
from maskfree_nb.data.views import View
from maskfree_nb.errors import InputError

ORDERS = ("chronological", "shuffled")
VIDEO_ORDER = 1  # sets the random numbers that order the videos apart from those that draw a clip


@dataclass(frozen=True)
class ClipConfig:
    """How clips are drawn; every frame of a clip gets the same view.

    Attributes:
        num_frames: T.
        frame_range: how far, in frames, the others may be from the clip's reference frame.
        order: "chronological", or "shuffled" as the official code does.
        flip: probability of mirroring left and right.
        crop: height and width of a random crop, in pixels of the frame; None: no crop. A box that a crop cuts
            need not be tight around what is left of its object.
        crop_share: instead of `crop`, the range of the crop's height and width as shares of the frame's.
        image_sizes: shortest edges to draw from, in pixels, for the resize after the crop; empty: none.
        max_size: bound of the longest edge in that resize.
        colour: strength of a random change of colour, the same for all frames of a clip: each channel is
            multiplied by 1 ± colour and shifted by ± 64 colour grey levels.
        min_box_size: an object with a box narrower or lower, in pixels of the clip, counts as absent.

    Raises:
        InputError: a value out of its range.
    """

    num_frames: int = 3
    frame_range: int = 8
    order: str = "chronological"
    flip: float = 0.5
    crop: tuple[int, int] | None = None
    crop_share: tuple[float, float] | None = None
    image_sizes: Sequence[int] = ()
    max_size: int | None = None
    colour: float = 0.0
    min_box_size: float = 1.0

    def __post_init__(self):
        for name, valid, expected in (
            ("num_frames", self.num_frames >= 1, "at least 1"),
            ("frame_range", 2 * self.frame_range + 1 >= self.num_frames, "at least (num_frames - 1) / 2"),
            ("order", self.order in ORDERS, " or ".join(ORDERS)),
            ("flip", 0 <= self.flip <= 1, "a probability"),
            ("crop", self.crop is None or min(self.crop) >= 1, "(height, width) in pixels"),
            ("crop_share", self.crop_share is None or self._is_share_range(), "0 < low <= high <= 1"),
            ("crop_share", self.crop is None or self.crop_share is None, "None where crop is given"),
            ("image_sizes", all(size >= 1 for size in self.image_sizes), "sizes in pixels"),
            ("max_size", self.max_size is None or self.max_size >= 1, "a size in pixels"),
            ("max_size", self.max_size is None or self.image_sizes, "None where image_sizes is empty"),
            ("colour", 0 <= self.colour <= 1, "0..1"),
            ("min_box_size", self.min_box_size >= 0, "at least 0"),
        ):
            if not valid:
                raise InputError(f"clip option {name} is {getattr(self, name)}, expected {expected}")

    def _is_share_range(self) -> bool:
        low, high = self.crop_share
        return 0 < low <= high <= 1


def check_length(video_set: VideoSet, video: Video, num_frames: int) -> None:
    """Raise `InputError` if the video is shorter than the clip."""
    if video.length < num_frames:
        raise InputError(
            f"{video_set.source}: video {video.id} has {video.length} frames, a clip needs {num_frames} "
            f"(num_frames); take shorter clips or leave this video out"
        )


def draw_video(num_videos: int, index: int, seed: int) -> int:
    """Return the place of the video that clip `index` is taken from.

    With V videos, clips 0 .. V-1 take each video once, in random order, clips V .. 2V-1 in another order, and
    so on.

    >>> sorted(draw_video(5, index, seed=0) for index in range(5, 10))
    [0, 1, 2, 3, 4]
    """
    order = np.random.default_rng([seed, index // num_videos, VIDEO_ORDER]).permutation(num_videos)
    return int(order[index % num_videos])


def draw_frames(length: int, config: ClipConfig, rng: np.random.Generator) -> list[int]:
    """Draw a reference frame and T-1 others within `frame_range` of it, none twice.

    Where the start or the end of the video leaves fewer than T frames in that window, it reaches further into
    the video.

    >>> draw_frames(4, ClipConfig(num_frames=4), np.random.default_rng(0))
    [0, 1, 2, 3]
    """
    reference = int(rng.integers(length))
    start = max(min(reference - config.frame_range, length - config.num_frames), 0)
    stop = min(max(reference + config.frame_range + 1, config.num_frames), length)
    others = [frame for frame in range(start, stop) if frame != reference]
    frames = [reference, *rng.choice(others, config.num_frames - 1, replace=False).tolist()]
    return sorted(frames) if config.order == "chronological" else rng.permutation(frames).tolist()


def draw_view(height: int, width: int, config: ClipConfig, rng: np.random.Generator) -> View:
    """Draw the crop, the resize and the mirroring of a clip with frames of `height` x `width` pixels.

    >>> draw_view(48, 64, ClipConfig(flip=0, image_sizes=[24]), np.random.default_rng(0))
    View(top=0, left=0, height=48, width=64, out_height=24, out_width=32, mirrored=False)
    """
    h, w = height, width
    if config.crop is not None:
        h, w = min(config.crop[0], height), min(config.crop[1], width)
    elif config.crop_share is not None:
        share_h, share_w = rng.uniform(*config.crop_share, size=2)
        h, w = max(round(height * share_h), 1), max(round(width * share_w), 1)
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    out_h, out_w = h, w
    if config.image_sizes:
        out_h, out_w = shortest_edge_hw(h, w, int(rng.choice(config.image_sizes)), config.max_size)
    return View(top, left, h, w, out_h, out_w, mirrored=bool(rng.random() < config.flip))


def draw_colour(config: ClipConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw what each channel is multiplied by and shifted by, in grey levels: float64 [3] each."""
    gain = rng.uniform(1 - config.colour, 1 + config.colour, 3)
    return gain, rng.uniform(-64 * config.colour, 64 * config.colour, 3)
