"""Given clips: a data set whose held-out videos are those trained on, and a study of them."""

import json

import pytest

from maskfree_nb.cli import main
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.frames import read_frame
from maskfree_nb.data.given_clips import make_given_clips
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError

SIZES = {"train_videos": 2, "train_frames": 3, "val_videos": 2, "val_frames": 4, "width": 64, "height": 64}


@pytest.fixture
def source(tmp_path) -> tuple:
    """An annotation file with masks and its images: two videos of four frames."""
    make_embedded(tmp_path / "source", **SIZES)
    return tmp_path / "source" / "val.json", tmp_path / "source" / "val" / "JPEGImages"


def change(source: tuple, edit) -> None:
    content = json.loads(source[0].read_text())
    edit(content)
    source[0].write_text(json.dumps(content))


def test_the_same_clips_are_trained_on_without_masks_and_scored_on_with_them(source, tmp_path):
    summary = make_given_clips(tmp_path / "data", *source)
    given = load_ytvis(*source, masks=True)
    assert (summary.videos, summary.frames, summary.kind) == (2, 8, "clips")
    assert summary.objects == sum(len(video.tracks) for video in given.videos)
    assert "segmentations" not in (tmp_path / "data" / "train.json").read_text()
    for split, name in (("train", "train_oracle.json"), ("val", "val.json")):
        made = load_ytvis(tmp_path / "data" / name, tmp_path / "data" / split / "JPEGImages", masks=True)
        for video, other in zip(made.videos, given.videos, strict=True):
            assert (read_frame(made, video, 3) == read_frame(given, other, 3)).all()
            for track, true in zip(video.tracks, other.tracks, strict=True):
                assert track.segmentations == true.segmentations
                assert (track.category, track.boxes.tolist()) == (true.category, true.boxes.tolist())


def test_a_set_is_kept_and_refused_when_its_clips_have_changed(source, tmp_path):
    first = make_given_clips(tmp_path / "data", *source)
    before = (tmp_path / "data" / "val.json").stat().st_mtime_ns
    assert make_given_clips(tmp_path / "data", *source) == first
    assert (tmp_path / "data" / "val.json").stat().st_mtime_ns == before
    change(source, lambda content: content["annotations"].pop())
    with pytest.raises(
        InputError, match=r"holds another data set \(clips .*, one with objects \d+, source_sha256"
    ):
        make_given_clips(tmp_path / "data", *source)
    assert (tmp_path / "data" / "val.json").stat().st_mtime_ns == before
    second = make_given_clips(tmp_path / "other", *source)
    assert second.objects == first.objects - 1 and second.sha256 != first.sha256
    assert len(json.loads((tmp_path / "other" / "train.json").read_text())["annotations"]) == second.objects


def test_another_folder_is_left_as_it_is(source, tmp_path):
    mine = tmp_path / "data" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    with pytest.raises(InputError, match="data: exists and is not a data set made by this program"):
        make_given_clips(tmp_path / "data", *source)
    assert mine.read_text() == "years of work" and len(list(mine.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: [track.pop("segmentations") for track in content["annotations"]], "segmentations"),
        (lambda content: content["annotations"].clear(), "annotations has no object to learn from"),
    ],
)
def test_clips_that_cannot_be_scored_or_learnt_from_are_refused(source, tmp_path, edit, message):
    change(source, edit)
    with pytest.raises(InputError, match=rf"val\.json.*{message}"):
        make_given_clips(tmp_path / "data", *source)
    assert not (tmp_path / "data").exists()


def test_a_study_of_given_clips_trains_and_scores_on_them(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["study", "main", "--clips", *map(str, source), "--rows", "boxes", "--seeds", "3"]
    assert main([*words, "--set", "steps=2", "batch_size=1"]) == 0
    assert "clips that are both trained on and scored on: 2 with" in capsys.readouterr().out
    folder = tmp_path / "runs" / "study_clips_main"
    stored = json.loads((folder / "study.json").read_text())
    assert stored["data"]["kind"] == "clips" and stored["rows"][0]["seeds"][0]["seed"] == 3
    tracks = json.loads((folder / "boxes" / "seed_3" / "results.json").read_text())
    ids = {video["id"] for video in json.loads(source[0].read_text())["videos"]}
    assert {track["video_id"] for track in tracks} <= ids
    config = json.loads((folder / "boxes" / "seed_3" / "options.json").read_text())
    assert config["annotations"].endswith("/train.json")  # the one without masks


def test_clips_and_composites_are_two_things(source, capsys):
    both = ["--clips", "a.json", "a", "--composites", "a.json", "a"]
    with pytest.raises(SystemExit):
        main(["study", "main", *both])
    assert "not allowed with argument" in capsys.readouterr().err
