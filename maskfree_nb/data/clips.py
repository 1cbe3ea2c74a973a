"""Training clips: T frames of one video in one random view, with the boxes of its objects."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from maskfree_nb.data import rle
from maskfree_nb.data.frames import FrameCache, read_frame, resize_shortest_edge
from maskfree_nb.data.sampling import (
    ClipConfig,
    check_length,
    draw_colour,
    draw_frames,
    draw_video,
    draw_view,
)
from maskfree_nb.data.tracks import Track, Video, VideoSet
from maskfree_nb.errors import InputError

PADDING = 32  # batches are padded to multiples of it: the model's coarsest stride


@dataclass(frozen=True, eq=False)
class Clip:
    """T frames and their N objects, each present in one of them at least.

    Attributes:
        frames: uint8 RGB [T, 3, H, W].
        boxes: float32 [N, T, 4], pixels, xyxy half open, NaN where absent.
        labels: int64 [N], 0-based category.
        masks: bool [N, T, H, W], empty where the box is absent; None where no masks were loaded.
        video_id: the video's id in the annotation file.
        frame_indices: the T frames' places in the video.
    """

    frames: Tensor
    boxes: Tensor
    labels: Tensor
    masks: Tensor | None
    video_id: int
    frame_indices: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """B clips, padded with zeros on the right and at the bottom to one size, a multiple of 32.

    Attributes:
        frames: uint8 RGB [B, T, 3, H, W].
        valid_hw: height and width of each clip without the padding.
        targets: the clips; their frames are views of `frames` without the padding.
    """

    frames: Tensor
    valid_hw: list[tuple[int, int]]
    targets: list[Clip]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "ClipBatch":
        """Return the batch with all of its tensors on `device`."""

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=non_blocking)

        targets = [
            replace(clip, boxes=moved(clip.boxes), labels=moved(clip.labels), masks=moved(clip.masks))
            for clip in self.targets
        ]
        return _batch(moved(self.frames), self.valid_hw, targets)


class ClipDataset(Dataset):
    """`length` clips of a video set, drawn from `seed`; clip i is the same in every process and every run.

    Args:
        video_set: the videos.
        config: how clips are drawn.
        seed: at least 0.
        length: the number of clips.
        cache_bytes: memory for decoded frames, in each process that loads clips.

    Raises:
        InputError: a video shorter than the clip, or no object, or none with a box, in the whole set.
    """

    def __init__(
        self, video_set: VideoSet, config: ClipConfig, seed: int, length: int, cache_bytes: int = 256 * 2**20
    ):
        for video in video_set.videos:
            check_length(video_set, video, config.num_frames)
        objects = [track for video in video_set.videos for track in video.tracks if not track.is_crowd]
        if not objects:
            raise InputError(
                f"{video_set.source}: annotations has no object to learn from (crowds do not count)"
            )
        if all(np.isnan(track.boxes).any(-1).all() for track in objects):
            raise InputError(
                f"{video_set.source}: bboxes has no box to learn from: all of them are null or have no width "
                "or no height; give [x, y, width, height] in pixels where an object is seen"
            )
        self.video_set, self.config, self.seed, self.length = video_set, config, seed, length
        self._cache = FrameCache(video_set, cache_bytes)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Clip:
        if not 0 <= index < self.length:
            raise IndexError(index)
        return sample_clip(self.video_set, index, self.seed, self.config, self._cache)


def sample_clip(
    video_set: VideoSet, index: int, seed: int, config: ClipConfig, cache: FrameCache | None = None
) -> Clip:
    """Draw clip number `index`, which depends on (seed, index) alone.

    Which video, which frames and which view of them: see `draw_video`, `draw_frames` and `draw_view`.

    Args:
        video_set: the videos.
        index: at least 0.
        seed: at least 0.
        config: how clips are drawn.
        cache: keeps decoded frames.

    Raises:
        InputError: the video is shorter than the clip, or a frame cannot be read.
    """
    video = video_set.videos[draw_video(len(video_set.videos), index, seed)]
    check_length(video_set, video, config.num_frames)
    rng = np.random.default_rng([seed, index])
    frame_indices = draw_frames(video.length, config, rng)
    view = draw_view(video.height, video.width, config, rng)
    gain, shift = draw_colour(config, rng)
    read = cache.read if cache else lambda video, frame: read_frame(video_set, video, frame)

    tracks = [track for track in video.tracks if not track.is_crowd]
    boxes = torch.zeros(len(tracks), len(frame_indices), 4)
    for row, track in zip(boxes, tracks, strict=True):
        row[:] = torch.from_numpy(track.boxes[frame_indices])
    boxes = view.boxes(boxes, config.min_box_size)
    kept = ~boxes[..., 0].isnan().all(-1)
    tracks = [track for track, keep in zip(tracks, kept, strict=True) if keep]
    return Clip(
        frames=_recolour(
            view.frames(torch.stack([read(video, frame) for frame in frame_indices])), gain, shift
        ),
        boxes=boxes[kept],
        labels=torch.tensor([track.category for track in tracks], dtype=torch.int64),
        masks=view.masks(_masks(tracks, video, frame_indices, boxes[kept])) if video_set.has_masks else None,
        video_id=video.id,
        frame_indices=tuple(frame_indices),
    )


def _recolour(frames: Tensor, gain: np.ndarray, shift: np.ndarray) -> Tensor:
    """Multiply and shift the channels of uint8 frames [T, 3, H, W]."""
    if (gain == 1).all() and (shift == 0).all():
        return frames
    gain, shift = (torch.from_numpy(value).float().view(3, 1, 1) for value in (gain, shift))
    return (frames * gain + shift).round_().clamp_(0, 255).to(torch.uint8)


def collate_clips(clips: Sequence[Clip]) -> ClipBatch:
    """Pad clips of the same T to the largest height and width, rounded up to multiples of 32.

    >>> frames = torch.ones(2, 3, 30, 40, dtype=torch.uint8)
    >>> clip = Clip(frames, torch.zeros(0, 2, 4), torch.zeros(0), None, 1, (0, 1))
    >>> collate_clips([clip]).frames.shape
    torch.Size([1, 2, 3, 32, 64])
    """
    valid_hw = [tuple(clip.frames.shape[-2:]) for clip in clips]
    height, width = (-(-max(sizes) // PADDING) * PADDING for sizes in zip(*valid_hw, strict=True))
    padded = [
        F.pad(clip.frames, (0, width - w, 0, height - h))
        for clip, (h, w) in zip(clips, valid_hw, strict=True)
    ]
    return _batch(torch.stack(padded), valid_hw, clips)


def video_frames(
    video_set: VideoSet, video: Video, shortest_edge: int | None = None, max_size: int | None = None
) -> Tensor:
    """Return all frames of a video as uint8 RGB [T, 3, H, W], resized if `shortest_edge` is given."""
    frames = torch.stack([read_frame(video_set, video, frame) for frame in range(video.length)])
    return frames if shortest_edge is None else resize_shortest_edge(frames, shortest_edge, max_size)


def _batch(frames: Tensor, valid_hw: list[tuple[int, int]], clips: Sequence[Clip]) -> ClipBatch:
    targets = [
        replace(clip, frames=padded[..., :h, :w])
        for clip, padded, (h, w) in zip(clips, frames, valid_hw, strict=True)
    ]
    return ClipBatch(frames, valid_hw, targets)


def _masks(tracks: list[Track], video: Video, frame_indices: list[int], boxes: Tensor) -> Tensor:
    masks = torch.zeros(len(tracks), len(frame_indices), video.height, video.width, dtype=torch.bool)
    for n, track in enumerate(tracks):
        for t, frame in enumerate(frame_indices):
            if track.segmentations[frame] is not None and not boxes[n, t, 0].isnan():
                masks[n, t] = torch.from_numpy(rle.decode(track.segmentations[frame]))
    return masks
