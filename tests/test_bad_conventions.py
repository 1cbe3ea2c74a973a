"""Annotations in another convention: those of images, shares of the frame, corners, no box at all."""

import copy
import json
import warnings

import drawn_videos
import numpy as np
import pytest

from maskfree_nb.data.annotations import write_annotations
from maskfree_nb.data.clips import ClipConfig, ClipDataset
from maskfree_nb.data.tracks import Category, Track, Video
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError, InputWarning

COCO = {
    "categories": [{"id": 1, "name": "cat"}],
    "images": [{"id": 1, "width": 64, "height": 48, "file_name": "1.jpg"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [3, 4, 20, 20], "iscrowd": 0}],
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    return folder, drawn_videos.without_masks(drawn_videos.draw(folder))


def change_boxes(content: dict, change) -> dict:
    """The annotations with change(box, width, height) for each box."""
    content = copy.deepcopy(content)
    for record in content["annotations"]:
        size = drawn_videos.SIZES[record["video_id"]]
        record["bboxes"] = [change(box, *size) for box in record["bboxes"]]
    return content


def shares(box, width, height):
    return [box[0] / width, box[1] / height, box[2] / width, box[3] / height]


def corners(box, width, height):
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]]


def refused(folder, content) -> str:
    with pytest.raises(InputError) as error:
        drawn_videos.load(folder, content)
    assert str(error.value).startswith(f"{folder / 'train.json'}: ") and "\n" not in str(error.value)
    return str(error.value)


def silent(folder, content):
    with warnings.catch_warnings(action="error"):
        return drawn_videos.load(folder, content)


def test_coco_is_told_from_youtube_vis(drawn):
    folder, content = drawn
    message = refused(folder, COCO)
    assert "looks like COCO, annotations of images: it has images and no videos; YouTube-VIS is" in message
    assert "videos with file_names, annotations with video_id and bboxes (one [x, y, width, hei" in message
    assert "maskfree_nb.data.annotations.write_annotations(path, categories, videos, masks=False)" in message
    single = copy.deepcopy(content)
    single["annotations"][1]["bbox"] = single["annotations"][1].pop("bboxes")[0]
    assert "COCO, annotations of images: annotations[1] has bbox and no bboxes" in refused(folder, single)
    assert len(silent(folder, {**content, "images": []}).videos) == 2  # more than is needed


def test_what_the_message_names_writes_a_file_that_can_be_read(tmp_path):
    video = Video(1, 64, 48, 1, ("1.jpg",), (Track(1, 0, np.float32([[3, 4, 23, 24]])),))
    write_annotations(tmp_path / "a.json", [Category(1, "cat")], [video], masks=False)
    assert load_ytvis(tmp_path / "a.json", tmp_path, masks=False).videos[0].tracks[0].boxes.tolist() == [
        [3, 4, 23, 24]
    ]


def test_shares_of_the_frame_are_refused(drawn):
    folder, content = drawn
    total = sum(len(record["bboxes"]) for record in content["annotations"])
    mixed = change_boxes(content, shares)
    message = refused(folder, mixed)
    assert f"bboxes look like shares of the frame (0..1), {total} of {total} are" in message
    assert "pixels are needed" in message
    mixed["annotations"][0]["bboxes"][0] = [10, 10, 20, 20]  # 93 % of them
    assert "look like shares" in refused(folder, mixed)
    mixed["annotations"][1]["bboxes"][0] = [10, 10, 20, 20]  # 86 %
    assert len(silent(folder, mixed).videos[0].tracks) == 2


def test_small_boxes_that_may_be_true_are_not_refused(drawn):
    folder, content = drawn
    silent(folder, change_boxes(content, lambda box, *size: [box[0], box[1], 1, 1]))
    few = change_boxes(content, lambda *_: None)
    few["annotations"][0]["bboxes"][:2] = [[0, 0, 1, 1], [0, 0, 0.5, 0.5]]
    silent(folder, few)
    tiny = {**content, "videos": [dict(content["videos"][0], width=2, height=2)]}
    tiny["annotations"] = [{**content["annotations"][0], "bboxes": [[0, 0, 1, 1]] * 5}]
    silent(folder, tiny)


def test_corners_are_warned_of_and_clipped_as_before(drawn):
    folder, content = drawn
    wrong = change_boxes(content, corners)
    with pytest.warns(InputWarning) as heard:
        videos = drawn_videos.load(folder, wrong)
    (message,) = [str(warning.message) for warning in heard]
    assert message.startswith(f"{folder / 'train.json'}: bboxes reach beyond the frame, ")
    assert "are they [x1, y1, x2, y2]? [x, y, width, height] is needed" in message
    boxes = np.concatenate([track.boxes for video in videos.videos for track in video.tracks])
    assert boxes[:, 2].max() == 64 and boxes[:, 3].max() == 48


def reach_beyond(content: dict, count: int, by: float) -> dict:
    """The annotations with `count` boxes that reach `by` pixels over the right side."""
    content = copy.deepcopy(content)
    places = [(record, frame) for record in content["annotations"] for frame in range(len(record["bboxes"]))]
    for record, frame in places[:count]:
        x, y, _, h = record["bboxes"][frame]
        record["bboxes"][frame] = [x, y, drawn_videos.SIZES[record["video_id"]][0] + by - x, h]
    return content


def test_a_few_boxes_beyond_the_frame_or_a_little_are_no_matter(drawn):
    folder, content = drawn  # 14 boxes
    silent(folder, content)
    silent(folder, reach_beyond(content, 14, by=1))
    silent(folder, reach_beyond(content, 3, by=9))
    with pytest.warns(InputWarning, match="4 of 14"):
        drawn_videos.load(folder, reach_beyond(content, 4, by=9))
    more = copy.deepcopy(content)  # 17 boxes
    more["annotations"].append({**more["annotations"][2], "id": 99, "bboxes": [[5, 5, 9, 9]] * 3 + [None]})
    silent(folder, reach_beyond(more, 4, by=9))


@pytest.mark.parametrize("absent", [None, [3, 3, 0, 9], [3, 3, 9, 0]], ids=str)
def test_a_set_without_a_box_cannot_be_trained_on(drawn, absent):
    folder, content = drawn
    boxless = change_boxes(content, lambda *_: absent)
    videos = silent(folder, boxless)
    with pytest.raises(
        InputError, match=r"train\.json: bboxes has no box to learn from: all .* give \[x, y, w"
    ):
        ClipDataset(videos, ClipConfig(num_frames=2), seed=0, length=1)
    boxless["annotations"][1]["bboxes"][3] = [3, 3, 9, 9]
    assert len(ClipDataset(silent(folder, boxless), ClipConfig(num_frames=2), seed=0, length=1)) == 1
    boxless["annotations"][1]["iscrowd"] = 1
    with pytest.raises(InputError, match="no box to learn from"):
        ClipDataset(silent(folder, boxless), ClipConfig(num_frames=2), seed=0, length=1)


def test_the_command_refuses_shares_with_one_line(drawn, capsys):
    from maskfree_nb.cli import main

    folder, content = drawn
    path = folder / "shares.json"
    path.write_text(json.dumps(change_boxes(content, shares)))
    words = ["train", str(folder / "run"), "--annotations", str(path), "--images", str(folder / "JPEGImages")]
    assert main(words) == 2
    assert f"{path}: bboxes look like shares of the frame" in capsys.readouterr().err
    assert not (folder / "run" / "model.safetensors").exists()
