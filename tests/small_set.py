"""A few tiny videos on disk, for tests that need some: bright squares that move over patches of grey."""

from pathlib import Path

import numpy as np
from PIL import Image

from maskfree_nb.data import rle
from maskfree_nb.data.annotations import write_annotations
from maskfree_nb.data.tracks import Category, Track, Video

CATEGORIES = [Category(1, "red"), Category(2, "green")]


def make_small_set(
    folder: Path, *, videos: int = 3, length: int = 4, size: int = 64, masks: bool = True
) -> tuple[Path, Path]:
    """Write `annotations.json` and `images/`; returns both paths."""
    made = []
    for number in range(videos):
        rng = np.random.default_rng(number)
        names = tuple(f"{number}/{frame}.jpg" for frame in range(length))
        (folder / "images" / str(number)).mkdir(parents=True, exist_ok=True)
        corner, step = rng.integers(4, 20, 2), rng.integers(1, 5, 2)
        category = number % len(CATEGORIES)
        background = (
            rng.integers(60, 120, (size // 16, size // 16, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
        )
        boxes, segmentations = [], []
        for frame, name in enumerate(names):
            y, x = corner + frame * step
            pixels = background.copy()
            pixels[y : y + 20, x : x + 16, category] = 240
            Image.fromarray(pixels).save(folder / "images" / name, quality=95)
            mask = np.zeros((size, size), dtype=bool)
            mask[y : y + 20, x : x + 16] = True
            boxes.append([x, y, x + 16, y + 20])
            segmentations.append(rle.encode(mask))
        track = Track(number + 1, category, np.float32(boxes), tuple(segmentations))
        made.append(Video(number + 1, size, size, length, names, (track,)))
    path = folder / "annotations.json"
    write_annotations(path, CATEGORIES, made, masks=masks)
    return path, folder / "images"


def small_options(annotations: Path, images: Path, **overrides) -> dict:
    """Options of a `TrainConfig` that trains in a second or two."""
    return {
        "annotations": str(annotations),
        "images": str(images),
        "model": {"num_queries": 4},
        "criterion": {"box_warmup": 0.25, "box_ramp": 0.25, "tk": {"radius": 2}},
        "clips": {"num_frames": 2, "frame_range": 3},
        "steps": 8,
        "batch_size": 2,
        "warmup_steps": 2,
        "checkpoint_every": 2,
        **overrides,
    }
