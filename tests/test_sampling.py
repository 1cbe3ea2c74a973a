"""What is drawn for a clip: its video, its frames, its view; and options that cannot be."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskfree_nb.data.clips import ClipConfig
from maskfree_nb.data.frames import resize_shortest_edge, shortest_edge_hw
from maskfree_nb.data.sampling import draw_frames, draw_video, draw_view
from maskfree_nb.errors import InputError


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 20), st.integers(0, 2**32 - 1), st.booleans())
def test_frames_are_distinct_and_near(num_frames, length, frame_range, seed, shuffled):
    length = max(length, num_frames)
    frame_range = max(frame_range, num_frames // 2)
    config = ClipConfig(num_frames, frame_range, order="shuffled" if shuffled else "chronological")
    frames = draw_frames(length, config, np.random.default_rng(seed))
    assert len(set(frames)) == num_frames and set(frames) <= set(range(length))
    assert shuffled or frames == sorted(frames)
    # a reference frame exists; at the ends of the video the window is as long as the clip
    reach = [max(max(frames) - frame, frame - min(frames)) for frame in frames]
    at_end = max(frames) < num_frames or min(frames) >= length - num_frames
    assert min(reach) <= frame_range or at_end
    chronological = draw_frames(length, replace(config, order="chronological"), np.random.default_rng(seed))
    assert sorted(frames) == chronological


def test_every_pair_within_the_range_is_drawn():
    rng = np.random.default_rng(0)
    config = ClipConfig(num_frames=2, frame_range=1)
    drawn = Counter(tuple(draw_frames(5, config, rng)) for _ in range(400))
    assert set(drawn) == {(0, 1), (1, 2), (2, 3), (3, 4)}
    shuffled = ClipConfig(num_frames=3, frame_range=9, order="shuffled")
    assert len({tuple(draw_frames(3, shuffled, rng)) for _ in range(200)}) == 6


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_each_video_once_an_epoch(num_videos, seed, epoch):
    indices = range(epoch * num_videos, (epoch + 1) * num_videos)
    assert sorted(draw_video(num_videos, index, seed) for index in indices) == list(range(num_videos))


def test_order_of_videos_changes_with_epoch_and_seed():
    orders = {
        tuple(draw_video(8, index, seed) for index in range(8 * epoch, 8 * epoch + 8))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_views_keep_to_their_ranges():
    rng = np.random.default_rng(0)
    views = [draw_view(48, 64, ClipConfig(crop=(20, 100)), rng) for _ in range(100)]
    assert {(view.height, view.width, view.left) for view in views} == {(20, 64, 0)}
    assert {view.top for view in views} >= {0, 28} and max(view.top for view in views) == 28
    assert 30 <= sum(view.mirrored for view in views) <= 70
    config = ClipConfig(flip=0, crop_share=(0.5, 1), image_sizes=(16, 32), max_size=40)
    views = [draw_view(48, 64, config, rng) for _ in range(300)]
    assert not any(view.mirrored for view in views)
    assert min(view.height for view in views) == 24 and max(view.height for view in views) == 48
    assert min(view.width for view in views) == 32 and max(view.width for view in views) == 64
    for view in views:
        assert view.top + view.height <= 48 and view.left + view.width <= 64
        assert (view.out_height, view.out_width) in (
            shortest_edge_hw(view.height, view.width, 16, 40),
            shortest_edge_hw(view.height, view.width, 32, 40),
        )
    assert {min(view.out_height, view.out_width) for view in views} >= {16, 32}


@pytest.mark.parametrize(
    ("height", "width", "edge", "bound", "expected"),
    [
        (240, 427, 96, None, (96, 171)),
        (427, 240, 96, None, (171, 96)),
        (240, 427, 96, 128, (72, 128)),
        (96, 128, 96, 128, (96, 128)),
        (3, 900, 2, 10, (1, 10)),
    ],
)
def test_shortest_edge(height, width, edge, bound, expected):
    assert shortest_edge_hw(height, width, edge, bound) == expected
    frames = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    assert resize_shortest_edge(frames, edge, bound).shape == (1, 3, *expected)


BAD_OPTIONS = {
    "num_frames": ({"num_frames": 0}, "num_frames is 0, expected at least 1"),
    "frame_range": (
        {"num_frames": 5, "frame_range": 1},
        r"frame_range is 1, expected at least \(num_frames - 1\) / 2",
    ),
    "order": ({"order": "random"}, "order is random, expected chronological or shuffled"),
    "flip": ({"flip": 1.5}, "flip is 1.5, expected a probability"),
    "flip nan": ({"flip": float("nan")}, "flip is nan, expected a probability"),
    "crop": ({"crop": (0, 5)}, r"crop is \(0, 5\), expected \(height, width\) in pixels"),
    "crop_share": ({"crop_share": (0.5, 1.5)}, r"crop_share is \(0.5, 1.5\), expected 0 < low <= high <= 1"),
    "both crops": ({"crop": (8, 8), "crop_share": (0.5, 1)}, "crop_share is .* expected None where crop is"),
    "image_sizes": ({"image_sizes": [96, 0]}, r"image_sizes is \[96, 0\], expected sizes in pixels"),
    "max_size": ({"image_sizes": [96], "max_size": 0}, "max_size is 0, expected a size in pixels"),
    "max_size alone": ({"max_size": 96}, "max_size is 96, expected None where image_sizes is empty"),
    "min_box_size": ({"min_box_size": -1}, "min_box_size is -1, expected at least 0"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options(name):
    options, message = BAD_OPTIONS[name]
    with pytest.raises(InputError, match=f"clip option {message}"):
        ClipConfig(**options)
