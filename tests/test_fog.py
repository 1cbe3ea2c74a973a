"""Faded copies of frames: the same files, with colours drawn towards grey."""

import numpy as np
import pytest
import torch
from PIL import Image

from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.fog import fade, fade_frames
from maskfree_nb.data.frames import read_frame
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError
from maskfree_nb.tkloss import TKLoss

SIZES = {"train_videos": 1, "train_frames": 2, "val_videos": 2, "val_frames": 3}


def test_contrast_scales_the_distance_from_grey():
    pixels = np.array([[[0, 28, 128], [138, 228, 255]]], np.uint8)
    np.testing.assert_array_equal(fade(pixels, 1.0), pixels)
    np.testing.assert_array_equal(fade(pixels, 0.5), [[[64, 78, 128], [133, 178, 192]]])
    np.testing.assert_array_equal(fade(pixels, 0.0), np.full((1, 2, 3), 128))


def test_every_frame_has_a_faded_copy_by_the_same_name(tmp_path):
    make_embedded(tmp_path / "data", **SIZES)
    images = tmp_path / "data" / "val" / "JPEGImages"
    faded = fade_frames(images, tmp_path / "run" / "faded", 0.1)
    names = sorted(path.relative_to(images) for path in images.rglob("*.jpg"))
    assert sorted(path.relative_to(faded) for path in faded.rglob("*.*")) == names and len(names) == 6
    for name in names:
        pixels, copy = (np.asarray(Image.open(root / name)).astype(float) for root in (images, faded))
        assert np.abs(copy - fade(pixels, 0.1)).max() < 6  # of JPEG
    stamp = (faded / names[0]).stat().st_mtime_ns
    assert fade_frames(images, faded, 0.1) == faded
    assert (faded / names[0]).stat().st_mtime_ns == stamp


def test_in_faded_video_nearly_every_patch_matches(tmp_path):
    make_embedded(tmp_path / "data", **SIZES)
    images = tmp_path / "data" / "val" / "JPEGImages"
    faded = fade_frames(images, tmp_path / "faded", 0.1)
    counts = []
    for root in (images, faded):
        videos = load_ytvis(tmp_path / "data" / "val.json", root, masks=False)
        frames = torch.stack([read_frame(videos, videos.videos[0], t) for t in range(3)])
        tk_loss = TKLoss()
        counts.append(tk_loss.match_lab(tk_loss.lab(frames[None])).count().float().mean().item())
    assert counts[0] < 2.5 and counts[1] > 4.5  # of 5


def test_a_contrast_that_is_no_share_and_a_folder_without_frames_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"contrast is 2, expected 0\.\.1"):
        fade(np.zeros((1, 1, 3), np.uint8), 2)
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="images: has no frame to fade"):
        fade_frames(tmp_path / "images", tmp_path / "faded", 0.5)
    assert not (tmp_path / "faded").exists()
