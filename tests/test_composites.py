"""Composites: from drawn clips whose colours tell clip and frame, and from real ones."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_erosion

from maskfree_nb.cli import main
from maskfree_nb.data import rle
from maskfree_nb.data.annotations import write_annotations
from maskfree_nb.data.composites import make_composites
from maskfree_nb.data.composites.source import SourceClips, objects
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.frames import read_frame
from maskfree_nb.data.statistics import PAPER, clip_statistics
from maskfree_nb.data.tracks import Category, Track, Video, VideoSet
from maskfree_nb.data.ytvis import load_ytvis, verify_images
from maskfree_nb.errors import InputError

SIZES = {"train_videos": 2, "val_videos": 1, "train_frames": 3, "val_frames": 4, "width": 64, "height": 48}
CLIPS, LENGTH, WIDTH, HEIGHT = 5, 10, 80, 60  # of the drawn clips; 6 frames of each are for training
CATEGORIES = [Category(2, "unused"), Category(3, "odd"), Category(7, "even")]
OBJECT, GROUND = 220, 30  # red; green tells the frame, blue the clip
GREEN, BLUE = 20, 50


def draw_source(folder: Path, masks: bool = True, lengths: tuple[int, ...] = (LENGTH,) * CLIPS) -> tuple:
    """Draw clips of one disc each, that moves to the right; returns the annotation file and the images."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    videos = []
    for clip, length in enumerate(lengths):
        file_names = tuple(f"{clip}/{t}.png" for t in range(length))
        (folder / str(clip)).mkdir(parents=True)
        discs = [np.hypot(rows - 30, columns - 25 - 2 * t) < 11 + clip for t in range(length)]
        for t, (name, disc) in enumerate(zip(file_names, discs, strict=True)):
            red = np.where(disc, OBJECT, GROUND)
            frame = np.stack([red, np.full_like(red, GREEN * t), np.full_like(red, BLUE * clip)], -1)
            Image.fromarray(frame.astype(np.uint8)).save(folder / name)
        boxes = np.float32(
            [[14 - clip + 2 * t, 19 - clip, 37 + clip + 2 * t, 42 + clip] for t in range(length)]
        )
        track = Track(clip + 11, 1 + clip % 2, boxes, tuple(map(rle.encode, discs)))
        videos.append(Video(clip + 5, WIDTH, HEIGHT, length, file_names, (track,)))
    write_annotations(folder / "source.json", CATEGORIES, videos, masks=masks)
    return folder / "source.json", folder


def read_split(folder: Path, split: str) -> VideoSet:
    name = {"train": "train_oracle.json", "val": "val.json"}[split]
    return load_ytvis(folder / name, folder / split / "JPEGImages", masks=True)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> tuple:
    return draw_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def made(tmp_path_factory, source) -> Path:
    folder = tmp_path_factory.mktemp("composites") / "data"
    make_composites(folder, *source, **{**SIZES, "train_videos": 40, "val_videos": 20, "val_frames": 6})
    return folder


def shown_masks(videos: VideoSet):
    """Yield (video, frame uint8 [H, W, 3], [(track, mask bool [H, W])]) of every frame."""
    for video in videos.videos:
        for t in range(video.length):
            frame = read_frame(videos, video, t).permute(1, 2, 0).numpy()
            tracks = [track for track in video.tracks if track.segmentations[t]]
            yield video, t, frame, [(track, rle.decode(track.segmentations[t])) for track in tracks]


@pytest.mark.parametrize("split", ["train", "val"])
def test_every_object_is_labelled_where_it_is_seen(made, split):
    """Objects alone are red: the masks are apart, together all that is red, each of its clip's colours."""
    videos, steps, partly_hidden = read_split(made, split), set(), 0
    assert [category.name for category in videos.categories] == ["odd", "even"]
    assert {len(video.tracks) for video in videos.videos} == {2, 3, 4}
    clips = {}
    for video, t, frame, masks in shown_masks(videos):
        together = np.sum([mask for _, mask in masks], 0, dtype=int)
        assert together.max() == 1
        if all(track.segmentations[t] for track in video.tracks):  # none is too small to count
            assert ((frame[..., 0] > (OBJECT + GROUND) / 2) != together).mean() < 0.02
        for track, mask in masks:
            assert mask.sum() >= 12
            rows, columns = np.nonzero(mask)
            edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert track.boxes[t].tolist() == edges
            partly_hidden += mask.sum() < 0.6 * np.prod(track.boxes[t][2:] - track.boxes[t][:2])
            inside = frame[binary_erosion(mask, iterations=2)].astype(float)
            if len(inside) < 30:
                continue
            _, green, blue = np.median(inside, 0)
            clip, time = round(blue / BLUE), round(green / GREEN)
            assert (np.abs(inside - [OBJECT, GREEN * time, BLUE * clip]).max(1) < 30).mean() > 0.9
            assert track.category == clip % 2
            assert (0 <= time < 6) if split == "train" else (6 <= time < LENGTH)
            clips.setdefault((video.id, track.id), set()).add(clip)
            steps.add(time)
    assert all(len(seen) == 1 for seen in clips.values())  # an id stays with its object
    assert steps == (set(range(6)) if split == "train" else set(range(6, LENGTH)))
    assert partly_hidden > 5


@pytest.mark.parametrize("split, first, last", [("train", 0, 5), ("val", 6, 9)])
def test_backgrounds_too_are_of_the_splits_own_frames(made, split, first, last):
    for _, _, frame, _ in shown_masks(read_split(made, split)):
        green = np.median(frame[binary_erosion(frame[..., 0] < 60, iterations=3), 1])
        assert first <= round(green / GREEN) <= last
        assert abs(green - GREEN * round(green / GREEN)) < 4


def test_the_training_file_holds_boxes_alone_and_the_same_ones(made):
    boxes_only, oracle = (
        json.loads((made / f"{name}.json").read_text()) for name in ("train", "train_oracle")
    )
    assert all("segmentations" not in a and "areas" not in a for a in boxes_only["annotations"])
    for annotation in oracle["annotations"]:
        del annotation["segmentations"], annotation["areas"]
    assert boxes_only == oracle


def test_objects_move(made):
    tracks = [track for video in read_split(made, "train").videos for track in video.tracks]
    moved = [np.abs(track.boxes[-1] - track.boxes[0]).max() for track in tracks]
    assert np.nanmedian(moved) >= 2


def test_an_object_that_is_absent_in_its_clip_is_absent(tmp_path):
    def blink(video):
        masks = tuple(mask if t % 2 else None for t, mask in enumerate(video.tracks[0].segmentations))
        return replace(video, tracks=(replace(video.tracks[0], segmentations=masks),))

    make_composites(tmp_path / "data", *change_source(tmp_path, blink), **SIZES)
    for video in read_split(tmp_path / "data", "val").videos:
        for track in video.tracks:
            assert np.isnan(track.boxes[:, 0]).tolist() == [mask is None for mask in track.segmentations]
            assert 0 < sum(mask is None for mask in track.segmentations) < video.length


def test_the_same_source_and_seed_give_the_same_bytes(tmp_path, source):
    summaries = [
        make_composites(tmp_path / str(n), *source, seed, **SIZES) for n, seed in enumerate((7, 7, 8))
    ]
    first, again, other = (files_of(tmp_path / str(n)) for n in range(3))
    assert first == again and summaries[0] == summaries[1]
    assert summaries[0].sha256 != summaries[2].sha256
    assert all(first[name] != other[name] for name in first)
    assert json.loads(first["dataset.json"]) == asdict(summaries[0])
    assert summaries[0].kind == "composites" and str(summaries[0]).startswith(
        "composites, version 1, seed 7: 2 x 3"
    )


def test_the_same_set_is_kept_and_one_of_another_source_refused(tmp_path):
    source = draw_source(tmp_path / "source")
    summary = make_composites(tmp_path / "data", *source, **SIZES)
    image = tmp_path / "data/train/JPEGImages/00001/00000.jpg"
    written = image.stat().st_mtime_ns
    assert make_composites(tmp_path / "data", *source, **SIZES) == summary
    assert image.stat().st_mtime_ns == written
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "source/0/0.png")
    with pytest.raises(
        InputError, match=r"data: holds another data set .* one with source_sha256 [0-9a-f]{16} "
    ):
        make_composites(tmp_path / "data", *source, **SIZES)
    assert image.stat().st_mtime_ns == written
    other = make_composites(tmp_path / "other", *source, **SIZES)
    assert other.source_sha256 != summary.source_sha256


def test_another_kind_of_data_set_is_refused_and_left_alone(tmp_path, source):
    make_embedded(tmp_path / "data", train_videos=1, val_videos=1, train_frames=1, val_frames=1)
    before = files_of(tmp_path)
    with pytest.raises(
        InputError, match=r"another kind or release \(version 3, seed 0, .* name another folder"
    ):
        make_composites(tmp_path / "data", *source, **SIZES)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("split, first, last", [("train", 0, 5), ("val", 6, 9)])
def test_times_run_on_and_turn_where_a_clip_ends(source, split, first, last):
    clips = SourceClips(*source, (64, 48))
    for seed in range(40):
        rng, video = np.random.default_rng(seed), clips.videos[seed % CLIPS]
        for track in (None, objects(video)[0]):
            times = clips.draw_times(rng, video, split, 2 + seed % 12, track)
            assert min(times) >= first and max(times) <= last and len(times) == 2 + seed % 12
            steps = np.abs(np.diff(times))
            assert (steps == 1).all() or (steps == 2).all()


def test_a_clip_with_unlabelled_objects_is_no_background(tmp_path):
    path, images = draw_source(tmp_path)
    content = json.loads(path.read_text())
    for video in content["videos"][1:]:
        video["unannotated_same_class"] = True
    path.write_text(json.dumps(content))
    clips = SourceClips(path, images, (64, 48))
    assert [video.id for video in clips.backgrounds] == [5]
    assert len(clips.videos) == CLIPS


def test_large_frames_are_reduced_to_what_is_needed(source):
    clips = SourceClips(*source, (32, 30))
    video = clips.videos[0]
    assert clips.frame(video, 0).size == clips.mask(video, video.tracks[0], 0, True).size == (40, 30)
    assert SourceClips(*source, (640, 480)).frame(video, 0).size == (WIDTH, HEIGHT)


def test_what_was_behind_an_object_does_not_come_along(source):
    clips = SourceClips(*source, (640, 480))
    video = clips.videos[2]
    true = rle.decode(video.tracks[0].segmentations[3])
    own, feathered = (np.asarray(clips.mask(video, video.tracks[0], 3, soft)) for soft in (False, True))
    assert np.array_equal(own, true * 255)
    assert (feathered[~true] == 0).all() and (feathered[binary_erosion(true, np.ones((3, 3)))] == 255).all()
    assert ((feathered > 0) & (feathered < 255)).any()


@pytest.mark.parametrize(
    "options, words",
    [
        ({"masks": False}, r"source\.json: annotation 11 of video 5: segmentations is missing"),
        ({"lengths": (9,)}, r"source\.json: videos with objects in annotations: 1, expected at least 2"),
        (
            {"lengths": (9, 3)},
            r"source\.json: video 6: length is 3, expected at least 4.*take this video out",
        ),
    ],
    ids=["boxes", "one video", "short"],
)
def test_sources_that_do_not_do_are_refused(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        make_composites(tmp_path / "data", *draw_source(tmp_path / "source", **options), **SIZES)
    assert not (tmp_path / "data").exists()


def change_source(tmp_path: Path, change) -> tuple:
    path, images = draw_source(tmp_path / "source")
    videos = load_ytvis(path, images, masks=True)
    write_annotations(path, videos.categories, [change(video) for video in videos.videos], masks=True)
    return path, images


def test_a_source_without_a_background_is_refused(tmp_path):
    def crowd(video):
        again = replace(video.tracks[0], id=video.id + 100, is_crowd=True)
        return replace(video, tracks=(*video.tracks, again))

    with pytest.raises(InputError, match=r"source\.json: no video can be a background: .*iscrowd"):
        make_composites(tmp_path / "data", *change_source(tmp_path, crowd), **SIZES)


def test_a_source_with_hardly_a_mask_is_refused(tmp_path):
    def dot(video):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[3:5, 3] = True
        return replace(video, tracks=(replace(video.tracks[0], segmentations=(rle.encode(mask),) * LENGTH),))

    with pytest.raises(InputError, match=r"source\.json: segmentations are too small or too rare"):
        make_composites(tmp_path / "data", *change_source(tmp_path, dot), **SIZES)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_the_command_makes_a_set_of_the_wanted_sizes(tmp_path, source, capsys):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SIZES.items()]
    arguments = ["data", "composites", str(tmp_path / "data"), "--annotations", str(source[0])]
    assert main([*arguments, "--images", str(source[1]), *flags]) == 0
    assert "2 x 3 training and 1 x 4 validation frames of 64x48" in capsys.readouterr().out
    assert main([*arguments, "--images", str(tmp_path / "none"), *flags]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


@pytest.mark.real_data
def test_composites_of_real_clips(real_data, tmp_path):
    folder = real_data / "davis16_test"
    make_composites(
        tmp_path / "data", folder / "instances.json", folder / "JPEGImages", train_videos=15, val_videos=2
    )
    videos = read_split(tmp_path / "data", "train")
    verify_images(videos)
    assert [category.name for category in videos.categories] == ["person", "vehicle", "bird", "quadruped"]
    assert {len(video.tracks) for video in videos.videos} == {2, 3, 4}
    (row,) = clip_statistics(videos, (PAPER,))
    assert 0.35 < row.box_fill < 0.6
    assert row.match_accuracy > 0.98 and 0.05 < row.matches < 1
    areas = [
        rle.area(m) for video in videos.videos for track in video.tracks for m in track.segmentations if m
    ]
    assert 12 <= min(areas) and 20 < np.sqrt(np.median(areas)) < 50
