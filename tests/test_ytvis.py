"""YouTube-VIS annotation files and their images: what is read, and what each kind of bad input says."""

import copy
import json
import re

import drawn_videos
import numpy as np
import pytest
from conftest import oracle_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maskfree_nb.data import rle, ytvis
from maskfree_nb.data.annotations import write_annotations
from maskfree_nb.data.ytvis import load_ytvis, verify_images
from maskfree_nb.errors import InputError


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    return folder, drawn_videos.draw(folder)


def annotation(content, id):
    return next(record for record in content["annotations"] if record["id"] == id)


def assert_same_set(a, b):
    assert a.categories == b.categories
    assert [video.id for video in a.videos] == [video.id for video in b.videos]
    for one, two in zip(a.videos, b.videos, strict=True):
        assert (one.width, one.height, one.length, one.file_names) == (
            two.width,
            two.height,
            two.length,
            two.file_names,
        )
        for x, y in zip(one.tracks, two.tracks, strict=True):
            assert (x.id, x.category, x.is_crowd, x.segmentations) == (
                y.id,
                y.category,
                y.is_crowd,
                y.segmentations,
            )
            assert x.boxes.dtype == np.float32
            np.testing.assert_array_equal(x.boxes, y.boxes)


# --- what is read


def test_reads_videos_tracks_and_categories(drawn):
    folder, content = drawn
    content = copy.deepcopy(content)
    annotation(content, 18)["iscrowd"] = 1
    videos = drawn_videos.load(folder, drawn_videos.without_masks(content))
    assert [(category.id, category.name) for category in videos.categories] == [(2, "early"), (5, "late")]
    first, second = videos.videos
    assert (first.id, first.width, first.height, first.length) == (3, 64, 48, 5)
    assert first.file_names == tuple(f"3/{frame:05d}.jpg" for frame in range(5))
    assert [(track.id, track.category, track.is_crowd) for track in first.tracks] == [
        (17, 1, False),
        (18, 0, True),
    ]
    assert [track.id for track in second.tracks] == [40]
    for frame, given_box in enumerate(first.tracks[0].boxes):
        x, y, w, h = drawn_videos.box(17, frame)
        assert given_box.tolist() == [x, y, x + w, y + h]
    assert first.tracks[0].segmentations is None and not videos.has_masks


def test_boxes_alone_need_no_masks_and_no_iscrowd(drawn):
    folder, content = drawn
    content = drawn_videos.without_masks(copy.deepcopy(content))
    for record in content["annotations"]:
        del record["iscrowd"]
    videos = drawn_videos.load(folder, content)
    assert sum(len(video.tracks) for video in videos.videos) == 3
    assert not any(track.is_crowd for video in videos.videos for track in video.tracks)


@pytest.mark.parametrize("garbage", ["garbage", None, [1, 2, 3], {"size": 1}])
def test_box_mode_cannot_see_the_masks(drawn, garbage):
    folder, content = drawn
    changed = copy.deepcopy(content)
    for record in changed["annotations"]:
        record["segmentations"] = record["areas"] = garbage
    reference = drawn_videos.load(folder, drawn_videos.without_masks(content))
    assert_same_set(drawn_videos.load(folder, content), reference)
    assert_same_set(drawn_videos.load(folder, changed), reference)


def test_box_mode_drops_the_masks_while_parsing(drawn, monkeypatch):
    seen = []
    read_tracks = ytvis._read_tracks
    monkeypatch.setattr(
        ytvis, "_read_tracks", lambda content, *rest: seen.append(content) or read_tracks(content, *rest)
    )
    drawn_videos.load(*drawn, masks=False)
    drawn_videos.load(*drawn, masks=True)
    assert seen == [drawn_videos.without_masks(drawn[1]), drawn[1]]


def test_masks_compressed_and_uncompressed(drawn):
    folder, content = drawn
    uncompressed = copy.deepcopy(content)
    for record in uncompressed["annotations"]:
        for frame in record["segmentations"]:
            flat = rle.decode(frame).flatten(order="F")
            ends = np.flatnonzero(np.diff(np.concatenate(([0], flat, [2]))))
            frame["counts"] = np.diff(ends, prepend=0).tolist()
    videos = drawn_videos.load(folder, content, masks=True)
    assert_same_set(drawn_videos.load(folder, uncompressed, masks=True), videos)
    assert videos.has_masks
    for video in videos.videos:
        for track in video.tracks:
            for frame, mask in enumerate(track.segmentations):
                rectangle = drawn_videos.box(track.id, frame)
                expected = drawn_videos.filled(rectangle, (video.width, video.height))
                assert (rle.decode(mask) == expected).all()
                assert rle.area(mask) == expected.sum()


def test_absent_boxes_are_nan(drawn):
    folder, content = drawn
    content = copy.deepcopy(content)
    annotation(content, 17)["bboxes"] = [
        None,
        [0, 0, 0, 0],
        [70, 5, 0, 4],
        [5, 5, 4, 0.0],
        [63.99999999, 5, 9, 4],
    ]
    boxes = drawn_videos.load(folder, content).videos[0].tracks[0].boxes
    assert np.isnan(boxes).all()


def test_boxes_are_clipped_to_the_frame(drawn):
    folder, content = drawn
    content = copy.deepcopy(content)
    annotation(content, 17)["bboxes"] = [
        [-4, -2.5, 10, 10],
        [60, 40, 10, 10],
        [-9, -9, 999, 999],
        [0.25, 0.5, 63.5, 47.25],
        [0, 0, 1e300, 2],
    ]
    boxes = drawn_videos.load(folder, content).videos[0].tracks[0].boxes
    assert boxes.tolist() == [
        [0, 0, 6, 7.5],
        [60, 40, 64, 48],
        [0, 0, 64, 48],
        [0.25, 0.5, 63.75, 47.75],
        [0, 0, 64, 2],
    ]


@pytest.mark.parametrize("annotations", [None, [], "missing"])
def test_a_set_without_labels_has_no_tracks(drawn, annotations):
    folder, content = drawn
    content = content | {"annotations": annotations}
    if annotations == "missing":
        del content["annotations"]
    assert [video.tracks for video in drawn_videos.load(folder, content).videos] == [(), ()]


@pytest.mark.parametrize("masks", [False, True])
def test_written_annotations_read_back(drawn, masks, tmp_path):
    folder, content = drawn
    content = copy.deepcopy(content)
    annotation(content, 17)["bboxes"][1] = annotation(content, 17)["segmentations"][1] = None
    annotation(content, 17)["bboxes"][2] = [0.1, 0.2, 0.3, 17.7]
    annotation(content, 18)["iscrowd"] = 1
    videos = drawn_videos.load(folder, content, masks=masks)
    path = tmp_path / "written" / "instances.json"
    write_annotations(path, videos.categories, videos.videos, masks=masks)
    assert_same_set(load_ytvis(path, folder, masks=masks), videos)
    written = json.loads(path.read_text())["annotations"]
    assert all(("segmentations" in record) == ("areas" in record) == masks for record in written)
    if masks:
        assert [record["areas"] for record in written[1:]] == [
            record["areas"] for record in content["annotations"][1:]
        ]
    assert [file.name for file in path.parent.iterdir()] == ["instances.json"]


@settings(deadline=None)
@given(st.data())
def test_rle_round_trip(data):
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    seed, share = data.draw(st.integers(0, 2**32 - 1)), data.draw(st.floats(0, 1))
    mask = np.random.default_rng(seed).random((height, width)) < share
    coded = rle.encode(mask)
    assert (rle.decode(coded) == mask).all()
    assert rle.checked(coded, height, width) == coded
    assert rle.area(coded) == mask.sum()


# --- bad annotation files


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


# --- bad images


@pytest.fixture
def fresh(tmp_path):
    """A video set of its own, to be damaged, and the path of frame 2 of video 3."""
    videos = drawn_videos.load(tmp_path, drawn_videos.draw(tmp_path))
    return videos, tmp_path / "JPEGImages" / "3" / "00002.jpg"


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def save_png(path, cut):
    Image.effect_noise((64, 48), 50).save(path, format="PNG")
    if cut:
        truncate(path)


DAMAGE = {
    "missing": (lambda path: path.unlink(), "does not exist"),
    "truncated": (truncate, "cannot be read as an image: image file is truncated"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read as an image: cannot identify"),
    "text": (lambda path: path.write_text("not an image"), "cannot be read as an image: cannot identify"),
    "header only": (lambda path: path.write_bytes(path.read_bytes()[:100]), "cannot be read as an image: "),
    "size": (
        lambda path: Image.new("RGB", (48, 64)).save(path),
        "is 48x64 pixels, the annotations say 64x48 (width x height)",
    ),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read as an image: "),
    "truncated png": (lambda path: save_png(path, cut=True), "cannot be read as an image: "),
}


@pytest.mark.parametrize("decode_at_most", [4096, 0], ids=["decoded", "headers"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_image(fresh, damage, decode_at_most):
    videos, path = fresh
    change, message = DAMAGE[damage]
    verify_images(videos, decode_at_most)
    change(path)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        verify_images(videos, decode_at_most)
    assert str(error.value).startswith(f"{videos.source}: video 3: file_names[2]: {path} ")


@pytest.mark.parametrize("decode_at_most", [4096, 0], ids=["decoded", "headers"])
def test_unusual_but_whole_images(fresh, decode_at_most):
    videos, path = fresh
    path.write_bytes(path.read_bytes() + bytes(64))
    verify_images(videos, decode_at_most)
    save_png(path, cut=False)
    verify_images(videos, decode_at_most)


def test_missing_image_folder(drawn, tmp_path):
    videos = load_ytvis(drawn[0] / "train.json", tmp_path / "nowhere", masks=False)
    with pytest.raises(InputError, match=r"nowhere: no such folder, expected the images of .*train\.json"):
        verify_images(videos)


# --- real files


def assert_boxes_fit_masks(videos):
    """The box of every mask is the tight box; where there is no mask there is no box."""
    for video in videos.videos:
        for track in video.tracks:
            for box, mask in zip(track.boxes, track.segmentations, strict=True):
                if mask is None or rle.area(mask) == 0:
                    assert np.isnan(box).all()
                    continue
                rows, columns = np.nonzero(rle.decode(mask))
                assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.oracle
@pytest.mark.parametrize(
    "path", sorted(oracle_folder().glob("ytvis_eval/*.gt.json")), ids=lambda path: path.name
)
def test_golden_annotations(path):
    videos = load_ytvis(path, path.parent, masks=True)
    assert any(video.tracks for video in videos.videos)
    assert_boxes_fit_masks(videos)


@pytest.mark.real_data
def test_real_annotations(real_data):
    folder = real_data / "davis16_test"
    boxes = load_ytvis(folder / "instances.json", folder / "JPEGImages", masks=False)
    videos = load_ytvis(folder / "instances.json", folder / "JPEGImages", masks=True)
    verify_images(boxes)
    assert_boxes_fit_masks(videos)
    assert len(videos.videos) == len(boxes.videos) > 0
    for video, same in zip(videos.videos, boxes.videos, strict=True):
        for track, box_track in zip(video.tracks, same.tracks, strict=True):
            assert box_track.segmentations is None
            np.testing.assert_array_equal(track.boxes, box_track.boxes)
