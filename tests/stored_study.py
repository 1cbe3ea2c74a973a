"""A study with results on disk, of three objects in videos of their own, for what measures stored runs."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from maskfree_nb.data import rle
from maskfree_nb.evaluation import mean_track_iou

LENGTH, HEIGHT, WIDTH = 3, 30, 41
SQUARE = (slice(8, 18), slice(10, 20))  # 10 x 10; 6 x 6 of it are more than 2 pixels from its outline
ROWS = {"masks": "true masks", "boxes": "losses of boxes", "boxinst": "without TK"}


def empty() -> np.ndarray:
    return np.zeros((LENGTH, HEIGHT, WIDTH), dtype=bool)


def square() -> np.ndarray:
    """Present in the frames 1 and 2: 200 pixels."""
    mask = empty()
    mask[(slice(1, None), *SQUARE)] = True
    return mask


def angle() -> np.ndarray:
    """A square of 12 x 12 pixels, of which 8 x 8 at a corner are missing, in every frame: 240 pixels."""
    mask = empty()
    mask[:, 5:17, 20:32] = True
    mask[:, 9:17, 24:32] = False
    return mask


def large() -> np.ndarray:
    """It reaches the border of the frame on three sides, where there is no outline: 3 x 30 x 20 pixels."""
    mask = empty()
    mask[:, :, :20] = True
    return mask


TRUTHS = {1: square(), 2: angle(), 3: large()}  # in videos of their own; 100, 80 and 600 pixels a frame
DATA = {
    "version": 3, "seed": 0, "width": WIDTH, "height": HEIGHT, "train_videos": 1, "train_frames": 1,
    "val_videos": len(TRUTHS), "val_frames": LENGTH, "sha256": "0" * 64,
}  # fmt: skip
SOURCE = {**DATA, "kind": "composites", "source_sha256": "1" * 64}


def track(id: int, mask: np.ndarray, **changes) -> dict:
    masks = [rle.encode(frame) if frame.any() else None for frame in mask]
    return {"video_id": id, "category_id": 1, "score": 0.5, "segmentations": masks, **changes}


def store(folder: Path, results: dict[str, list[dict]], data: dict = DATA, seeds=(0,)) -> Path:
    """Write a study: frames, truths, and the same results for every seed of a row."""
    videos, annotations = [], []
    for id, mask in TRUTHS.items():
        names = [f"{id}/{frame}.jpg" for frame in range(LENGTH)]
        videos.append({"id": id, "width": WIDTH, "height": HEIGHT, "length": LENGTH, "file_names": names})
        for name, frame in zip(names, mask, strict=True):
            image = folder / "data" / "val" / "JPEGImages" / name
            image.parent.mkdir(parents=True, exist_ok=True)
            colours = np.where(frame[..., None], (200, 80, 30), (40, 60, 90))
            Image.fromarray(colours.astype(np.uint8)).save(image)
        boxes = [[0, 0, 1, 1] if frame.any() else None for frame in mask]
        annotations.append({**track(id, mask), "id": 10 * id, "bboxes": boxes, "iscrowd": 0})
    crowd = {**annotations[0], "id": 99, "iscrowd": 1}
    categories = [{"id": 1, "name": "disc"}, {"id": 2, "name": "star"}]
    truth = {"videos": videos, "categories": categories, "annotations": [*annotations, crowd]}
    (folder / "data" / "val.json").write_text(json.dumps(truth))
    rows = []
    for name, tracks in results.items():
        runs = []
        for seed in seeds:
            run = folder / name / f"seed_{seed}"
            run.mkdir(parents=True)
            (run / "results.json").write_text(json.dumps(tracks))
            iou = round(100 * mean_track_iou(truth, tracks), 2)
            runs.append({"seed": seed, "AP": 40, "AP50": 80, "AP75": 31, "mean_iou": iou, "box_fill": 2})
        rows.append({"name": name, "label": ROWS[name], "seeds": runs})
    content = {"name": "main", "data": data, "settings": {"steps": 9, "batch_size": 1}, "rows": rows}
    (folder / "study.json").write_text(json.dumps(content))
    return folder


def changed(mask: np.ndarray, place, value: bool) -> np.ndarray:
    mask = mask.copy()
    mask[place] = value
    return mask
