"""IoU by track: that of each object's best result, what TK-Loss adds to it, and the section of the page."""

import importlib
import json

import pytest
from stored_study import LENGTH, SOURCE, TRUTHS, changed, store, track

from maskfree_nb.errors import InputError
from maskfree_nb.viz.study import read_study

pytestmark = pytest.mark.usefixtures("benchmarks")
CLIPS = {**SOURCE, "kind": "clips", "videos": 3, "objects": 3, "frames": 3 * LENGTH}


@pytest.fixture
def command():
    return importlib.import_module("track_ious")


def rows() -> dict[str, list[dict]]:
    """With TK-Loss the square is whole and the angle missed, without it the square is half and both wrong."""
    half = changed(TRUTHS[1], (2,), False)
    poor = changed(TRUTHS[3], (slice(None), slice(None), slice(0, 10)), False)  # half of the large one
    return {
        "boxes": [track(1, TRUTHS[1]), track(3, TRUTHS[3])],
        "boxinst": [track(1, half), track(2, TRUTHS[2]), track(3, poor)],
    }


def test_every_track_has_the_iou_of_its_best_result(command, tmp_path):
    folder = store(tmp_path / "study", rows(), data=CLIPS, seeds=(0, 1))
    content = command.write_track_ious(folder, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "track_ious_clips.json").read_text()) == content
    assert content["tracks"] == ["1", "2", "3"]  # the folders of their frames; the crowd is none
    ious = {row["name"]: [seed["ious"] for seed in row["seeds"]] for row in content["rows"]}
    assert ious == {"boxes": [[100, 0, 100]] * 2, "boxinst": [[50, 100, 50]] * 2}


def test_the_table_begins_with_what_gains_most(command, tmp_path):
    content = command.write_track_ious(store(tmp_path / "study", rows(), data=CLIPS), tmp_path / "out")
    text = command.tables(content)
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert lines[0] == "| 1 | 100.0 | 50.0 | +50.0 |" and lines[2] == "| 2 | 0.0 | 100.0 | -100.0 |"
    text = " ".join(text.split())
    assert "loss: +0.0 in the mean, -100.0 to +50.0 in 95 %" in text
    assert "more than 0 for 2 of 3 clips, +50.0 in the median." in text


def test_the_section_is_that_of_the_stored_runs(command, tmp_path):
    folder = store(tmp_path / "study", rows(), data=CLIPS)
    study, out = read_study(folder / "study.json"), tmp_path / "out"
    assert command.track_section(out, "study_clips", study) == ""
    content = command.write_track_ious(folder, out)
    text = command.track_section(out, "study_clips", study)
    assert command.tables(content) in text and "benchmarks/track_ious.py runs/study_clips_main" in text
    assert text in importlib.import_module("results_page").page(out, {"study_clips": study})
    content["rows"][0]["seeds"][0]["mean_iou"] += 1
    (out / "track_ious_clips.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"boxes, seed 0: mean_iou is .*; run `python benchmarks/track_ious"):
        command.track_section(out, "study_clips", study)


def test_a_study_without_both_rows_is_refused(command, tmp_path):
    folder = store(tmp_path / "study", {"boxes": rows()["boxes"]}, data=CLIPS)
    with pytest.raises(SystemExit, match=r"rows are \['boxes'\], expected boxes and boxinst among them"):
        command.main([str(folder), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
