"""Styles of filming: the default one, and a camera that stands still."""

import numpy as np
import pytest

from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.embedded.camera import Shot
from maskfree_nb.data.embedded.scene import render_video
from maskfree_nb.data.embedded.style import STYLES
from maskfree_nb.data.reach import background_reach
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError


def _change_of_the_background(style: str) -> float:
    """Mean difference of two frames where no object is in either, over videos; grey levels."""
    changes = []
    for seed in range(4):
        video = render_video(np.random.default_rng(seed), "val", Shot(96, 72, 3, STYLES[style]))
        free = ~video.masks.any((0, 1))
        first, last = (video.frames[t].astype(float)[free] for t in (0, 2))
        changes.append(np.abs(first - last).mean())
    return float(np.mean(changes))


def test_the_background_stands_still_under_a_fixed_camera_alone():
    assert _change_of_the_background("fixed") < 8  # noise and changing light
    assert _change_of_the_background("handheld") > 12


def test_under_a_fixed_camera_matches_add_more_to_what_like_neighbours_reach(tmp_path):
    gains = []
    for style in STYLES:
        sizes = {"train_videos": 1, "train_frames": 2, "val_videos": 8, "val_frames": 5}
        made = make_embedded(tmp_path / style, style=style, **sizes)
        assert made.style == style and (style in str(made)) == (style == "fixed")
        folder = tmp_path / style
        videos = load_ytvis(folder / "val.json", folder / "val" / "JPEGImages", masks=True)
        reached = {row.links: row.background[-1] for row in background_reach(videos)}
        gains.append(reached["both"] - reached["pairwise"])
    assert gains[1] > 1.5 * gains[0] > 0  # 0.14 and 0.05 of the background, over many videos


def test_an_unknown_style_is_refused(tmp_path):
    with pytest.raises(InputError, match="style is 'drone', expected one of handheld, fixed"):
        make_embedded(tmp_path / "data", style="drone")
    assert not any(tmp_path.iterdir())
