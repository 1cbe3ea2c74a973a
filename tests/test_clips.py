"""Training clips: which video, frames and view are drawn, and that boxes and masks go with the pixels."""

import copy
from collections import Counter
from dataclasses import replace

import drawn_videos
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils.data import DataLoader

from maskfree_nb.data.clips import ClipConfig, ClipDataset, collate_clips, sample_clip, video_frames
from maskfree_nb.data.frames import FrameCache, read_frame, resize_shortest_edge, shortest_edge_hw
from maskfree_nb.data.sampling import draw_frames, draw_video, draw_view
from maskfree_nb.data.views import View
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError

PLAIN = ClipConfig(num_frames=2, flip=0)
ALL = ClipConfig(num_frames=3, order="shuffled", crop_share=(0.4, 1), image_sizes=[20, 30, 50], max_size=60)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    return folder, drawn_videos.draw(folder)


@pytest.fixture(scope="module")
def videos(drawn):
    return drawn_videos.load(*drawn, masks=True)


def assert_same_clip(a, b):
    assert (a.video_id, a.frame_indices) == (b.video_id, b.frame_indices)
    assert torch.equal(a.frames, b.frames) and torch.equal(a.labels, b.labels)
    assert_close(a.boxes, b.boxes, rtol=0, atol=0, equal_nan=True)
    assert (a.masks is None) == (b.masks is None)
    if a.masks is not None:
        assert torch.equal(a.masks, b.masks)


def tight_boxes(masks):
    """The tight box of each mask [..., H, W], NaN where it is empty."""
    boxes = torch.full((*masks.shape[:-2], 4), torch.nan)
    for place in np.ndindex(masks.shape[:-2]):
        rows, columns = masks[place].nonzero(as_tuple=True)
        if len(rows):
            boxes[place] = torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)).float()
    return boxes


# --- views


@st.composite
def rectangles_in_views(draw, resized):
    """A frame's mask [1, 1, H, W] of one rectangle, its box, and a view of the frame."""
    height, width = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    x0, x1 = sorted(draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True)))
    left, right = sorted(draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True)))
    h, w = bottom - top, right - left
    out_h, out_w = (draw(st.integers(1, 60)), draw(st.integers(1, 60))) if resized else (h, w)
    mask = torch.zeros(1, 1, height, width, dtype=torch.bool)
    mask[..., y0:y1, x0:x1] = True
    box = torch.tensor([[[x0, y0, x1, y1]]], dtype=torch.float32)
    return mask, box, View(top, left, h, w, out_h, out_w, draw(st.booleans()))


@settings(deadline=None)
@given(rectangles_in_views(resized=False))
def test_cropped_and_mirrored_boxes_are_tight(case):
    mask, box, view = case
    seen = view.frames((mask * 255).to(torch.uint8).expand(-1, 3, -1, -1))
    assert seen.shape == (1, 3, view.height, view.width)
    expected = tight_boxes(seen[None, :, 0] > 127)
    assert_close(view.boxes(box), expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(view.masks(mask)[0, 0], seen[0, 0] > 127)


def centres_to_box(size, low, high):
    """Signed distance of each pixel's centre to the interval [low, high], positive inside."""
    centres = torch.arange(size, dtype=torch.float64) + 0.5
    return torch.minimum(centres - low, high - centres)


@settings(deadline=None)
@given(rectangles_in_views(resized=True))
def test_resized_boxes_are_tight(case):
    mask, box, view = case
    seen = view.frames((mask * 255).to(torch.uint8).expand(-1, 3, -1, -1))[0, 0]
    seen_mask = view.masks(mask)[0, 0]
    x0, y0, x1, y1 = view.boxes(box)[0, 0].tolist()
    assert seen.shape == seen_mask.shape == (view.out_height, view.out_width)
    if np.isnan(x0):
        assert not seen_mask.any() and not seen.any()
        return
    assert 0 <= x0 < x1 <= view.out_width and 0 <= y0 < y1 <= view.out_height
    columns, rows = centres_to_box(view.out_width, x0, x1), centres_to_box(view.out_height, y0, y1)
    inside = torch.minimum(rows[:, None], columns)
    clear = inside.abs() > 1e-3  # elsewhere rounding decides on which side of the edge the centre is
    assert torch.equal(seen_mask[clear], inside[clear] > 0)

    # the filter reaches one pixel far, of the frame or of the clip, whichever is the larger
    reach_x, reach_y = max(view.out_width / view.width, 1), max(view.out_height / view.height, 1)
    at_left, at_right = (x0 == 0, x1 == view.out_width)  # no edge is seen at the border of the view
    at_top, at_bottom = (y0 == 0, y1 == view.out_height)
    edge_x = centres_to_box(view.out_width, -torch.inf if at_left else x0, torch.inf if at_right else x1)
    edge_y = centres_to_box(view.out_height, -torch.inf if at_top else y0, torch.inf if at_bottom else y1)
    whole = (edge_y[:, None] > reach_y + 1e-3) & (edge_x > reach_x + 1e-3)
    assert (seen[whole] == 255).all()
    outside = (edge_y[:, None] < -reach_y - 1e-3) | (edge_x < -reach_x - 1e-3)
    assert (seen[outside] == 0).all()


def test_absent_and_small_boxes():
    view = View(0, 0, 10, 20, 5, 10, mirrored=True)
    boxes = torch.tensor([[[torch.nan] * 4, [2, 2, 6, 8]], [[0, 0, 1, 9], [0, 0, 2, 9]]])
    nan = [torch.nan] * 4
    assert_close(
        view.boxes(boxes, min_size=1),
        torch.tensor([[nan, [7, 1, 9, 4]], [nan, [9, 0, 10, 4.5]]]),
        rtol=0,
        atol=0,
        equal_nan=True,
    )
    assert view.boxes(torch.zeros(0, 2, 4)).shape == (0, 2, 4)
    assert view.masks(torch.zeros(0, 2, 10, 20, dtype=torch.bool)).shape[:2] == (0, 2)


# --- what is drawn


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


# --- clips


@pytest.mark.parametrize("flip", [0, 1])
def test_clip_holds_the_frames_and_boxes_of_its_video(videos, flip):
    config = replace(PLAIN, flip=flip)
    for index in range(6):
        clip = sample_clip(videos, index, 0, config)
        video = next(video for video in videos.videos if video.id == clip.video_id)
        view = View(0, 0, video.height, video.width, video.height, video.width, bool(flip))
        frames = torch.stack([read_frame(videos, video, frame) for frame in clip.frame_indices])
        assert clip.frames.dtype == torch.uint8
        assert torch.equal(clip.frames, frames.flip(-1) if flip else frames)
        boxes = np.stack([track.boxes[list(clip.frame_indices)] for track in video.tracks])
        assert_close(clip.boxes, view.boxes(torch.from_numpy(boxes)), rtol=0, atol=0)
        assert_close(clip.boxes, tight_boxes(clip.masks), rtol=0, atol=0)
        assert clip.labels.tolist() == [track.category for track in video.tracks]
        assert (clip.labels.dtype, clip.masks.dtype) == (torch.int64, torch.bool)


def test_boxes_surround_the_bright_pixels(drawn, videos):
    # each rectangle of the second video is alone in its frame: the pixels themselves say where it is
    alone = replace(videos, videos=videos.videos[1:])
    for index in range(40):
        clip = sample_clip(alone, index, 1, replace(ALL, crop_share=None, image_sizes=(), max_size=None))
        assert_close(clip.boxes, tight_boxes(clip.frames[None, :, 0] > 110), rtol=0, atol=0)


def test_clips_depend_on_seed_and_index_alone(videos):
    cache = FrameCache(videos, max_bytes=2**20)
    forwards = [sample_clip(videos, index, 7, ALL, cache) for index in range(12)]
    for index in reversed(range(12)):
        assert_same_clip(sample_clip(videos, index, 7, ALL), forwards[index])
    other = [sample_clip(videos, index, 8, ALL) for index in range(12)]
    drawn_by_7 = [(clip.video_id, clip.frame_indices, clip.frames.shape) for clip in forwards]
    assert len(set(drawn_by_7)) > 6
    assert drawn_by_7 != [(clip.video_id, clip.frame_indices, clip.frames.shape) for clip in other]


def test_clips_are_the_same_in_worker_processes(videos):
    dataset = ClipDataset(videos, ALL, seed=3, length=7)
    loader = DataLoader(dataset, batch_size=2, num_workers=2, collate_fn=collate_clips)
    batches = list(loader)
    assert len(batches) == 4
    targets = [clip for batch in batches for clip in batch.targets]
    for index, clip in enumerate(targets):
        assert_same_clip(clip, dataset[index])
    assert len(list(dataset)) == len(dataset) == 7
    with pytest.raises(IndexError):
        dataset[-1]


def test_no_clip_changes_when_the_masks_are_deleted(drawn):
    folder, content = drawn
    with_masks = drawn_videos.load(folder, content)
    alone = drawn_videos.load(folder, drawn_videos.without_masks(content), name="boxes.json")
    for index in range(10):
        clip = sample_clip(alone, index, 0, ALL)
        assert clip.masks is None
        assert_same_clip(sample_clip(with_masks, index, 0, ALL), clip)
        loaded = sample_clip(drawn_videos.load(folder, content, masks=True), index, 0, ALL)
        assert_same_clip(replace(loaded, masks=None), clip)


def test_masks_are_empty_where_the_box_is_absent(drawn):
    folder, content = drawn
    content = copy.deepcopy(content)
    content["annotations"][0]["bboxes"][2] = None
    content["annotations"][1]["segmentations"][1] = None
    videos = drawn_videos.load(folder, content, masks=True)
    only = replace(videos, videos=videos.videos[:1])
    clip = sample_clip(only, 0, 0, ClipConfig(num_frames=5, flip=0))
    assert clip.frame_indices == (0, 1, 2, 3, 4)
    assert clip.boxes.isnan().all(-1).tolist() == [[False, False, True, False, False], [False] * 5]
    assert clip.masks.any(-1).any(-1).tolist() == [
        [True, True, False, True, True],
        [True, False, True, True, True],
    ]


def test_absent_tracks_and_crowds_are_left_out(drawn):
    folder, content = drawn
    content = copy.deepcopy(drawn_videos.without_masks(content))
    content["annotations"][0]["bboxes"] = [[3, 3, 4, 4], None, None, None, None]
    content["annotations"][1]["iscrowd"] = 1
    videos = drawn_videos.load(folder, content)
    counts = set()
    for index in range(40):
        clip = sample_clip(videos, index, 0, PLAIN)
        assert clip.boxes.shape == (len(clip.labels), 2, 4)
        assert not clip.boxes.isnan().all(-1).all(-1).any()
        if clip.video_id == 3:
            assert len(clip.labels) == (0 in clip.frame_indices)
            counts.add(len(clip.labels))
    assert counts == {0, 1}


def test_objects_outside_the_crop_become_absent(videos):
    config = ClipConfig(num_frames=3, crop=(12, 12), min_box_size=2)
    counts = Counter()
    for index in range(60):
        clip = sample_clip(videos, index, 0, config)
        counts[len(clip.labels)] += 1
        present = ~clip.boxes[..., 0].isnan()
        assert present.any(-1).all()
        assert torch.equal(clip.masks.any(-1).any(-1), present)
        extent = clip.boxes[..., 2:] - clip.boxes[..., :2]
        assert (extent[present] >= 2).all()
        assert_close(clip.boxes[present], tight_boxes(clip.masks)[present], rtol=0, atol=0)
    assert set(counts) >= {0, 1, 2}


# --- data sets and batches


def test_clip_longer_than_a_video(videos):
    config = ClipConfig(num_frames=5)
    message = r"train\.json: video 8 has 4 frames, a clip needs 5 \(num_frames\); take shorter clips or leave"
    with pytest.raises(InputError, match=message):
        ClipDataset(videos, config, seed=0, length=1)
    with pytest.raises(InputError, match=message):
        [sample_clip(videos, index, 0, config) for index in range(2)]


@pytest.mark.parametrize("annotations", ["none", "crowds"])
def test_nothing_to_learn_from(drawn, annotations):
    folder, content = drawn
    content = copy.deepcopy(content)
    for record in content["annotations"]:
        record["iscrowd"] = 1
    if annotations == "none":
        content["annotations"] = []
    videos = drawn_videos.load(folder, content)
    with pytest.raises(InputError, match=r"train\.json: annotations has no object to learn from"):
        ClipDataset(videos, PLAIN, seed=0, length=1)


def test_batches_are_padded_to_multiples_of_32(videos):
    clips = [sample_clip(videos, index, 0, ALL) for index in range(6)]
    batch = collate_clips(clips)
    height, width = (max(clip.frames.shape[axis] for clip in clips) for axis in (-2, -1))
    assert batch.frames.shape[:3] == (6, 3, 3) and batch.frames.dtype == torch.uint8
    assert batch.frames.shape[-2] % 32 == batch.frames.shape[-1] % 32 == 0
    assert 0 <= batch.frames.shape[-2] - height < 32 and 0 <= batch.frames.shape[-1] - width < 32
    for clip, target, frames, (h, w) in zip(clips, batch.targets, batch.frames, batch.valid_hw, strict=True):
        assert (h, w) == clip.frames.shape[-2:]
        assert_same_clip(clip, target)
        assert target.frames.untyped_storage().data_ptr() == batch.frames.untyped_storage().data_ptr()
        assert not frames[..., h:, :].any() and not frames[..., w:].any()
    assert len({clip.frames.shape for clip in clips}) > 1


def test_batch_moves_as_a_whole(videos):
    clips = [sample_clip(videos, index, 0, PLAIN) for index in range(2)]
    moved = collate_clips([clips[0], replace(clips[1], masks=None)]).to("meta")
    first, second = moved.targets
    tensors = [moved.frames, first.frames, first.boxes, first.labels, first.masks, second.boxes]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert second.masks is None and moved.valid_hw == [clip.frames.shape[-2:] for clip in clips]


def test_whole_video(videos):
    video = videos.videos[0]
    frames = video_frames(videos, video)
    assert frames.shape == (5, 3, 48, 64) and frames.dtype == torch.uint8
    for frame in range(5):
        assert torch.equal(frames[frame], read_frame(videos, video, frame))
    assert torch.equal(video_frames(videos, video, 24), resize_shortest_edge(frames, 24))
    assert video_frames(videos, video, 24, max_size=28).shape == (5, 3, 21, 28)


def test_cache_keeps_to_its_budget(tmp_path):
    videos = drawn_videos.load(tmp_path, drawn_videos.draw(tmp_path))
    video = videos.videos[0]
    frame_bytes = 3 * 48 * 64
    cache = FrameCache(videos, max_bytes=2 * frame_bytes + 1)
    first, second, _ = cache.read(video, 0), cache.read(video, 1), cache.read(video, 0)
    assert cache.num_bytes == 2 * frame_bytes
    cache.read(video, 2)  # drops frame 1, the least recently used
    assert cache.num_bytes == 2 * frame_bytes
    for name in video.file_names:
        (videos.image_root / name).unlink()
    assert cache.read(video, 0) is first
    with pytest.raises(InputError, match=r"video 3: file_names\[1\]: .* does not exist"):
        cache.read(video, 1)
    assert second.shape == first.shape


@pytest.mark.real_data
@pytest.mark.parametrize("masks", [False, True])
def test_real_clips(real_data, masks):
    folder = real_data / "davis16_test"
    videos = load_ytvis(folder / "instances.json", folder / "JPEGImages", masks=masks)
    dataset = ClipDataset(videos, ClipConfig(num_frames=5, image_sizes=[96]), seed=0, length=8)
    batch = collate_clips(list(dataset))
    assert batch.frames.shape[:3] == (8, 5, 3) and batch.frames.shape[-2] == 96
    for clip in batch.targets:
        assert len(clip.labels) == 1
        if masks:  # boxes are exact, masks are whole pixels: they differ by less than one
            assert (clip.boxes - tight_boxes(clip.masks)).abs().max() < 1
