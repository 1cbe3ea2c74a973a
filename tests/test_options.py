"""Options of a run: types, ranges, recipes, and warnings about what is allowed but hardly meant."""

import warnings
from pathlib import Path

import pytest
import torch
from small_set import make_small_set, small_options

from maskfree_nb import inference, training
from maskfree_nb.cli import _parser as parser
from maskfree_nb.cli import main
from maskfree_nb.criterion import CriterionConfig
from maskfree_nb.data.clips import ClipConfig
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError, InputWarning
from maskfree_nb.flags import assign, training_config
from maskfree_nb.inference import load_trained, see_video
from maskfree_nb.options import build
from maskfree_nb.pretrained import pretrained
from maskfree_nb.recipes import DEMO
from maskfree_nb.train_config import TrainConfig


def made(*arguments: str) -> TrainConfig:
    return training_config(parser().parse_args(["train", *arguments]))


@pytest.mark.parametrize(
    "target, name, value, expected",
    [
        (ClipConfig, "image_sizes", 160, r"expected \[int, ...\]"),
        (ClipConfig, "image_sizes", ["a"], r"expected \[int, ...\]"),
        (ClipConfig, "crop", 64, r"expected \[int, int\] or null"),
        (ClipConfig, "crop", [64], r"expected \[int, int\] or null"),
        (ClipConfig, "max_size", "large", "expected int or null"),
        (ClipConfig, "num_frames", True, "expected int"),
        (TrainConfig, "init", 3, "expected str or null"),
    ],
)
def test_an_option_of_another_type_is_refused_with_the_type_that_is_meant(target, name, value, expected):
    given = {"annotations": "a", "images": "b"} if target is TrainConfig else {}
    with pytest.raises(InputError, match=f"^here: {name} is .*, {expected}$"):
        build(target, {**given, name: value}, "here")


def test_lists_and_nothing_are_taken_where_they_are_meant():
    config = build(ClipConfig, {"image_sizes": [160, 192], "crop_share": [0.5, 1], "max_size": 400}, "here")
    assert (config.image_sizes, config.crop_share, config.max_size) == ([160, 192], [0.5, 1], 400)
    assert build(ClipConfig, {"image_sizes": (), "crop": None}, "here").crop is None


@pytest.mark.parametrize(
    "target, name, value",
    [
        (CriterionConfig, "tk_weight", -5.0),
        (CriterionConfig, "projection_weight", -1.0),
        (CriterionConfig, "box_warmup", 2.0),
        (CriterionConfig, "box_ramp", -0.1),
        (TrainConfig, "warmup_steps", -5),
        (TrainConfig, "workers", -1),
        (TrainConfig, "weight_decay", -0.1),
        (TrainConfig, "backbone_factor", -1.0),
    ],
)
def test_values_that_make_no_sense_are_refused(target, name, value):
    given = {"annotations": "a", "images": "b"} if target is TrainConfig else {}
    with pytest.raises(InputError, match=f"{name} is {value}, expected"):
        build(target, {**given, name: value}, "here")


def test_a_setting_within_an_option_that_is_no_group_is_refused():
    with pytest.raises(InputError, match=r"--set steps\.x=1: steps is an option, not a group of options"):
        assign({"steps": 7}, "steps.x=1")


def test_paths_may_be_paths():
    config = TrainConfig(annotations=Path("a.json"), images=Path("frames"), init=pretrained())
    assert (config.annotations, config.images, config.init) == ("a.json", "frames", str(pretrained()))


def test_the_recipe_of_the_demo_goes_by_its_name():
    config = made("run", "--config", "demo", "--annotations", "a", "--images", "b", "--image-size", "160")
    assert config.criterion == DEMO["criterion"] and config.steps == DEMO["steps"]
    assert config.clips == {**DEMO["clips"], "image_sizes": [160]}
    assert "image_sizes" not in DEMO["clips"]
    with pytest.raises(InputError, match=r"runs/none.json: no such configuration; .* of the package: demo"):
        made("run", "--config", "runs/none.json", "--annotations", "a", "--images", "b")


def test_a_run_into_a_file_is_refused_in_one_line(tmp_path, capsys):
    annotations, images = make_small_set(tmp_path)
    (tmp_path / "taken").write_text("")
    arguments = ["train", str(tmp_path / "taken"), "--annotations", str(annotations), "--images", str(images)]
    assert main(arguments) == 2
    assert (
        capsys.readouterr().err
        == f"maskfree: {tmp_path}/taken/config.json: cannot be written (File exists)\n"
    )


@pytest.fixture
def videos(tmp_path):
    return load_ytvis(*make_small_set(tmp_path), masks=False)


def test_large_frames_of_unsaid_size_are_warned_of(videos, monkeypatch):
    pixels = 2 * 3 * videos.videos[0].width * videos.videos[0].height
    monkeypatch.setattr(training, "LARGE_STEP", pixels - 1)
    with pytest.warns(InputWarning, match=r"trained on as they are, 6 a step: .* \(--image-size 160\)"):
        training._warn_of_large_clips(videos, ClipConfig(), batch_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training._warn_of_large_clips(videos, ClipConfig(image_sizes=(64,)), batch_size=2)
        training._warn_of_large_clips(videos, ClipConfig(), batch_size=1)


def test_a_video_of_many_pixels_is_warned_of_where_it_is_shown_to_a_model(monkeypatch):
    model, _ = load_trained(pretrained())
    frames = torch.zeros(3, 3, 64, 96, dtype=torch.uint8)
    monkeypatch.setattr(inference, "LARGE_VIDEO", 3 * 64 * 96 - 1)
    with pytest.warns(InputWarning, match="all 3 frames of 96x64 are seen at once"):
        see_video(model, frames)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        see_video(model, frames, image_size=32)


@pytest.mark.parametrize("wrong", [torch.rand(3, 3, 64, 96), torch.zeros(3, 64, 96, 3, dtype=torch.uint8)])
def test_frames_of_another_kind_are_not_shown_to_a_model(wrong):
    with pytest.raises(InputError, match=r"frames are torch\..*, expected torch\.uint8 \[T, 3, H, W\]"):
        see_video(load_trained(pretrained())[0], wrong)


def test_frozen_norms_without_weights_are_warned_of(videos):
    given = {
        **small_options("a", "b"),
        "preset": "r50",
        "model": {"depth": 18, "width": 16, "stem_width": 16},
    }
    with pytest.warns(InputWarning, match='model.norm is "frozen_bn", .* give init'):
        training._build_model(build(TrainConfig, given, "here"), videos)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given["model"]["norm"] = "gn"
        training._build_model(build(TrainConfig, given, "here"), videos)


def test_the_command_line_gives_a_warning_as_one_line(monkeypatch, capsys):
    def run(_):
        warnings.warn("frames are large", InputWarning, stacklevel=1)
        warnings.warn("something old", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr("maskfree_nb.cli._demo", run)
    assert main(["demo"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "maskfree: frames are large"
    assert all("DeprecationWarning: something old" in line for line in lines[1:])
