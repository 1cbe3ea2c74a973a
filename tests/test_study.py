"""A study: every row with every seed, resumed where it was stopped, and a table for the pictures."""

import json
import shutil
import time

import pytest

from maskfree_nb import study
from maskfree_nb.criterion import CriterionConfig
from maskfree_nb.data.clips import ClipConfig
from maskfree_nb.errors import InputError
from maskfree_nb.options import build
from maskfree_nb.recipes import DEMO, DEMO_DATA
from maskfree_nb.studies import STUDIES, plan
from maskfree_nb.tkloss import TKLoss
from maskfree_nb.viz.study import read_study

SMALL = {"train_videos": 2, "train_frames": 3, "val_videos": 1, "val_frames": 2}
DRAWN = {  # rows that learn from drawn masks: by which row, by shapes or not, from its weights on or not
    "boxes_drawn": ("boxes", False, False),
    "boxinst_drawn": ("boxinst", False, False),
    "boxes_shapes": ("boxes_short", True, False),
    "boxes_shapes_on": ("boxes_short", True, True),
    "boxinst_shapes": ("boxinst_short", True, False),
}


def test_the_rows_of_the_main_study_differ_in_what_supervises_the_masks_alone():
    rows = STUDIES["main"].rows
    short = {"boxes_short", "boxinst_short"}
    assert set(rows) == {"masks", "boxes", "boxinst", "tk", "projection"} | short | set(DRAWN)
    for name, row in rows.items():
        own = {key: value for key, value in row.options.items() if key != "criterion"}
        assert own == ({"steps": 800, "batch_size": 4, "clips": DEMO["clips"]} if name in short else {})
        if name in short:
            assert row.options["criterion"] == rows[name.removesuffix("_short")].options["criterion"]
    assert {key for row in rows.values() for key in row.options["criterion"]} == {
        "supervision",
        "pairwise_weight",
    }
    by_masks = [name for name, row in rows.items() if row.options["criterion"].get("supervision") == "masks"]
    drawn = {name: (rows[name].teacher, rows[name].shapes, rows[name].goes_on) for name in by_masks}
    assert drawn == {"masks": ("", False, False), **DRAWN}


@pytest.mark.parametrize("name", STUDIES)
def test_every_row_of_every_study_is_a_configuration_and_none_but_the_oracle_sees_masks(name):
    seen = []
    for row in plan(name).rows.values():
        options = study.merged(study.merged(DEMO, plan(name).settings), row.options)
        criterion = build(CriterionConfig, options["criterion"], "criterion")
        clips = build(ClipConfig, options["clips"], "clips")
        build(TKLoss, dict(criterion.tk), "tk")
        frames = {**DEMO_DATA, **plan(name).data}["train_frames"]
        assert clips.num_frames <= frames and 0 < row.share <= 1 and 0 < row.contrast <= 1
        assert criterion.supervision in ("boxes", "boxinst") or "oracle" in row.label or row.teacher
        seen.append((repr(options), row.share, row.contrast, row.teacher, row.shapes, row.goes_on))
    assert len(set(seen)) == len(seen)  # no two rows are the same run


def test_a_share_of_the_videos_is_spread_evenly_and_keeps_their_tracks_alone(tmp_path):
    videos = [{"id": number} for number in range(1, 21)]
    tracks = [{"id": 100 + number, "video_id": number} for number in range(1, 21)]
    whole = tmp_path / "train.json"
    whole.write_text(json.dumps({"categories": [], "videos": videos, "annotations": tracks}))
    thin = json.loads(study._thinned(whole, 0.25, tmp_path / "thin.json").read_text())
    assert [video["id"] for video in thin["videos"]] == [1, 5, 9, 13, 17]
    assert [track["video_id"] for track in thin["annotations"]] == [1, 5, 9, 13, 17]


def test_an_unknown_study_is_refused(tmp_path):
    with pytest.raises(InputError, match="study is 'mian', expected one of main"):
        study.run_study("mian", tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_study_that_makes_its_own_videos_takes_no_others(tmp_path):
    with pytest.raises(InputError, match="study 'fixed' is of videos of a kind that it makes itself"):
        study.run_study("fixed", tmp_path, make_data=lambda folder, **sizes: None)
    assert not any(tmp_path.iterdir())


def test_an_unknown_row_is_refused(tmp_path):
    with pytest.raises(InputError, match="row of the study is 'flow', expected one of masks, boxes"):
        study.run_study("main", tmp_path, rows=["boxes", "flow"])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stepz": 5}, "study option: unknown option 'stepz'"),
        ({"steps": "many"}, "study option: steps is 'many', expected int"),
        ({"criterion": {"fill_floor": 40}}, "fill_floor is 40"),
        ({"criterion": {"pairwise_dilation": 0}}, "pairwise_dilation is 0, expected at least 1"),
        ({"clips": {"flip": 2}}, "clip option flip is 2"),
        ({"seed": 5}, "option seed is set by the study"),
        ({"jobs": 0}, "jobs is 0"),
    ],
)
def test_options_that_no_run_could_have_are_refused_before_the_data_is_made(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        study.run_study("main", tmp_path, **changes)
    assert not any(tmp_path.iterdir())


@pytest.fixture
def quick(monkeypatch):
    """Commands that leave what training and evaluation leave, at once; the list of what was run."""
    run = []

    def command(verb, path, *rest):
        run.append((verb, path))
        if verb == "train":
            (path / "model.safetensors").write_text("")
            (path / "log.jsonl").write_text('{"step": 0, "seconds": 1.0}\n')
        elif verb == "label":
            assert path.exists(), "the teacher is trained by now"
            shapes = path.parents[1].name.endswith("_short")
            assert ("--shapes" in rest) == shapes and ("--least-span" in rest) != shapes
            rest = [word for word in rest if word != "--shapes"]
            named = dict(zip(rest[::2], rest[1::2], strict=True))
            data = path.parents[2] / "data"
            assert named["--annotations"] == data / "train.json"  # boxes alone
            assert named["--images"] == data / "train" / "JPEGImages"
            named["--out"].write_text("{}")
        else:
            figures = dict.fromkeys(("AP", "AP50", "AP75", "AR10", "mean_IoU", "box_fill_AP"), 50.0)
            (path.parent / "metrics.json").write_text(json.dumps({**figures, "classes": {}}))
        return 100

    monkeypatch.setattr(study, "_command", command)
    return run


def test_a_folder_is_for_one_data_set_and_one_setting(tmp_path, quick):
    wanted = dict(rows=["boxes"], seeds=[0, 0], data=SMALL, steps=2)  # a seed asked for twice runs once
    study.run_study("main", tmp_path, **wanted)
    assert [verb for verb, _ in quick] == ["train", "eval"]
    study.run_study("main", tmp_path, **wanted)
    assert len(quick) == 2
    with pytest.raises(InputError, match="holds a run whose steps was 2, now 3; choose another folder"):
        study.run_study("main", tmp_path, **{**wanted, "steps": 3})
    other = {**wanted, "data": {**SMALL, "val_videos": 2}}
    with pytest.raises(InputError, match="data: holds another data set"):
        study.run_study("main", tmp_path, **other)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(InputError, match="holds a run of another data set; choose another folder"):
        study.run_study("main", tmp_path, **other)
    assert len(quick) == 2


def test_rows_asked_for_one_after_another_share_a_table(tmp_path, quick):
    wanted = dict(data=SMALL, steps=2)
    study.run_study("k", tmp_path, rows=["k5", "k3"], seeds=[1], **wanted)
    study.run_study("k", tmp_path, rows=["k1"], seeds=[0], **wanted)
    made = study.run_study("k", tmp_path, rows=["k5"], seeds=[0], **wanted)
    table = [(row["name"], [seed["seed"] for seed in row["seeds"]]) for row in made["rows"]]
    assert table == [("k1", [0]), ("k3", [1]), ("k5", [0, 1])]


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_row_learns_from_the_masks_that_another_draws_with_the_same_seed(tmp_path, quick, jobs):
    wanted = dict(rows=["boxes", "boxes_drawn"], seeds=[0, 1], data=SMALL, jobs=jobs, steps=2)
    made = study.run_study("main", tmp_path, **wanted)
    assert [row["name"] for row in made["rows"]] == ["boxes", "boxes_drawn"]
    teachers = {tmp_path / "boxes" / f"seed_{seed}" / "model.safetensors" for seed in (0, 1)}
    assert {path for verb, path in quick if verb == "label"} == teachers
    for seed in (0, 1):
        run = tmp_path / "boxes_drawn" / f"seed_{seed}"
        options = json.loads((run / "options.json").read_text())
        assert options["criterion"]["supervision"] == "masks"
        assert options["annotations"] == str(run / "annotations.json")
    boxes, drawn = (row["seeds"] for row in made["rows"])
    assert all("drawing_seconds" in seed for seed in drawn) and not any("drawing_seconds" in s for s in boxes)
    count = len(quick)
    assert study.run_study("main", tmp_path, **wanted) == made and len(quick) == count
    study.run_study("main", tmp_path, **{**wanted, "rows": ["boxinst_short", "boxinst_shapes"], "seeds": [0]})
    assert [verb for verb, _ in quick[count:]].count("label") == 1


def test_a_row_may_go_on_from_the_weights_of_the_model_that_draws_its_masks(tmp_path, quick):
    rows = ["boxes_short", "boxes_shapes", "boxes_shapes_on"]
    wanted = dict(rows=rows, seeds=[1], data=SMALL, steps=2)
    made = study.run_study("main", tmp_path / "here", **wanted)
    first, anew, on = (tmp_path / "here" / row / "seed_1" / "options.json" for row in rows)
    inits = [json.loads(path.read_text())["init"] for path in (first, anew, on)]
    assert inits == [None, None, str(first.with_name("model.safetensors"))]
    count = len(quick)
    (tmp_path / "here").rename(tmp_path / "there")  # the weights went with the folder
    assert study.run_study("main", tmp_path / "there", **wanted) == made and len(quick) == count


@pytest.mark.parametrize("rows", [["boxes_drawn"], ["boxes_drawn", "boxes"]])
def test_a_row_without_what_draws_its_masks_is_refused(tmp_path, rows):
    with pytest.raises(InputError, match="row boxes_drawn learns from masks that boxes draws"):
        study.run_study("main", tmp_path, rows=rows)
    assert not any(tmp_path.iterdir())


def test_an_interrupt_starts_no_further_run(tmp_path, monkeypatch):
    started = []

    def command(verb, path, *rest):
        started.append(path)
        time.sleep(0.2)
        raise InputError("interrupted")

    def interrupt(future, timeout=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "_command", command)
    monkeypatch.setattr("concurrent.futures.Future.result", interrupt)
    with pytest.raises(KeyboardInterrupt):
        study.run_study("main", tmp_path, data=SMALL, jobs=1, steps=2)
    assert len(started) <= 2


@pytest.mark.slow
def test_a_study_trains_every_row_keeps_what_it_has_and_writes_its_table(tmp_path):
    rows = ["masks", "boxes", "boxes_drawn"]
    made = study.run_study("main", tmp_path / "s", rows=rows, seeds=[4], data=SMALL, steps=2)
    assert [row["name"] for row in made["rows"]] == rows
    assert made["settings"] == {**DEMO, "steps": 2}
    table = read_study(tmp_path / "s" / "study.json")
    assert table.row("boxes").seeds[0]["seed"] == 4
    assert table.row("boxes").seeds[0]["classes"] and table.row("boxes").seeds[0]["peak_mb"] > 100
    assert table.data["train_videos"] == 2

    configs = {
        name: json.loads((tmp_path / "s" / name / "seed_4" / "config.json").read_text()) for name in rows
    }
    assert configs["masks"]["annotations"].endswith("train_oracle.json")
    assert configs["boxes"]["annotations"].endswith("train.json")
    drawn = tmp_path / "s" / "boxes_drawn" / "seed_4" / "annotations.json"
    assert configs["boxes_drawn"]["annotations"] == str(drawn)
    given = json.loads((tmp_path / "s" / "data" / "train.json").read_text())
    assert not any("segmentations" in record for record in given["annotations"])
    made_of = [record["bboxes"] for record in given["annotations"]]
    assert [record["bboxes"] for record in json.loads(drawn.read_text())["annotations"]] == made_of
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
