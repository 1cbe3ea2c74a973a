"""The alarms of a training: silent on a good run, clear on one made to fail."""

import json

import pytest
from small_set import make_small_set, small_options

from maskfree_nb.alarms import WINDOW, Alarms
from maskfree_nb.pretrained import pretrained
from maskfree_nb.train_config import TrainConfig
from maskfree_nb.training import train


def sound(figures: list[dict[str, float]], most_matches: int = 5) -> list[str]:
    alarms = Alarms(most_matches)
    return [message for line in figures for message in alarms.update(line)]


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"box_fill": 0.05}, ("vanished", "0.05 of their boxes", "criterion.box_warmup")),
        ({"box_fill": 0.16}, ("thinned out", "0.16 of their boxes", "criterion.box_warmup")),
        ({"box_fill": 0.97}, ("rectangles", "0.97 of their boxes", "criterion.tk_weight")),
        ({"box_fill": 0.5, "matches_per_pixel": 0.001}, ("0.001 matches", "clips.frame_range")),
        (
            {"box_fill": 0.5, "matches_per_pixel": 4.9},
            ("4.9 matches", "homogeneous", "tk.threshold"),
        ),
    ],
)
def test_each_alarm_names_cause_and_remedy_and_sounds_once(figures, words):
    (message,) = sound([figures] * (3 * WINDOW))
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    "line",
    [
        {"box_fill": 0.5, "matches_per_pixel": 1.0},
        {"box_fill": 0.97, "box_warmup": 0.3},  # filled boxes are wanted
        {"box_fill": 0.5, "matches_per_pixel": float("nan")},
        {"box_fill": 0.5, "matches_per_pixel": None},  # the same, as the log has it
        {"matches_per_pixel": 1.0},
        {},
    ],
)
def test_these_are_no_alarms(line):
    assert sound([line] * (3 * WINDOW)) == []


@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("fill", [float("nan"), None])  # the latter as the log has it
def test_no_box_in_any_clip_of_a_window_is_an_alarm(fill, warmup):
    empty = {"box_fill": fill, "matches_per_pixel": fill, "box_warmup": warmup}
    assert sound([empty] * (WINDOW - 1)) == []
    assert sound([*[empty] * (WINDOW - 1), {**empty, "box_fill": 0.5}, *[empty] * (WINDOW - 1)]) == []
    (message,) = sound([empty] * (3 * WINDOW))
    assert message.startswith(f"no clip of the last {WINDOW} steps has a box")
    assert "bboxes of the annotations" in message and "clips.min_box_size" in message


def test_a_warmup_that_taught_nothing_is_an_alarm_when_it_ends():
    dark = [{"box_warmup": 1.0, "box_fill": 0.6}] * 60 + [{"box_warmup": 1.0, "box_fill": 0.05}] * 20
    assert sound(dark) == []
    (message,) = sound([*dark, {"box_warmup": 0.9, "box_fill": 0.05}, {"box_warmup": 0.8, "box_fill": 0.05}])
    assert "end of the box warm-up (they fill 0.05" in message and "raise learning_rate" in message
    bright = [{"box_warmup": 1.0, "box_fill": 0.05}] * 60 + [{"box_warmup": 1.0, "box_fill": 0.6}] * 20
    assert sound([*bright, {"box_warmup": 0.9, "box_fill": 0.6}]) == []
    short = [{"box_warmup": 1.0, "box_fill": 0.05}] * 19
    assert sound([*short, {"box_warmup": 0.9, "box_fill": 0.05}]) == []


def test_a_single_odd_step_is_no_alarm():
    assert sound([{"box_fill": 0.5}] * WINDOW + [{"box_fill": 0.0}] + [{"box_fill": 0.5}] * WINDOW) == []


def test_two_alarms_may_sound():
    assert len(sound([{"box_fill": 0.0, "matches_per_pixel": 0.0}] * WINDOW)) == 2


@pytest.mark.parametrize("name", ["tiny_boxes", "tiny_shapes"])
def test_the_models_that_ship_were_trained_from_boxes_without_an_alarm(name):
    record = json.loads(pretrained(name).with_suffix(".json").read_text())
    log = record.get("first", record)["log"]
    assert sound([line for line in log for _ in range(20)]) == []  # every twentieth line is stored


def test_a_run_whose_clips_have_no_box_says_so(tmp_path, capsys):
    options = small_options(*make_small_set(tmp_path / "small"), steps=WINDOW + 5)
    options["clips"] |= {"min_box_size": 40.0}  # the objects are 16x20
    train(TrainConfig(**options), tmp_path / "run", progress=False)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    ((step, alarm),) = [(line["step"], message) for line in log for message in line.get("alarms", [])]
    assert step == WINDOW - 1 and alarm.startswith("no clip of the last") and log[-1]["box_fill"] is None
    assert f"alarm at step {step}: {alarm}" in capsys.readouterr().out


def test_a_run_made_to_fail_says_so(tmp_path, capsys):
    """No warm-up, and nothing that asks a mask to reach its box: the masks vanish, the loss is content."""
    options = small_options(*make_small_set(tmp_path / "small"), steps=WINDOW + 40)
    options["criterion"] = {"supervision": "boxes", "box_warmup": 0.0, "projection_weight": 0.0}
    train(TrainConfig(**options), tmp_path / "run", progress=False)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    (alarm,) = [message for line in log for message in line.get("alarms", [])]
    assert alarm.startswith("the masks have vanished")
    assert alarm in capsys.readouterr().out
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]
