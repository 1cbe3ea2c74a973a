"""The statistics of clips: against a count by hand, cell by cell, and on real clips."""

import math
from dataclasses import astuple

import numpy as np
import pytest
import torch
from PIL import Image
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.data import rle
from maskfree_nb.data.statistics import (
    FINE,
    OFFICIAL,
    PAPER,
    REAL_CLIPS,
    ClipStatistics,
    Setting,
    clip_statistics,
    format_statistics,
)
from maskfree_nb.data.tracks import Category, Track, Video, VideoSet
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError
from maskfree_nb.tkloss.candidates import disk_offsets, grid_offsets
from maskfree_nb.tkloss.lab import rgb_to_lab


def box_of(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(mask)
    if len(rows) == 0:
        return np.full(4, np.nan, dtype=np.float32)
    return np.float32([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def video_set(folder, clips: list[tuple[np.ndarray, np.ndarray]], has_masks: bool = True) -> VideoSet:
    """Write clips of frames uint8 [T, H, W, 3] and masks bool [N, T, H, W] as a data set of PNG files."""
    videos = []
    for number, (frames, masks) in enumerate(clips):
        names = tuple(f"{number}-{t}.png" for t in range(len(frames)))
        for name, frame in zip(names, frames, strict=True):
            Image.fromarray(frame).save(folder / name)
        tracks = tuple(
            Track(
                id=10 * number + n,
                category=0,
                boxes=np.stack([box_of(mask) for mask in tube]),
                segmentations=tuple(rle.encode(mask) if mask.any() else None for mask in tube),
            )
            for n, tube in enumerate(masks)
        )
        videos.append(Video(number, frames.shape[2], frames.shape[1], len(frames), names, tracks))
    return VideoSet((Category(1, "thing"),), tuple(videos), folder, folder / "set.json", has_masks)


def random_clip(rng, length: int, height: int, width: int, objects: int, stride: int = 1):
    """Even patches, restless ones at the right, and random masks: all made of squares of `stride` pixels."""
    rows, columns = math.ceil(height / stride), math.ceil(width / stride)
    even = rng.choice([90, 90, 90, 180], (rows // 4 + 1, columns // 4 + 1, 3)).repeat(4, 0).repeat(4, 1)
    even = even[:rows, :columns]
    restless = np.where(np.arange(columns) > columns * 2 // 3, 60, 2)[:, None]
    squares = np.stack([even + rng.integers(0, restless, even.shape) for _ in range(length)])
    tubes = rng.random((objects, length, rows, columns)) < 0.6
    frames = squares.astype(np.uint8).repeat(stride, 1).repeat(stride, 2)[:, :height, :width]
    masks = tubes.repeat(stride, 2).repeat(stride, 3)[..., :height, :width]
    masks[:, :, : height // 3] = False
    masks[0, 1:2] = False  # absent in one frame
    return frames, masks


def count_by_hand(frames: np.ndarray, masks: np.ndarray, setting: Setting, k: int = 5) -> list[float]:
    """The columns of one clip from their definition, one cell after the other."""
    s = setting.stride
    lab = rgb_to_lab(
        torch.from_numpy(frames).permute(0, 3, 1, 2), s, channel_order=setting.channel_order, quantise=False
    ).double()
    length, _, h, w = lab.shape
    padded = torch.nn.functional.pad(lab, [1] * 4)

    def patch(t, y, x):
        return padded[t, :, y : y + 3, x : x + 3]

    def half_covered(pixels):
        return pixels[: h * s, : w * s].reshape(h, s, w, s).mean((1, 3)) >= 0.5

    def inside_frame(y, x):
        return 0 <= y < h and 0 <= x < w

    both = either = cells = matched = right = none = full = neighbours = affine = wrong = 0
    for tube in masks:
        small = [half_covered(mask) for mask in tube]
        boxes = []
        for mask in tube:
            filled = np.zeros(mask.shape)
            if mask.any():
                x0, y0, x1, y1 = box_of(mask).astype(int)
                filled[y0:y1, x0:x1] = 1
            boxes.append(half_covered(filled))
        for t in range(length):
            both += (small[t] & boxes[t]).sum()
            either += (small[t] | boxes[t]).sum()
            for y, x in zip(*np.nonzero(boxes[t]), strict=True):
                for dy, dx in [(a, b) for a in (-2, 0, 2) for b in (-2, 0, 2) if (a, b) != (0, 0)]:
                    if inside_frame(y + dy, x + dx):
                        neighbours += 1
                        difference = (lab[t, :, y, x] - lab[t, :, y + dy, x + dx]).norm()
                        if math.exp(-difference / 2) >= 0.3:
                            affine += 1
                            wrong += small[t][y, x] != small[t][y + dy, x + dx]
                if t == 0:
                    continue
                found = sorted(
                    ((patch(t, y, x) - patch(t - 1, y + dy, x + dx)).norm().item(), number)
                    for number, (dy, dx) in enumerate(setting.offsets)
                    if inside_frame(y + dy, x + dx)
                )
                found = [number for distance, number in found[:k] if math.exp(-distance / 2) >= 0.05]
                cells, matched = cells + 1, matched + len(found)
                none, full = none + (not found), full + (len(found) == k)
                for dy, dx in (setting.offsets[number] for number in found):
                    right += small[t][y, x] == small[t - 1][y + dy, x + dx]
    return [
        both / either,
        right / matched,
        matched / cells,
        none / cells,
        full / cells,
        affine / neighbours,
        wrong / affine,
    ]


@pytest.mark.parametrize(
    ("setting", "height", "width"),
    [
        (Setting("disk", 1, disk_offsets(2)), 13, 17),
        (Setting("grid", 2, grid_offsets(1, 3), "bgr"), 27, 34),
        (Setting("coarse", 4, disk_offsets(3)), 50, 67),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_statistics_are_those_of_the_definition(tmp_path, setting, height, width):
    rngs = (np.random.default_rng(seed) for seed in (1, 2))
    clips = [random_clip(rng, 3, height, width, objects=2, stride=setting.stride) for rng in rngs]
    (row,) = clip_statistics(video_set(tmp_path, clips), (setting,))
    expected = np.mean([count_by_hand(*clip, setting) for clip in clips], 0)
    assert (expected > 0.01).all() and (np.delete(expected, 2) < 0.98).all()  # every column is put to use
    assert row.setting == setting.name
    assert_close(torch.tensor(astuple(row)[1:]), torch.tensor(expected).float(), **TOL["counted ratio"])


def test_an_invisible_object_is_wrong_where_a_plain_one_is_right(tmp_path):
    mask = np.zeros((1, 2, 16, 16), dtype=bool)
    mask[:, :, 4:12, 4:12] = True
    mask[:, :, 4:8, 4:8] = False  # an L: three quarters of its box
    frames = np.full((2, 16, 16, 3), 100, dtype=np.uint8)
    setting = Setting("each pixel", 1, ((0, 0), (0, 3)))
    (unseen,) = clip_statistics(video_set(tmp_path, [(frames, mask)]), (setting,))
    frames[mask[0]] = (200, 0, 0)
    (seen,) = clip_statistics(video_set(tmp_path, [(frames, mask)]), (setting,))
    assert unseen.box_fill == seen.box_fill == 0.75
    assert unseen.affine == 1.0 and unseen.affine_wrong > 0.1
    assert unseen.match_accuracy < 1.0 and unseen.matches == 2.0
    assert seen.affine < 1.0 and seen.affine_wrong == 0.0
    assert seen.match_accuracy == 1.0 and seen.matches < 2.0


def test_only_the_first_frames_count(tmp_path):
    frames, masks = random_clip(np.random.default_rng(3), 4, 24, 24, objects=1)
    whole = clip_statistics(video_set(tmp_path, [(frames, masks)]), (PAPER,), max_frames=3)
    assert whole == clip_statistics(video_set(tmp_path, [(frames[:3], masks[:, :3])]), (PAPER,))
    assert whole != clip_statistics(video_set(tmp_path, [(frames, masks)]), (PAPER,))


def test_a_video_of_one_frame_or_without_objects_leaves_the_means_of_matches_alone(tmp_path):
    frames, masks = random_clip(np.random.default_rng(4), 3, 24, 32, objects=1)
    (alone,) = clip_statistics(video_set(tmp_path, [(frames, masks)]), (PAPER,))
    with_others = [(frames, masks), (frames[:1], masks[:, :1]), (frames, masks[:0])]
    (row,) = clip_statistics(video_set(tmp_path, with_others), (PAPER,))
    assert astuple(row)[2:6] == astuple(alone)[2:6]
    assert row.box_fill != alone.box_fill


def test_sets_without_masks_or_objects_are_refused(tmp_path):
    clip = random_clip(np.random.default_rng(5), 2, 16, 16, objects=1)
    with pytest.raises(InputError, match=r"set\.json: was read without masks"):
        clip_statistics(video_set(tmp_path, [clip], has_masks=False))
    with pytest.raises(InputError, match=r"set\.json: no video has an annotation"):
        clip_statistics(video_set(tmp_path, [(clip[0], clip[1][:0])]))


def test_the_table_shows_real_clips_below_each_row():
    row = ClipStatistics(PAPER.name, 0.5, 0.99, 0.5, 0.8, 0.0612, 0.12, 0.0123)
    other = ClipStatistics("/8", *[math.nan] * 7)
    title, made, real, unknown = format_statistics([row, other]).splitlines()
    assert title.split()[:3] == ["setting", "box", "fill"]
    assert made.split()[2:] == ["0.500", "99.00%", "0.50", "80.0%", "6.12%", "12.0%", "1.23%"]
    assert real.split() == ["real", "clips", "0.477", "99.71%", "0.56", "77.8%", "6.01%", "12.8%", "1.61%"]
    assert unknown.split() == ["/8", "nan", "nan%", "nan", "nan%", "nan%", "nan%", "nan%"]
    assert len({len(line) for line in (title, made, real, unknown)}) == 1


@pytest.mark.real_data
@pytest.mark.parametrize(
    "setting", [OFFICIAL, PAPER, pytest.param(FINE, marks=pytest.mark.slow)], ids=lambda setting: setting.name
)
def test_the_stored_row_is_that_of_the_real_clips(real_data, setting):
    folder = real_data / "davis16_test"
    clips = load_ytvis(folder / "instances.json", folder / "JPEGImages", masks=True)
    (row,) = clip_statistics(clips, (setting,))
    (stored,) = (real for real in REAL_CLIPS if real.setting == setting.name)
    assert_close(torch.tensor(astuple(row)[1:]), torch.tensor(astuple(stored)[1:]), **TOL["stored ratio"])
