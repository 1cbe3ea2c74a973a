"""Training clips, data sets and batches: the same clip from the same seed, with the boxes of its objects."""

import copy
from collections import Counter
from dataclasses import replace

import drawn_videos
import numpy as np
import pytest
import torch
from torch.testing import assert_close
from torch.utils.data import DataLoader

from maskfree_nb.data.clips import ClipConfig, ClipDataset, collate_clips, sample_clip, video_frames
from maskfree_nb.data.frames import FrameCache, read_frame, resize_shortest_edge
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
        assert_close(clip.boxes, drawn_videos.tight_boxes(clip.masks), rtol=0, atol=0)
        assert clip.labels.tolist() == [track.category for track in video.tracks]
        assert (clip.labels.dtype, clip.masks.dtype) == (torch.int64, torch.bool)


def test_boxes_surround_the_bright_pixels(drawn, videos):
    # each rectangle of the second video is alone in its frame: the pixels themselves say where it is
    alone = replace(videos, videos=videos.videos[1:])
    for index in range(40):
        clip = sample_clip(alone, index, 1, replace(ALL, crop_share=None, image_sizes=(), max_size=None))
        assert_close(clip.boxes, drawn_videos.tight_boxes(clip.frames[None, :, 0] > 110), rtol=0, atol=0)


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
        assert_close(clip.boxes[present], drawn_videos.tight_boxes(clip.masks)[present], rtol=0, atol=0)
    assert set(counts) >= {0, 1, 2}


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
            assert (clip.boxes - drawn_videos.tight_boxes(clip.masks)).abs().max() < 1


def test_a_change_of_colour_is_the_same_in_all_frames_and_leaves_boxes_alone(videos):
    plain, coloured = sample_clip(videos, 3, 0, PLAIN), sample_clip(videos, 3, 0, replace(PLAIN, colour=0.5))
    assert torch.equal(plain.boxes, coloured.boxes) and plain.frame_indices == coloured.frame_indices
    assert not torch.equal(plain.frames, coloured.frames)
    for channel in range(3):  # one value before is one value after, in every frame
        values = torch.stack([plain.frames[:, channel].flatten(), coloured.frames[:, channel].flatten()])
        values = values.unique(dim=1)
        assert len(values[0].unique()) == values.shape[1]
