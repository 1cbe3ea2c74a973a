"""The YouTube-VIS annotation format, read with boxes alone or with masks.

    {"categories":  [{"id", "name"}],
     "videos":      [{"id", "width", "height", "length", "file_names": [length]}],
     "annotations": [{"id", "video_id", "category_id", "iscrowd" (optional, 0),
                      "bboxes": [length] of [x, y, w, h] in pixels, or null where the object is absent,
                      "segmentations" (only read for masks): [length] of RLE or null}]}

A track needs boxes, never masks. (The loader of the official code skips a frame without a segmentation, so
that a file of boxes gives no instance at all there.)
"""

import json
import reprlib
import sys
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from maskfree_nb.data import rle
from maskfree_nb.data.conventions import check_boxes, refuse_coco
from maskfree_nb.data.frames import opened_frame
from maskfree_nb.data.tracks import Category, Track, Video, VideoSet
from maskfree_nb.errors import InputError

MASK_FIELDS = ("segmentations", "areas")
JPEG_END = b"\xff\xd9"


def load_ytvis(json_path: str | Path, image_root: str | Path, *, masks: bool) -> VideoSet:
    """Read a YouTube-VIS annotation file; the images are not touched (see `verify_images`).

    With `masks=False` the fields `segmentations` and `areas` are dropped while the file is parsed: nothing
    after the parser can depend on them. A box that reaches over the frame's border is clipped to the frame.
    One that is null, or has no width or no height, means that the object is absent in that frame.

    Args:
        json_path: the annotation file.
        image_root: the folder that the file's `file_names` are relative to.
        masks: whether to read `segmentations`, which every annotation must then have.

    Raises:
        InputError: a file that is missing, cut short or not in this format, or a box that is not finite, has
            a negative size or lies wholly outside the frame; it names file, annotation, video and field. Also
            boxes that look like shares of the frame.

    Warns:
        InputWarning: many boxes reach beyond the frame.

    >>> video_set = load_ytvis("valid.json", "valid/JPEGImages", masks=False)      # doctest: +SKIP
    >>> video_set.videos[0].tracks[0].boxes.shape                                  # doctest: +SKIP
    (36, 4)
    """
    path = Path(json_path)
    content = _read_json(path, drop=() if masks else MASK_FIELDS)
    refuse_coco(content, path)
    categories = _read_categories(content, path)
    videos = _read_videos(content, path)
    tracks = _read_tracks(content, path, categories, videos, masks)
    check_boxes(content.get("annotations") or [], videos, path)
    return VideoSet(
        categories=categories,
        videos=tuple(Video(**fields, tracks=tuple(tracks[id])) for id, fields in videos.items()),
        image_root=Path(image_root),
        source=path,
        has_masks=masks,
    )


def verify_images(video_set: VideoSet, decode_at_most: int = 4096) -> None:
    """Check that every frame's file is there, whole, and of the size that the annotations say.

    Up to `decode_at_most` frames in all are decoded in full. In a larger set only a JPEG's header and its end
    marker, which a file cut short lacks, are read; other formats are always decoded.

    Raises:
        InputError: the first file that fails, with its video and its place in `file_names`.
    """
    if not video_set.image_root.is_dir():
        raise InputError(f"{video_set.image_root}: no such folder, expected the images of {video_set.source}")
    decode = sum(video.length for video in video_set.videos) <= decode_at_most
    for video in video_set.videos:
        for frame in range(video.length):
            with opened_frame(video_set, video, frame) as image:
                if decode or image.format != "JPEG":
                    image.load()
                else:
                    _check_jpeg_end(image)


def _check_jpeg_end(image: Image.Image) -> None:
    size = image.fp.seek(0, 2)
    image.fp.seek(max(size - 1024, 0))  # some writers pad after the marker
    if JPEG_END not in image.fp.read():
        raise OSError("image file is truncated, its end marker is missing")


def _read_json(path: Path, drop: tuple[str, ...]) -> dict:
    def without_dropped(pairs: list[tuple[str, object]]) -> dict:
        return {key: value for key, value in pairs if key not in drop}

    try:
        content = json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=without_dropped)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: line {error.lineno}, character {error.colno}: not valid JSON ({error.msg}); "
            "the file may be cut short"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start}: not UTF-8 text, so not a JSON file") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected a YouTube-VIS object")
    return content


def _read_categories(content: dict, path: Path) -> tuple[Category, ...]:
    categories = {}
    for index, record in enumerate(_records(content, "categories", path)):
        where = f"{path}: categories[{index}]"
        id = _field(record, "id", int, where)
        if id in categories:
            raise InputError(f"{where}: id {id} is taken already, category ids must differ")
        categories[id] = Category(id, _field(record, "name", str, where))
    return tuple(categories[id] for id in sorted(categories))


def _read_videos(content: dict, path: Path) -> dict[int, dict]:
    videos = {}
    for index, record in enumerate(_records(content, "videos", path)):
        id = _field(record, "id", int, f"{path}: videos[{index}]")
        where = f"{path}: video {id}"
        if id in videos:
            raise InputError(f"{where}: this id is taken already, video ids must differ")
        video = {name: _field(record, name, int, where) for name in ("width", "height", "length")}
        for name, value in video.items():
            if value < 1:
                raise InputError(f"{where}: {name} is {value}, expected at least 1")
        file_names = _field(record, "file_names", list, where)
        if len(file_names) != video["length"]:
            raise InputError(f"{where}: file_names has {len(file_names)} entries, expected {video['length']}")
        for frame, name in enumerate(file_names):
            if not _stays_inside(name):
                raise InputError(
                    f"{where}: file_names[{frame}] is {name!r}, expected a path inside the image folder"
                )
        videos[id] = {"id": id, **video, "file_names": tuple(file_names)}
    return videos


def _read_tracks(
    content: dict, path: Path, categories: tuple[Category, ...], videos: dict[int, dict], masks: bool
) -> dict[int, list[Track]]:
    category_index = {category.id: index for index, category in enumerate(categories)}
    tracks = {id: [] for id in videos}
    taken = set()
    for index, record in enumerate(_records(content, "annotations", path)):
        id = _field(record, "id", int, f"{path}: annotations[{index}]")
        video_id = _field(record, "video_id", int, f"{path}: annotation {id}")
        if video_id not in videos:
            raise InputError(f"{path}: annotation {id}: video_id is {video_id}, the file has no such video")
        where, video = f"{path}: annotation {id} of video {video_id}", videos[video_id]
        if id in taken:
            raise InputError(f"{where}: this id is taken already, annotation ids must differ")
        taken.add(id)
        category_id = _field(record, "category_id", int, where)
        if category_id not in category_index:
            known = ", ".join(map(str, category_index))
            raise InputError(f"{where}: category_id is {category_id}, the file's categories are {known}")
        for name in ("width", "height", "length"):
            if record.get(name, video[name]) != video[name]:
                raise InputError(f"{where}: {name} is {record[name]}, that of the video is {video[name]}")
        if record.get("iscrowd", 0) not in (0, 1):
            raise InputError(f"{where}: iscrowd is {record['iscrowd']!r}, expected 0 or 1")
        track = Track(
            id=id,
            category=category_index[category_id],
            boxes=_read_boxes(_per_frame(record, "bboxes", video, where), video, where),
            segmentations=_read_masks(record, video, where) if masks else None,
            is_crowd=bool(record.get("iscrowd", 0)),
        )
        tracks[video_id].append(track)
    return tracks


def _read_boxes(entries: list, video: dict, where: str) -> np.ndarray:
    """Return the boxes of all frames as float32 [length, 4] xyxy, clipped to the frame, NaN where absent."""
    boxes = np.full((len(entries), 4), np.nan, dtype=np.float32)
    width, height = video["width"], video["height"]
    for frame, box in enumerate(entries):
        if box is None:
            continue
        given = f"{where}: bboxes[{frame}] is {box}"
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_finite, box))):
            raise InputError(f"{given}, expected four finite numbers [x, y, width, height] or null")
        x, y, w, h = map(float, box)
        if w < 0 or h < 0:
            raise InputError(f"{given}, its width and height must not be negative")
        if w == 0 or h == 0:
            continue
        if x >= width or y >= height or x + w <= 0 or y + h <= 0:
            raise InputError(f"{given}, which lies outside the frame of {width}x{height} (null means absent)")
        clipped = np.float32([max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)])
        if (clipped[2:] > clipped[:2]).all():
            boxes[frame] = clipped
    return boxes


def _read_masks(record: dict, video: dict, where: str) -> tuple[rle.Rle | None, ...]:
    if "segmentations" not in record:
        raise InputError(
            f"{where}: segmentations is missing; masks were asked for, but this file holds boxes alone "
            "(supervision by boxes needs no masks)"
        )
    masks = []
    for frame, entry in enumerate(_per_frame(record, "segmentations", video, where)):
        try:
            masks.append(None if entry is None else rle.checked(entry, video["height"], video["width"]))
        except ValueError as error:
            raise InputError(f"{where}: segmentations[{frame}]: {error}") from error
    return tuple(masks)


def _records(content: dict, name: str, path: Path) -> list[dict]:
    """Return the list `name`; `annotations` alone may be missing, null or empty (a set without labels)."""
    records = content.get(name)
    if records is None and name == "annotations":
        return []
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InputError(f"{path}: {name} is missing or not a list of objects")
    if not records and name != "annotations":
        raise InputError(f"{path}: {name} is empty")
    return records


def _per_frame(record: dict, name: str, video: dict, where: str) -> list:
    entries = _field(record, name, list, where)
    length = video["length"]
    if len(entries) != length:
        raise InputError(f"{where}: {name} has {len(entries)} entries, the video has {length} frames")
    return entries


def _field(record: dict, name: str, kind: type, where: str):
    if name not in record:
        raise InputError(f"{where}: {name} is missing")
    if type(record[name]) is not kind:
        raise InputError(f"{where}: {name} is {reprlib.repr(record[name])}, expected {kind.__name__}")
    return record[name]


def _is_finite(value) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _stays_inside(name) -> bool:
    if type(name) is not str or "\0" in name:
        return False
    parts = PurePosixPath(name).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts
