"""Writing YouTube-VIS annotation files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskfree_nb import atomic
from maskfree_nb.data import rle
from maskfree_nb.data.tracks import Category, Track, Video


def write_annotations(
    path: str | Path, categories: Sequence[Category], videos: Sequence[Video], *, masks: bool
) -> None:
    """Write a YouTube-VIS annotation file, atomically; `load_ytvis` reads the same values back.

    Args:
        path: the file to write.
        categories: of which `Track.category` is the 0-based index.
        videos: with their tracks.
        masks: whether to write the fields `segmentations` and `areas`; the tracks must then have masks.

    >>> import tempfile
    >>> boxes = np.float32([[1, 2, 4, 6], [np.nan] * 4])
    >>> video = Video(1, 8, 8, 2, ("a/0.jpg", "a/1.jpg"), (Track(1, 0, boxes),))
    >>> path = Path(tempfile.mkdtemp()) / "train.json"
    >>> write_annotations(path, [Category(1, "star")], [video], masks=False)
    >>> '"bboxes": [[1.0, 2.0, 3.0, 4.0], null]' in path.read_text()
    True
    """
    content = {
        "categories": [{"id": category.id, "name": category.name} for category in categories],
        "videos": [
            {
                "id": video.id,
                "width": video.width,
                "height": video.height,
                "length": video.length,
                "file_names": list(video.file_names),
            }
            for video in videos
        ],
        "annotations": [
            _annotation(track, video, categories, masks) for video in videos for track in video.tracks
        ],
    }
    atomic.write_json(path, content)


def _annotation(track: Track, video: Video, categories: Sequence[Category], masks: bool) -> dict:
    annotation = {
        "id": track.id,
        "video_id": video.id,
        "category_id": categories[track.category].id,
        "iscrowd": int(track.is_crowd),
        "width": video.width,
        "height": video.height,
        "length": video.length,
        "bboxes": [_xywh(box) for box in track.boxes],
    }
    if masks:
        annotation["segmentations"] = list(track.segmentations)
        annotation["areas"] = [mask and rle.area(mask) for mask in track.segmentations]
    return annotation


def _xywh(box: np.ndarray) -> list[float] | None:
    if np.isnan(box).any():
        return None
    x0, y0, x1, y1 = map(float, box)
    return [x0, y0, x1 - x0, y1 - y0]
