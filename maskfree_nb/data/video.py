"""Frames in and out: folders of images, video files, GIFs."""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from maskfree_nb import atomic
from maskfree_nb.data.frames import READ_ERRORS
from maskfree_nb.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
END_TOLERANCE = 0.5  # seconds that a mkv may end before it says, for writers that round
FOLDER_FPS = 6.0  # a folder has no rate; YouTube-VIS keeps every fifth frame of 30 a second


def read_frames(path: str | Path, max_frames: int | None = None) -> tuple[Tensor, float, list[str]]:
    """Read all frames of a folder of images or of a video file.

    Images come in natural order (`2.jpg` before `10.jpg`); both are turned upright as their file says.

    Args:
        path: a folder of jpg, png, bmp or webp images of one size, or a video (mp4, avi, mov, ...).
        max_frames: read no more than these; None: all.

    Returns:
        (frames, fps, names): uint8 RGB [T, 3, H, W]; frames per second, 6 for a folder; the images' file
        names, or the frames' numbers as `00000`.

    Raises:
        InputError: no such path, nothing to read in it, a damaged image, frames of several sizes, no video,
            or a video that is cut short. The last says how many frames are good.

    >>> frames, fps, names = read_frames("holiday.mp4", max_frames=100)             # doctest: +SKIP
    """
    if max_frames is not None and max_frames < 1:
        raise InputError(f"max_frames is {max_frames}, expected at least 1")
    frames, names = [], []
    for name, frame in islice(stream_frames(path), max_frames):
        frames.append(frame)
        names.append(name)
    return torch.stack(frames), frame_rate(path), names


def stream_frames(path: str | Path) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, uint8 RGB [3, H, W]) of one frame after another, for what does not fit into memory.

    Arguments and errors are those of `read_frames`.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder, expected a folder of images or a video file")
    size = first = None
    for name, frame in _stream_folder(path) if path.is_dir() else _stream_video(path):
        if size is None:
            size, first = frame.shape[-2:], name
        if frame.shape[-2:] != size:
            given, expected = (f"{width}x{height}" for height, width in (frame.shape[-2:], size))
            raise InputError(
                f"{path}: frame {name} is {given} pixels, {first} is {expected} (width x height)"
            )
        yield name, frame
    if size is None:
        raise InputError(f"{path}: holds no frame that can be read")


def frame_rate(path: str | Path) -> float:
    """The frames per second of a video file, 6 for a folder of images."""
    if Path(path).is_dir():
        return FOLDER_FPS
    with _opened(Path(path)) as container:
        stream = container.streams.video[0]
        return float(stream.average_rate or stream.guessed_rate or FOLDER_FPS)


def write_mp4(path: str | Path, frames: Tensor | Iterable[Tensor], fps: float) -> None:
    """Write an mp4 (H.264, 4:2:0) that browsers play, atomically.

    H.264 needs even sizes: an odd one gets its last row or column twice.

    Args:
        path: the file, with the suffix `.mp4`.
        frames: uint8 RGB [T, 3, H, W], or one [3, H, W] after another.
        fps: frames per second, above 0.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "film.mp4"
    >>> write_mp4(path, torch.zeros(3, 3, 25, 31, dtype=torch.uint8), fps=6)
    >>> read_frames(path)[0].shape
    torch.Size([3, 3, 26, 32])
    """
    import av

    rate, frames = _rate(fps), _not_empty(path, frames)
    with (
        atomic.replacing(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"}) as film,
    ):
        stream = film.add_stream("libx264", rate=rate, options={"crf": "20"})
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            pixels = np.pad(
                _pixels(frame), [(0, frame.shape[1] % 2), (0, frame.shape[2] % 2), (0, 0)], "edge"
            )
            if not stream.codec_context.is_open:
                stream.height, stream.width = pixels.shape[:2]
            film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        film.mux(stream.encode())


def write_gif(path: str | Path, frames: Tensor | Iterable[Tensor], fps: float) -> None:
    """Write an endless GIF, atomically; one palette, taken from all over it, serves all frames: no flicker.

    Args:
        path: the file, with the suffix `.gif`.
        frames: uint8 RGB [T, 3, H, W], or one [3, H, W] after another.
        fps: frames per second, above 0; GIF keeps whole hundredths of a second a frame.
    """
    rate = _rate(fps)
    images = [Image.fromarray(_pixels(frame)) for frame in _not_empty(path, frames)]
    sample = images[:: max(len(images) // 8, 1)]
    sheet = np.concatenate([np.asarray(image) for image in sample])
    palette = Image.fromarray(sheet).quantize(256, method=Image.Quantize.MEDIANCUT)
    first, *rest = [image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for image in images]
    with atomic.replacing(path) as temporary:
        first.save(temporary, "GIF", save_all=True, append_images=rest, duration=1000 / float(rate), loop=0)


def _stream_folder(folder: Path) -> Iterator[tuple[str, Tensor]]:
    images = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    images = sorted((path for path in images if not path.name.startswith(".")), key=_natural)
    if not images:
        raise InputError(f"{folder}: holds no image, expected files *{', *'.join(IMAGE_SUFFIXES)}")
    for path in images:
        try:
            with Image.open(path) as image:
                pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
        except READ_ERRORS as error:
            raise InputError(f"{path}: cannot be read as an image: {error}") from error
        yield path.name, torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _stream_video(path: Path) -> Iterator[tuple[str, Tensor]]:
    count = 0
    with _opened(path) as container:
        for frame in _decoded(path, container):
            pixels = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))  # upright
            yield f"{count:05d}", torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()
            count += 1


def _decoded(path: Path, container) -> Iterator:
    """Yield the frames of a video; at the end of what can be read, raise if there should have been more.

    A file that was cut short shows in one of four ways: an error; a packet that is marked as corrupt; or,
    where the cut falls between two packets, fewer packets than the index of an mp4 lists or an end before the
    one that a mkv or webm declares.
    """
    import av

    stream = container.streams.video[0]
    listed, packets, frames, problem = len(stream.index_entries), 0, 0, None
    declared, end = _declared_end(container), 0.0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                problem = f"packet {packets} is damaged"
                for frame in stream.codec_context.decode(None):  # what the decoder still holds back
                    frames += 1
                    yield frame
                break
            packets += packet.size > 0
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            for frame in packet.decode():
                frames += 1
                yield frame
        else:
            if packets < listed:
                problem = f"the file ends, though its index lists {listed}"
            elif 0 < end < declared - END_TOLERANCE:
                problem = f"the file ends at {end:.1f} seconds, though it declares {declared:.1f}"
    except av.error.FFmpegError as error:
        problem = error.strerror
    if problem:
        remedy = f"; or take the good part with max_frames={frames}" if frames else ""
        raise InputError(
            f"{path}: is cut short or damaged: {frames} frames could be read, then {problem}. Copy or export "
            f"it again{remedy}"
        )


def _declared_end(container) -> float:
    """When the video of a mkv or webm should end, in seconds; 0 where that is not said."""
    if "matroska" not in container.format.name:  # others inherit the tag from what they were made of
        return 0.0
    tags = container.streams.video[0].metadata.items()
    text = next((value for name, value in tags if name.startswith("DURATION")), "")
    if not re.fullmatch(r"\d+:\d+:\d+(\.\d+)?", text):
        return 0.0
    hours, minutes, seconds = text.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def _opened(path: Path):
    import av

    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as a video ({error.strerror}). If it is an mp4, it may be cut short: "
            "its index often comes last. Copy or export it again"
        ) from error
    if not container.streams.video:
        container.close()
        raise InputError(f"{path}: holds no video stream")
    return container


def _natural(path: Path) -> list:
    """Sort key under which numbers in names count as numbers."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def _rate(fps: float) -> Fraction:
    if not 0 < fps < 1000:
        raise InputError(f"fps is {fps}, expected frames per second above 0")
    return Fraction(fps).limit_denominator(1001)


def _not_empty(path: str | Path, frames: Tensor | Iterable[Tensor]) -> Iterator[Tensor]:
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise InputError(f"{path}: there is no frame to write")
    return chain([first], frames)


def _pixels(frame: Tensor) -> np.ndarray:
    return frame.permute(1, 2, 0).contiguous().cpu().numpy()  # [H, W, 3]
