"""Annotation files that cannot be used: each kind of bad input and what it says."""

import copy
import json

import drawn_videos
import pytest

from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    return folder, drawn_videos.draw(folder)


def annotation(content, id):
    return next(record for record in content["annotations"] if record["id"] == id)


def edit(id, /, **fields):
    return lambda content: annotation(content, id).update(fields)


def edit_box(frame, value):
    return lambda content: annotation(content, 17)["bboxes"].__setitem__(frame, value)


def edit_mask(**fields):
    return lambda content: annotation(content, 17)["segmentations"][2].update(fields)


def edit_video(**fields):
    return lambda content: content["videos"][0].update(fields)


def edit_name(value):
    return lambda content: content["videos"][0]["file_names"].__setitem__(1, value)


def drop(list_name, index, field):
    return lambda content: content[list_name][index].pop(field)


WHERE = "annotation 17 of video 3: "
NAMES = [f"3/{frame:05d}.jpg" for frame in range(4)]
BAD_BOXES = {
    "short": (edit(17, bboxes=[[1, 2, 3, 4]] * 4), "bboxes has 4 entries, the video has 5 frames"),
    "long": (edit(17, bboxes=[[1, 2, 3, 4]] * 6), "bboxes has 6 entries, the video has 5 frames"),
    "missing": (drop("annotations", 0, "bboxes"), "bboxes is missing"),
    "null": (edit(17, bboxes=None), "bboxes is None, expected list"),
    "nan": (
        edit_box(2, [1, float("nan"), 3, 4]),
        "bboxes[2] is [1, nan, 3, 4], expected four finite numbers [x, y, width, height] or null",
    ),
    "infinite": (edit_box(0, [1, 2, float("inf"), 4]), "bboxes[0] is [1, 2, inf, 4], expected four finite"),
    "huge": (edit_box(0, [1, 2, 10**400, 4]), "expected four finite numbers"),
    "three": (edit_box(1, [1, 2, 3]), "bboxes[1] is [1, 2, 3], expected four finite"),
    "text": (edit_box(1, [1, 2, "3", 4]), "bboxes[1] is [1, 2, '3', 4], expected four finite"),
    "true": (edit_box(1, [True, 2, 3, 4]), "bboxes[1] is [True, 2, 3, 4], expected four finite"),
    "number": (edit_box(1, 7), "bboxes[1] is 7, expected four finite"),
    "width": (
        edit_box(3, [9, 9, -3, 4]),
        "bboxes[3] is [9, 9, -3, 4], its width and height must not be negative",
    ),
    "height": (edit_box(3, [9, 9, 3, -4]), "its width and height must not be negative"),
    "left": (
        edit_box(3, [-9, 9, 9, 4]),
        "bboxes[3] is [-9, 9, 9, 4], which lies outside the frame of 64x48 (null means absent)",
    ),
    "right": (edit_box(3, [64, 9, 9, 4]), "lies outside the frame"),
    "above": (edit_box(3, [9, -9, 9, 4]), "lies outside the frame"),
    "below": (edit_box(3, [9, 48, 9, 4]), "lies outside the frame"),
}
BAD_FIELDS = {
    "category": (edit(17, category_id=99), WHERE + "category_id is 99, the file's categories are 2, 5"),
    "category type": (edit(17, category_id="5"), WHERE + "category_id is '5', expected int"),
    "video": (edit(17, video_id=4), "annotation 17: video_id is 4, the file has no such video"),
    "annotation twice": (edit(18, id=17), WHERE + "this id is taken already, annotation ids must differ"),
    "annotation id": (drop("annotations", 1, "id"), "annotations[1]: id is missing"),
    "video twice": (edit_video(id=8), "video 8: this id is taken already, video ids must differ"),
    "category twice": (
        lambda content: content["categories"][1].update(id=5),
        "categories[1]: id 5 is taken already, category ids must differ",
    ),
    "category name": (drop("categories", 0, "name"), "categories[0]: name is missing"),
    "iscrowd": (edit(17, iscrowd=2), WHERE + "iscrowd is 2, expected 0 or 1"),
    "annotation width": (edit(17, width=65), WHERE + "width is 65, that of the video is 64"),
    "annotation length": (edit(17, length=9), WHERE + "length is 9, that of the video is 5"),
    "no width": (drop("videos", 0, "width"), "video 3: width is missing"),
    "zero height": (edit_video(height=0), "video 3: height is 0, expected at least 1"),
    "length type": (edit_video(length=5.0), "video 3: length is 5.0, expected int"),
    "names": (edit_video(file_names=NAMES), "video 3: file_names has 4 entries, expected 5"),
    "no frames": (edit_video(length=0, file_names=[]), "video 3: length is 0, expected at least 1"),
    "parent": (
        edit_name("3/../../secret.jpg"),
        "video 3: file_names[1] is '3/../../secret.jpg', expected a path inside the image folder",
    ),
    "absolute": (edit_name("/etc/passwd"), "file_names[1] is '/etc/passwd', expected a path inside"),
    "empty name": (edit_name(""), "file_names[1] is '', expected a path inside"),
    "null byte": (edit_name("3/a\0.jpg"), "expected a path inside"),
    "name type": (edit_name(7), "file_names[1] is 7, expected a path inside"),
    "no videos": (lambda content: content.update(videos=[]), "videos is empty"),
    "no categories": (lambda content: content.update(categories=[]), "categories is empty"),
    "videos missing": (lambda content: content.pop("videos"), "videos is missing or not a list of objects"),
    "annotations type": (lambda content: content.update(annotations=[3]), "annotations is missing or not a"),
}
BAD_MASKS = {
    "missing": (
        drop("annotations", 0, "segmentations"),
        "segmentations is missing; masks were asked for, but",
    ),
    "short": (edit(17, segmentations=[None]), "segmentations has 1 entries, the video has 5 frames"),
    "type": (
        edit(17, segmentations=[None, 3, None, None, None]),
        "segmentations[1]: expected null or an RLE",
    ),
    "size": (
        edit_mask(size=[64, 48]),
        "segmentations[2]: size is [64, 48], the frame is [48, 64] (height, width)",
    ),
    "sum": (
        edit_mask(counts=[5, 6]),
        "segmentations[2]: its runs add up to 11 pixels, the frame has 3072",
    ),
    "negative": (edit_mask(counts=[-5, 3077]), "segmentations[2]: its runs add up to"),
    "fraction": (edit_mask(counts=[0.5, 3071.5]), "counts holds something that is not a whole number"),
    "null": (edit_mask(counts=None), "counts is NoneType, expected a list of runs or a string"),
    "cut": (edit_mask(counts="oP2"), "segmentations[2]: its runs add up to"),
    "cut in a run": (edit_mask(counts="oP"), "segmentations[2]: counts is not a complete RLE string"),
    "empty": (edit_mask(counts=""), "counts is not a complete RLE string"),
    "letters": (edit_mask(counts="~~~é"), "counts is not a complete RLE string"),
    "long run": (edit_mask(counts="ooooooooo0"), "counts holds a run that is too long"),
}


def assert_refused(folder, content, change, message, *, masks=False):
    content = copy.deepcopy(content)
    change(content)
    with pytest.raises(InputError) as error:
        drawn_videos.load(folder, content, masks=masks)
    assert str(error.value).startswith(f"{folder / 'train.json'}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", BAD_BOXES)
def test_bad_boxes(drawn, name):
    change, message = BAD_BOXES[name]
    assert_refused(*drawn, change, message)
    assert_refused(*drawn, change, WHERE + "bboxes")


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_bad_fields(drawn, name):
    assert_refused(*drawn, *BAD_FIELDS[name])


@pytest.mark.parametrize("name", BAD_MASKS)
def test_bad_masks(drawn, name):
    change, message = BAD_MASKS[name]
    assert_refused(*drawn, change, WHERE, masks=True)
    assert_refused(*drawn, change, message, masks=True)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: cannot be read \(No such file or directory\)"):
        load_ytvis(tmp_path / "none.json", tmp_path, masks=False)
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        load_ytvis(tmp_path, tmp_path, masks=False)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_file_cut_short(drawn, tmp_path, share):
    text = json.dumps(drawn[1], indent=1)
    path = tmp_path / "cut.json"
    path.write_text(text[: int(len(text) * share)])
    with pytest.raises(InputError, match=r"cut\.json: line \d+, character \d+: not valid JSON .*cut short"):
        load_ytvis(path, tmp_path, masks=False)


def test_not_an_annotation_file(tmp_path):
    path = tmp_path / "other.json"
    path.write_text("[1, 2]")
    with pytest.raises(InputError, match=r"other\.json: holds a list, expected a YouTube-VIS object"):
        load_ytvis(path, tmp_path, masks=False)
    path.write_bytes(b"{\xff}")
    with pytest.raises(InputError, match=r"other\.json: byte 1: not UTF-8 text"):
        load_ytvis(path, tmp_path, masks=False)
