"""How good drawn masks are: measured with true masks, stored by set, and told on the results page."""

import importlib
import json

import numpy as np
import pytest

from maskfree_nb.data import rle
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.pretrained import pretrained

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("benchmarks")]


@pytest.fixture
def command():
    return importlib.import_module("label_quality")


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedded")
    make_embedded(folder, seed=5, train_videos=1, val_videos=4, val_frames=3)
    return folder / "val.json", folder / "val" / "JPEGImages"


def test_a_set_is_measured_stored_beside_others_and_told_on_the_page(command, held_out, tmp_path, capsys):
    given = ["--annotations", str(held_out[0]), "--images", str(held_out[1]), "--out", str(tmp_path)]
    (tmp_path / "labels.json").write_text(json.dumps({"other": {"runs": []}}))
    command.main(["tiny", *given, "--label", "four videos", "--made", "by hand"])
    assert "written: " in capsys.readouterr().out
    stored = json.loads((tmp_path / "labels.json").read_text())
    assert list(stored) == ["other", "tiny"]
    found = stored["tiny"]
    (run,) = found["runs"]
    assert run["labelled"] > run["found"] > 50
    truths = [track for video in load_ytvis(*held_out, masks=True).videos for track in video.tracks]
    assert found["frames"] == sum((~np.isnan(track.boxes[:, 0])).sum() for track in truths)
    assert sum(each["share"] for each in found["spans"]) == pytest.approx(100, abs=0.3)
    assert [each["from"] for each in found["spans"]] == [0.0, 0.6, 0.75, 0.9]

    twice = {**found, "label": "twice", "runs": [run, {way: value + 2 for way, value in run.items()}]}
    (tmp_path / "labels.json").write_text(json.dumps({"tiny": found, "twice": twice}))
    (text,) = command.label_section(tmp_path)
    assert f"| four videos | 1 | {run['found']:.1f} | {run['redrawn']:.1f} | " in text
    drawn = (run[way] for way in ("labelled", "labelled_temporal", "labelled_shapes"))
    assert " | " + " | ".join(f"{iou:.1f}" for iou in drawn) + " |" in text
    assert f"| twice | 2 | {run['found'] + 1:.1f} ± 1.4 |" in text and "four videos: by hand" in text


def test_ways_are_measured_one_by_one_and_those_stored_stay(command, held_out, tmp_path):
    given = ["tiny", "--annotations", str(held_out[0]), "--images", str(held_out[1]), "--out", str(tmp_path)]
    command.main([*given, "--ways", "not_raised", "--label", "four videos"])
    (text,) = command.label_section(tmp_path)  # without spans
    assert "| four videos | 1 |  |  |  | " in text and text.count("four videos") == 2
    command.main([*given, "--ways", "labelled"])
    first = json.loads((tmp_path / "labels.json").read_text())["tiny"]
    command.main([*given, "--ways", "found"])
    second = json.loads((tmp_path / "labels.json").read_text())["tiny"]
    assert second["runs"][0].keys() == {"not_raised", "labelled", "found"}
    assert second["label"] == "four videos"
    assert {**second, "runs": first["runs"]} == first
    (text,) = command.label_section(tmp_path)
    found, not_raised, labelled = (
        f"{second['runs'][0][way]:.1f}" for way in ("found", "not_raised", "labelled")
    )
    assert f"| four videos | 1 | {found} |  |  | {not_raised} | {labelled} |  |  |" in text
    with pytest.raises(SystemExit, match="tiny is stored of 1 models, given are 2; give the same"):
        command.main([*given, "--ways", "found", "--models", *2 * [str(pretrained("tiny_boxes"))]])


def test_frames_are_sorted_by_their_spans(command):
    frames = [(0.1, 0.2), (0.59, 0.4), (0.6, 0.5), (0.95, 0.9), (1.0, 1.0)]
    found = command.by_span(frames)
    assert [(each["iou"], each["share"]) for each in found["spans"]] == [
        (30.0, 40.0),
        (50.0, 20.0),
        (None, 0.0),
        (95.0, 40.0),
    ]
    assert found["correlation"] == round(np.corrcoef(np.array(frames).T)[0, 1], 2) < 1


def test_frames_without_a_mask_count_as_nothing_found(command, held_out):
    tracks = [track for video in load_ytvis(*held_out, masks=True).videos for track in video.tracks]
    records = [
        {
            "id": track.id,
            "spans": [None if np.isnan(box[0]) else 0.5 for box in track.boxes],
            "segmentations": [None, *track.segmentations[1:]],
        }
        for track in tracks
    ]
    ious = np.array([iou for _, iou in command.frame_ious(*held_out, records)])
    first = sum(track.segmentations[0] is not None for track in tracks)
    assert (ious == 0).sum() == first > 0 and (ious == 1).sum() == len(ious) - first
    assert all(rle.decode(mask).any() for track in tracks for mask in track.segmentations if mask)


def test_nothing_stored_is_no_section_and_bad_input_one_line(command, held_out, tmp_path):
    assert command.label_section(tmp_path) == []
    with pytest.raises(SystemExit, match=r"none\.json: cannot be read"):
        command.main(["x", "--annotations", str(tmp_path / "none.json"), "--images", str(held_out[1])])
    assert not list(tmp_path.iterdir())
