"""Annotations in another convention: of images, or with boxes other than [x, y, width, height] in pixels."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from maskfree_nb.errors import InputError, InputWarning

LEAST_SIDE = 16  # of a frame, in pixels: in a smaller one true boxes may look like shares
LEAST_SHARES, SHARES = 3, 0.9  # boxes that look like shares of the frame, and their part of all
LEAST_BEYOND, BEYOND = 4, 0.25  # boxes that reach beyond the frame, and their part of all


def refuse_coco(content: Mapping, path: Path) -> None:
    """Raise `InputError` if the content of an annotation file is that of images, as COCO has it."""
    sign = None
    if "images" in content and "videos" not in content:
        sign = "it has images and no videos"
    records = content.get("annotations")
    for index, record in enumerate(records if isinstance(records, list) else ()):
        if sign is None and isinstance(record, dict) and "bbox" in record and "bboxes" not in record:
            sign = f"annotations[{index}] has bbox and no bboxes"
    if sign is not None:
        raise InputError(
            f"{path}: looks like COCO, annotations of images: {sign}; YouTube-VIS is needed: videos with "
            "file_names, annotations with video_id and bboxes (one [x, y, width, height] a frame in pixels, "
            "null where absent), as maskfree_nb.data.annotations.write_annotations(path, categories, videos, "
            "masks=False) writes them"
        )


def check_boxes(records: Sequence[Mapping], videos: Mapping[int, Mapping], path: Path) -> None:
    """Look at all boxes together: each may be valid, and all of them something else than is meant.

    Args:
        records: annotations with `video_id` and `bboxes`, each box four finite numbers or None.
        videos: by id, with `width` and `height`.
        path: of the file, for messages.

    Raises:
        InputError: nearly all boxes are within the first two pixels of their frames and have fractions:
            shares of the frame.

    Warns:
        InputWarning: many boxes reach beyond the right or the lower side of the frame, as corners would.
    """
    rows = [
        (*box, videos[record["video_id"]]["width"], videos[record["video_id"]]["height"])
        for record in records
        for box in record["bboxes"]
        if box is not None and box[2] > 0 and box[3] > 0
    ]
    if not rows:
        return
    x, y, w, h, width, height = np.array(rows, dtype=np.float64).T
    numbers = np.array([x, y, w, h])
    fractions = (numbers != numbers.round()).any(0)  # whole numbers are pixels, however few
    shares = fractions & (np.abs(numbers).max(0) < 2) & (np.minimum(width, height) >= LEAST_SIDE)
    if shares.sum() >= max(LEAST_SHARES, SHARES * len(rows)):
        raise InputError(
            f"{path}: bboxes look like shares of the frame (0..1), {shares.sum()} of {len(rows)} are within "
            "its first two pixels; pixels are needed: multiply x and width by the frame's width, y and "
            "height by its height"
        )
    with np.errstate(over="ignore"):
        beyond = (x + w > width + 1) | (y + h > height + 1)
    if beyond.sum() >= max(LEAST_BEYOND, BEYOND * len(rows)):
        warnings.warn(
            f"{path}: bboxes reach beyond the frame, {beyond.sum()} of {len(rows)}: are they "
            "[x1, y1, x2, y2]? [x, y, width, height] is needed; what is beyond the frame is cut off",
            InputWarning,
            stacklevel=3,
        )
