"""The embedded data set: the same bytes for the same seed, true boxes, and the look of real clips."""

import hashlib
import json
from dataclasses import asdict, astuple
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.data import rle
from maskfree_nb.data.embedded import dataset, make_embedded
from maskfree_nb.data.embedded.appearance import OVERSAMPLING, TO_YCC, draw_surface, sample
from maskfree_nb.data.embedded.camera import Shot
from maskfree_nb.data.embedded.photographs import BACKGROUNDS, SURFACES, photograph, random_crop
from maskfree_nb.data.embedded.pose import Pose
from maskfree_nb.data.embedded.scene import render_video
from maskfree_nb.data.embedded.shapes import CLASSES, outline
from maskfree_nb.data.frames import read_frame
from maskfree_nb.data.statistics import REAL_CLIPS, clip_statistics
from maskfree_nb.data.ytvis import load_ytvis, verify_images
from maskfree_nb.errors import InputError
from maskfree_nb.recipes import DEMO_DATA

SMALL = {"train_videos": 2, "val_videos": 1, "train_frames": 3, "val_frames": 2}


def files_of(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The first 100 training videos of the default data set, and two validation videos."""
    folder = tmp_path_factory.mktemp("embedded") / "data"
    make_embedded(folder, train_videos=100, val_videos=2)
    return folder


@pytest.fixture(scope="module")
def train(made):
    return load_ytvis(made / "train_oracle.json", made / "train" / "JPEGImages", masks=True)


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    summaries = [make_embedded(tmp_path / str(n), seed, **SMALL) for n, seed in enumerate((7, 7, 8))]
    first, again, other = (files_of(tmp_path / str(n)) for n in range(3))
    assert first == again
    assert summaries[0] == summaries[1]
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first)


def test_more_videos_leave_the_first_ones_as_they_are(tmp_path):
    make_embedded(tmp_path / "few", **SMALL)
    make_embedded(tmp_path / "more", **{**SMALL, "train_videos": 3})
    few, more = files_of(tmp_path / "few" / "train"), files_of(tmp_path / "more" / "train")
    assert few.items() < more.items()


def test_the_summary_is_stored_and_names_what_was_made(tmp_path):
    summary = make_embedded(tmp_path / "data", seed=3, **SMALL)
    files = files_of(tmp_path / "data")
    assert json.loads(files.pop("dataset.json")) == asdict(summary)
    images = {split: [name for name in files if name.startswith(split + "/")] for split in ("train", "val")}
    order = [*images["train"], "train.json", "train_oracle.json", *images["val"], "val.json"]
    assert sorted(order) == sorted(files)
    assert summary.sha256 == hashlib.sha256(b"".join(files[name] for name in order)).hexdigest()
    assert str(summary) == (
        f"embedded data set, version {dataset.VERSION}, seed 3: 2 x 3 training and 1 x 2 validation frames "
        f"of 128x96, sha256 {summary.sha256[:16]}"
    )


def test_the_same_data_set_is_kept_and_another_is_refused(tmp_path):
    folder = tmp_path / "data"
    summary = make_embedded(folder, **SMALL)
    image = folder / "train" / "JPEGImages" / "00001" / "00000.jpg"
    written = image.stat().st_mtime_ns
    assert make_embedded(folder, **SMALL) == summary
    assert image.stat().st_mtime_ns == written
    (folder / "drawn.json").write_text("mine")
    before = files_of(folder)
    with pytest.raises(
        InputError, match=r"data: holds another data set \(embedded .*, one with seed 1 was ask"
    ):
        make_embedded(folder, seed=1, **SMALL)
    with pytest.raises(InputError, match=r"one with train_videos 3, style fixed was asked for; name another"):
        make_embedded(folder, **{**SMALL, "train_videos": 3}, style="fixed")
    assert files_of(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"version": 1}'])
def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path, content):
    (tmp_path / "dataset.json").write_text(content)
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(InputError, match="is not a data set made by this program"):
        make_embedded(tmp_path, **SMALL)
    assert files_of(tmp_path) == {"dataset.json": content.encode(), "thesis.txt": b"three years"}


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(InputError, match="is not a data set made by this program"):
        make_embedded(tmp_path / "data", **SMALL)


def test_an_interrupted_run_leaves_nothing_and_other_sets_whole(tmp_path, monkeypatch):
    make_embedded(tmp_path / "data", **SMALL)
    before = files_of(tmp_path)

    def interrupted(rng, split, shot):
        if split == "val":
            raise KeyboardInterrupt
        return render_video(rng, split, shot)

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "render_video", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_embedded(tmp_path / "other", seed=1, **SMALL)
    assert files_of(tmp_path) == before and [path.name for path in tmp_path.iterdir()] == ["data"]
    assert make_embedded(tmp_path / "other", seed=1, **SMALL).seed == 1


@pytest.mark.parametrize(
    "wrong", [{"width": 8}, {"height": 0}, {"train_videos": 0}, {"val_frames": -1}, {"seed": -1}], ids=str
)
def test_sizes_that_make_no_data_set_are_refused(tmp_path, wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(InputError, match=rf"{name} is {value}, expected at least"):
        make_embedded(tmp_path / "data", **{**SMALL, **wrong})
    assert not any(tmp_path.iterdir())


def test_the_training_file_holds_boxes_alone_and_the_same_ones(made):
    boxes_only, oracle = (
        json.loads((made / f"{name}.json").read_text()) for name in ("train", "train_oracle")
    )
    assert all("segmentations" not in a and "areas" not in a for a in boxes_only["annotations"])
    for annotation in oracle["annotations"]:
        del annotation["segmentations"], annotation["areas"]
    assert boxes_only == oracle


def test_the_images_are_whole_and_every_box_is_that_of_its_mask(made, train):
    val = load_ytvis(made / "val.json", made / "val" / "JPEGImages", masks=True)
    assert len(train.videos) == 100 and len(val.videos) == 2
    assert [category.name for category in train.categories] == list(CLASSES)
    for videos in (train, val):
        verify_images(videos)
        for track in (track for video in videos.videos for track in video.tracks):
            for box, mask in zip(track.boxes, track.segmentations, strict=True):
                if mask is None:
                    assert np.isnan(box).all()
                    continue
                rows, columns = np.nonzero(rle.decode(mask))
                assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_objects_are_of_all_classes_big_enough_and_enter_leave_and_hide_each_other(train):
    tracks = [track for video in train.videos for track in video.tracks]
    assert {track.category for track in tracks} == set(range(len(CLASSES)))
    assert {len(video.tracks) for video in train.videos} == {1, 2, 3}
    areas = [rle.area(mask) for track in tracks for mask in track.segmentations if mask]
    assert np.median(np.sqrt(areas)) >= 28
    present = np.array([[mask is not None for mask in track.segmentations] for track in tracks])
    assert (present[:, 0] & ~present[:, -1]).sum() >= 5  # leave
    assert (~present[:, 0] & present[:, -1]).sum() >= 5  # enter
    touching = 0
    for video in train.videos:
        for t in range(video.length):
            masks = [rle.decode(track.segmentations[t]) for track in video.tracks if track.segmentations[t]]
            assert np.sum(masks, 0, dtype=int).max(initial=0) <= 1  # the visible parts are apart
            boxes = [track.boxes[t] for track in video.tracks if track.segmentations[t]]
            touching += any(
                (np.maximum(a[:2], b[:2]) < np.minimum(a[2:], b[2:])).all()
                for i, a in enumerate(boxes)
                for b in boxes[:i]
            )
    assert touching >= 50  # frames in which the boxes of two objects overlap


def test_everything_moves(train):
    for video in train.videos[:10]:
        first, last = (read_frame(train, video, t).float() for t in (0, video.length - 1))
        assert (first - last).abs().mean() > 5  # noise alone: 2 to 4


def check_statistics(videos):
    for row, real in zip(clip_statistics(videos), REAL_CLIPS, strict=True):
        assert 0.40 <= row.box_fill <= 0.55
        assert row.match_accuracy >= 0.99
        made, wanted = (torch.tensor((r.box_fill, *astuple(r)[3:])) for r in (row, real))
        assert_close(made, wanted, **TOL["near real clips"])


def test_the_statistics_are_near_those_of_real_clips(train):
    check_statistics(train)


@pytest.mark.slow
def test_so_are_those_of_the_videos_that_the_demo_trains_on(tmp_path):
    make_embedded(tmp_path / "data", **{**DEMO_DATA, "train_videos": 200}, val_videos=1)
    images = tmp_path / "data" / "train" / "JPEGImages"
    check_statistics(load_ytvis(tmp_path / "data" / "train_oracle.json", images, masks=True))


@given(
    point=st.tuples(st.floats(-1.2, 1.2), st.floats(-1.2, 1.2)),
    rotation=st.floats(-7, 7),
    stretch=st.floats(0.8, 1.2),
    twist=st.floats(-0.5, 0.5),
    wobble=st.floats(-0.3, 0.3),
    lobes=st.integers(1, 4),
)
def test_a_pose_is_undone_exactly(point, rotation, stretch, twist, wobble, lobes):
    pose = Pose((40.5, -3.25), 30.0, rotation, stretch, twist, wobble, lobes)
    there = torch.from_numpy(pose.to_image(np.array(point)))
    back = torch.from_numpy(pose.to_object(there.numpy()))
    assert_close(back, torch.tensor(point, dtype=torch.float64), **TOL["pose there and back"])


def test_a_pose_without_deformation_is_a_similarity():
    pose = Pose(centre=(10, 20), scale=2, rotation=np.pi / 2)
    moved = torch.from_numpy(pose.to_image(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])))
    wanted = torch.tensor([[10.0, 20.0], [10.0, 22.0], [4.0, 20.0]], dtype=torch.float64)
    assert_close(moved, wanted, **TOL["pose there and back"])


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("seed", range(5))
def test_outlines_are_centred_of_unit_reach_and_not_convex(name, seed):
    polygon = outline(name, np.random.default_rng(seed))
    following = np.roll(polygon, -1, 0)
    cross = polygon[:, 0] * following[:, 1] - following[:, 0] * polygon[:, 1]
    area = cross.sum() / 2
    centroid = ((polygon + following) * cross[:, None]).sum(0) / (6 * area)
    assert np.abs(centroid).max() < 1e-9
    assert 0.7 < np.hypot(*polygon.T).max() < 1.5
    assert 0.3 < area / ConvexHull(polygon).volume < 0.8  # `volume` is the area in the plane
    assert not np.array_equal(polygon, outline(name, np.random.default_rng(seed + 100)))


@pytest.mark.parametrize("name", [*BACKGROUNDS, *chain.from_iterable(SURFACES.values())])
def test_the_splits_share_no_pixel_of_a_photograph(name):
    train, val = photograph(name, "train"), photograph(name, "val")
    whole = np.concatenate([np.asarray(train), np.asarray(val)], 1)
    assert train.height == val.height and min(train.width, val.width) >= 128
    assert whole.std() > 10  # a picture, not a blank
    crops = [random_crop(name, "val", (40, 30), 0.5, np.random.default_rng(seed)) for seed in range(2)]
    assert crops[0].shape == (30, 40, 3)
    assert not np.array_equal(*crops)


def test_a_crop_larger_than_the_photograph_reaches_over_its_edges_in_mirror():
    part = photograph("chelsea.png", "val")
    crop = random_crop("chelsea.png", "val", (part.width + 40, part.height), 1.0, np.random.default_rng(0))
    assert np.array_equal(crop[:, 20:-20], np.asarray(part))
    assert np.array_equal(crop[:, :20], crop[:, 39:19:-1])
    assert np.array_equal(crop[:, -20:], crop[:, -21:-41:-1])


def test_sampling_reads_texture_pixels_and_clamps_outside():
    texture = np.random.default_rng(0).random((7, 9, 3)).astype(np.float32)
    rows, columns = np.mgrid[:7, :9]
    places = np.stack([columns - 4, rows - 3], -1) / OVERSAMPLING
    assert_close(torch.from_numpy(sample(texture, places)).float(), torch.tensor(texture), **TOL["texture"])
    far = sample(texture, np.array([-100.0, 100.0]))
    assert_close(torch.from_numpy(far).float(), torch.tensor(texture[-1, 0]), **TOL["texture"])


def test_a_surface_differs_from_what_is_behind_and_many_fade_into_it_towards_one_end():
    behind = np.array([120.0, 110.0, 100.0])
    rng = np.random.default_rng(0)
    surfaces = [draw_surface(rng, "train", "arrow", behind, 20) for _ in range(40)]
    assert all(surface.shape == (20 * OVERSAMPLING, 20 * OVERSAMPLING, 3) for surface in surfaces)
    chroma = TO_YCC[1:]  # the luma has its own slope
    parts = np.array([[p.mean((0, 1)) for p in np.split(s, 4)] for s in surfaces]) - behind  # [40, 4, 3]
    near, *_, far = np.sort(np.linalg.norm(parts @ chroma.T, axis=-1), axis=1).T
    assert np.median(far) > 25
    assert 0.2 < ((near < 12) & (far > 2 * near)).mean() < 0.9


def test_each_class_has_its_own_stuff_and_no_background_is_made_of_it():
    assert tuple(SURFACES) == CLASSES
    everything = [*BACKGROUNDS, *chain.from_iterable(SURFACES.values())]
    assert len(everything) == len(set(everything))


def test_a_video_of_one_small_frame():
    video = render_video(np.random.default_rng(0), "val", Shot(width=48, height=64, length=1))
    assert video.frames.shape == (1, 64, 48, 3)
    assert video.masks.shape == (len(video.categories), 1, 64, 48)
