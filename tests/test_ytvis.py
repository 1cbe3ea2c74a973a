"""YouTube-VIS annotation files: what is read with boxes alone, with masks, and what is written."""

import copy
import json

import drawn_videos
import numpy as np
import pytest
from conftest import oracle_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from maskfree_nb.data import rle, ytvis
from maskfree_nb.data.annotations import write_annotations
from maskfree_nb.data.ytvis import load_ytvis, verify_images


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
