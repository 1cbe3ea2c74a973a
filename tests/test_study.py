"""A study: every row with every seed, resumed where it was stopped, and a table for the pictures."""

import json

import pytest

from maskfree_nb import study
from maskfree_nb.errors import InputError
from maskfree_nb.recipes import DEMO
from maskfree_nb.viz.study import read_study

SMALL = {"train_videos": 2, "train_frames": 3, "val_videos": 1, "val_frames": 2}


def test_the_rows_of_the_main_study_differ_in_what_supervises_the_masks_alone():
    rows = study.STUDIES["main"]
    assert set(rows) == {"masks", "boxes", "boxinst", "tk", "projection"}
    assert {key for row in rows.values() for key in row.criterion} == {"supervision", "pairwise_weight"}
    assert [name for name, row in rows.items() if row.criterion["supervision"] == "masks"] == ["masks"]


def test_an_unknown_study_is_refused(tmp_path):
    with pytest.raises(InputError, match="study is 'mian', expected one of main"):
        study.run_study("mian", tmp_path)
    assert not any(tmp_path.iterdir())


def test_an_unknown_row_is_refused(tmp_path):
    with pytest.raises(InputError, match="row of the study is 'flow', expected one of masks, boxes"):
        study.run_study("main", tmp_path, rows=["boxes", "flow"])
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_study_trains_every_row_keeps_what_it_has_and_writes_its_table(tmp_path):
    rows = ["masks", "boxes"]
    made = study.run_study("main", tmp_path / "s", rows=rows, seeds=[4], data=SMALL, steps=2)
    assert [row["name"] for row in made["rows"]] == ["masks", "boxes"]
    assert made["settings"] == {**DEMO, "steps": 2}
    table = read_study(tmp_path / "s" / "study.json")
    assert table.row("boxes").seeds[0]["seed"] == 4
    assert table.data["train_videos"] == 2

    configs = {
        name: json.loads((tmp_path / "s" / name / "seed_4" / "config.json").read_text()) for name in rows
    }
    assert configs["masks"]["annotations"].endswith("train_oracle.json")
    assert configs["boxes"]["annotations"].endswith("train.json")
    for config in configs.values():
        assert config["steps"] == 2 and config["preset"] == DEMO["preset"]
    assert configs["boxes"]["criterion"] == {**DEMO["criterion"], "supervision": "boxes"}

    logs = {name: (tmp_path / "s" / name / "seed_4" / "log.jsonl") for name in rows}
    before = {name: log.stat().st_mtime_ns for name, log in logs.items()}
    (tmp_path / "s" / "boxes" / "seed_4" / "metrics.json").unlink()  # as if stopped before its evaluation
    assert study.run_study("main", tmp_path / "s", rows=rows, seeds=[4], data=SMALL, steps=2) == made
    assert before["masks"] == logs["masks"].stat().st_mtime_ns


@pytest.mark.slow
def test_a_run_that_fails_says_why(tmp_path):
    with pytest.raises(InputError, match="preset is 'giant'"):
        study.run_study("main", tmp_path / "s", rows=["boxes"], seeds=[0], data=SMALL, preset="giant")
