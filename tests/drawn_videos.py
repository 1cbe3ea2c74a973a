"""A small video set drawn on disk: bright rectangles that move over a dark frame, and their annotations."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from maskfree_nb.data import rle
from maskfree_nb.data.ytvis import load_ytvis

LENGTHS = {3: 5, 8: 4}  # by video id
SIZES = {3: (64, 48), 8: (56, 40)}  # width, height
STARTS = {17: (3, 10, 6, 20, 14), 18: (3, 30, 20, 9, 11), 40: (8, 5, 5, 12, 12)}  # video, x, y, w, h
SPEED = 3  # pixels a frame, to the right


def draw(folder: Path) -> dict:
    """Draw the frames under `folder`/JPEGImages and return the annotations, masks included."""
    videos, annotations = [], []
    for video, length in LENGTHS.items():
        width, height = SIZES[video]
        names = [f"{video}/{frame:05d}.jpg" for frame in range(length)]
        videos.append({"id": video, "width": width, "height": height, "length": length, "file_names": names})
        for frame, name in enumerate(names):
            pixels = np.full((height, width, 3), 20, dtype=np.uint8)
            for id in STARTS:
                x, y, w, h = box(id, frame)
                if STARTS[id][0] == video:
                    pixels[y : y + h, x : x + w] = 200
            path = folder / "JPEGImages" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, quality=95)
    for id, (video, *_) in STARTS.items():
        boxes = [box(id, frame) for frame in range(LENGTHS[video])]
        masks = [filled(rectangle, SIZES[video]) for rectangle in boxes]
        annotations.append(
            {
                "id": id,
                "video_id": video,
                "category_id": 5 if id == 17 else 2,
                "iscrowd": 0,
                "bboxes": boxes,
                "segmentations": [rle.encode(mask) for mask in masks],
                "areas": [int(mask.sum()) for mask in masks],
            }
        )
    categories = [{"id": 5, "name": "late"}, {"id": 2, "name": "early"}]
    return {"categories": categories, "videos": videos, "annotations": annotations}


def box(id: int, frame: int) -> list[int]:
    """The rectangle [x, y, w, h] of an annotation in a frame."""
    _, x, y, w, h = STARTS[id]
    return [x + SPEED * frame, y, w, h]


def filled(rectangle: list[int], size: tuple[int, int]) -> np.ndarray:
    """The bool mask [H, W] of a rectangle [x, y, w, h]."""
    x, y, w, h = rectangle
    mask = np.zeros(size[::-1], dtype=bool)
    mask[y : y + h, x : x + w] = True
    return mask


def without_masks(content: dict) -> dict:
    """The same annotations, boxes alone."""
    kept = [
        {key: value for key, value in annotation.items() if key not in ("segmentations", "areas")}
        for annotation in content["annotations"]
    ]
    return content | {"annotations": kept}


def load(folder: Path, content: dict, *, masks: bool = False, name: str = "train.json"):
    """Write `content` as an annotation file in `folder` and load it."""
    path = folder / name
    path.write_text(json.dumps(content))
    return load_ytvis(path, folder / "JPEGImages", masks=masks)


def tight_boxes(masks):
    """The tight box of each mask [..., H, W], NaN where it is empty."""
    boxes = torch.full((*masks.shape[:-2], 4), torch.nan)
    for place in np.ndindex(masks.shape[:-2]):
        rows, columns = masks[place].nonzero(as_tuple=True)
        if len(rows):
            boxes[place] = torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)).float()
    return boxes
