"""The frames of videos: opening, decoding, resizing, keeping them in memory."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from maskfree_nb.data.tracks import Video, VideoSet
from maskfree_nb.errors import InputError

READ_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # Pillow's, on bad files


@contextmanager
def opened_frame(video_set: VideoSet, video: Video, frame: int) -> Iterator[Image.Image]:
    """Open the image of one frame, not yet decoded; errors of its decoding name the file and its place.

    Raises:
        InputError: the file is missing, cannot be decoded, or has another size than the annotations say.
    """
    path = video_set.image_root / video.file_names[frame]
    where = f"{video_set.source}: video {video.id}: file_names[{frame}]: {path}"
    expected = (video.width, video.height)
    try:
        with Image.open(path) as image:
            if image.size == expected:
                yield image
    except FileNotFoundError as error:
        remedy = _folder_that_has(video.file_names[frame], video_set.image_root)
        raise InputError(f"{where} does not exist; {remedy}") from error
    except READ_ERRORS as error:
        raise InputError(f"{where} cannot be read as an image: {error}") from error
    if image.size != expected:
        given, wanted = (f"{width}x{height}" for width, height in (image.size, expected))
        raise InputError(f"{where} is {given} pixels, the annotations say {wanted} (width x height)")


def _folder_that_has(file_name: str, root: Path) -> str:
    """Say which folder near `root` the file's name is relative to, as it is not `root` itself."""
    if Path(file_name).is_absolute():
        return (
            "its whole path stands in file_names, so the folder of the images that was given does not matter"
        )
    name = escape(file_name)
    for found in (*root.glob(f"*/{name}"), *root.glob(f"*/*/{name}"), *root.parent.glob(name)):
        folder = str(found).removesuffix(file_name).rstrip("/")
        return f"there is such a file in {folder}: if file_names are relative to that, give that folder"
    return "file_names are relative to the folder of the images that was given"


def read_frame(video_set: VideoSet, video: Video, frame: int) -> Tensor:
    """Return one frame as uint8 RGB [3, H, W].

    Raises:
        InputError: as `opened_frame`.
    """
    with opened_frame(video_set, video, frame) as image:
        pixels = np.array(image.convert("RGB"))  # [H, W, 3]
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()  # [3, H, W]


def resize_shortest_edge(frames: Tensor, shortest_edge: int, max_size: int | None = None) -> Tensor:
    """Resize frames [T, 3, H, W] to the size of `shortest_edge_hw`.

    >>> resize_shortest_edge(torch.zeros(2, 3, 48, 96, dtype=torch.uint8), 24).shape
    torch.Size([2, 3, 24, 48])
    """
    return resize(frames, *shortest_edge_hw(*frames.shape[-2:], shortest_edge, max_size))


def shortest_edge_hw(
    height: int, width: int, shortest_edge: int, max_size: int | None = None
) -> tuple[int, int]:
    """Return (height, width) with the shorter edge at `shortest_edge`, or the longer at `max_size` if less.

    >>> shortest_edge_hw(720, 1280, 360), shortest_edge_hw(720, 1280, 360, max_size=320)
    ((360, 640), (180, 320))
    """
    scale = shortest_edge / min(height, width)
    if max_size is not None:
        scale = min(scale, max_size / max(height, width))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Resize uint8 frames [T, 3, H, W] bilinearly, with antialiasing."""
    if frames.shape[-2:] == (height, width):
        return frames
    return F.interpolate(frames, (height, width), mode="bilinear", antialias=True)


class FrameCache:
    """Decoded frames of one video set in memory; beyond `max_bytes` the least recently used are dropped.

    >>> cache = FrameCache(video_set, max_bytes=64 * 2**20)               # doctest: +SKIP
    >>> cache.read(video_set.videos[0], frame=3).shape                    # doctest: +SKIP
    torch.Size([3, 96, 128])
    """

    def __init__(self, video_set: VideoSet, max_bytes: int):
        self.video_set = video_set
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._frames: OrderedDict[tuple[int, int], Tensor] = OrderedDict()

    def read(self, video: Video, frame: int) -> Tensor:
        """Return one frame as uint8 RGB [3, H, W]; it is shared, so not to be written to."""
        key = (video.id, frame)
        if key in self._frames:
            self._frames.move_to_end(key)
            return self._frames[key]
        pixels = self._frames[key] = read_frame(self.video_set, video, frame)
        self.num_bytes += pixels.nbytes
        while self.num_bytes > self.max_bytes:
            _, dropped = self._frames.popitem(last=False)
            self.num_bytes -= dropped.nbytes
        return pixels
