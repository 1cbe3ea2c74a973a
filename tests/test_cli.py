"""The command line as a person meets it: help, results, and one clear line for every kind of bad input."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_set import make_small_set, small_options

from maskfree_nb.cli import _parser as parser
from maskfree_nb.cli import main
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.video import read_frames, write_mp4
from maskfree_nb.flags import training_config
from maskfree_nb.pretrained import pretrained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[Path, Path]:
    return make_small_set(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    config = folder / "options.json"
    config.write_text(json.dumps(small_options(*small)))
    assert main(["train", str(folder / "run"), "--config", str(config)]) == 0
    return folder / "run" / "model.safetensors"


def fails(capsys, arguments: list, *words: str) -> str:
    """The command must end with status 2 and one line on stderr that holds all `words`."""
    assert main([str(argument) for argument in arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("maskfree: ") and message.count("\n") == 1, message
    for word in words:
        assert str(word) in message, message
    return message


@pytest.mark.parametrize("command", ["eval", "predict", "label"])
@pytest.mark.parametrize("size", ["0", "-5", "31", "half"])
def test_a_size_that_no_frame_could_have_is_refused(command, size, capsys):
    rest = ["clip.mp4"] if command == "predict" else ["--annotations", "a.json", "--images", "b"]
    with pytest.raises(SystemExit) as stop:
        main([command, "model.safetensors", *rest, "--out", "c", "--image-size", size])
    assert stop.value.code == 2
    assert f"{size!r} is not a number of pixels of at least 32" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        [],
        *(["data", command] for command in ("make", "composites", "stats")),
        *([command] for command in ("train", "eval", "predict", "label", "demo")),
    ],
    ids=" ".join,
)
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert re.search(r"examples?:\n  maskfree ", capsys.readouterr().out)


def test_flags_and_settings_override_the_file(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps({"annotations": "a.json", "images": "i", "steps": 7, "clips": {"flip": 0.0}})
    )
    options = parser().parse_args(
        ["train", "run", "--config", str(config), "--steps", "9", "--supervision", "boxinst"]
        + ["--set", "clips.num_frames=5", "criterion.border=zero", "learning_rate=1e-4"]
    )
    made = training_config(options)
    assert (made.annotations, made.steps, made.learning_rate) == ("a.json", 9, 1e-4)
    assert made.clips == {"flip": 0.0, "num_frames": 5}
    assert made.criterion == {"supervision": "boxinst", "border": "zero"}


def test_train_prints_and_saves_its_configuration(trained, small):
    stored = json.loads((trained.parent / "config.json").read_text())
    assert stored["annotations"] == str(small[0]) and stored["steps"] == 8


def test_eval_prints_a_table_and_writes_results(trained, small, tmp_path, capsys):
    annotations, images = small
    arguments = ["eval", trained, "--annotations", annotations, "--images", images, "--out", tmp_path]
    assert main([str(argument) for argument in arguments]) == 0
    printed = capsys.readouterr().out
    assert "AP50" in printed and "red" in printed and "masks replaced by their boxes" in printed
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {"AP", "AP50", "AP75", "AR10", "box_fill_AP", "mean_IoU"} <= metrics.keys()
    results = json.loads((tmp_path / "results.json").read_text())
    assert {"video_id", "category_id", "score", "segmentations"} == results[0].keys()


def test_masks_can_be_redrawn_along_the_colours(tmp_path):
    make_embedded(tmp_path / "data", train_videos=1, val_videos=2)
    annotations, images = tmp_path / "data" / "val.json", tmp_path / "data" / "val" / "JPEGImages"
    trained, video = pretrained(), min(images.iterdir())
    found = {}
    for flags in ([], ["--refine"]):
        out = tmp_path / "-".join(["out", *flags])
        data = ["--annotations", str(annotations), "--images", str(images), "--out", str(out)]
        assert main(["eval", str(trained), *data, *flags]) == 0
        scored = json.loads((out / "results.json").read_text())
        source = [str(video), "--out", str(out / "film")]
        assert main(["predict", str(trained), *source, *flags]) == 0
        predicted = json.loads((out / "film" / "results.json").read_text())
        found[bool(flags)] = [
            ([track["score"] for track in tracks], [track["segmentations"] for track in tracks])
            for tracks in (scored, predicted)
        ]
    for (scores, masks), (same_scores, other_masks) in zip(found[False], found[True], strict=True):
        assert scores == same_scores and len(scores) > 0
        changed = [mask != other for mask, other in zip(masks, other_masks, strict=True)]
        assert changed[0] and any(any(mask) for mask in other_masks)


def test_the_masks_can_count_in_the_scores(tmp_path):
    """The same tracks, with scores of p(class) times a mean of probabilities above one half."""
    make_embedded(tmp_path / "data", train_videos=1, val_videos=2)
    images = tmp_path / "data" / "val" / "JPEGImages"
    commands = {
        "eval": ["--annotations", str(tmp_path / "data" / "val.json"), "--images", str(images)],
        "predict": [str(min(images.iterdir()))],
    }
    for command, given in commands.items():
        found = []
        for flags in ([], ["--mask-scores"]):
            out = tmp_path / "-".join([command, *flags])
            assert main([command, str(pretrained()), *given, "--out", str(out), *flags]) == 0
            found.append(json.loads((out / "results.json").read_text()))
        scores = [
            {(track["video_id"], json.dumps(track["segmentations"]), track["category_id"]): track["score"]
             for track in tracks}
            for tracks in found
        ]  # fmt: skip
        assert scores[0].keys() == scores[1].keys() and len(scores[0]) > 5
        shares = [scores[1][track] / score for track, score in scores[0].items() if "counts" in track[1]]
        assert all(0.5 < share < 1 for share in shares) and max(shares) > 0.8


@pytest.mark.parametrize("kind", ["folder", "mp4"])
def test_predict_a_folder_and_a_film(trained, small, tmp_path, kind):
    source = small[1] / "0"
    frames, _, _ = read_frames(source)
    if kind == "mp4":
        source = tmp_path / "film.mp4"
        write_mp4(source, frames, fps=5)
    out = tmp_path / "out"
    assert main(["predict", str(trained), str(source), "--out", str(out), "--score", "0"]) == 0
    results = json.loads((out / "results.json").read_text())
    assert len(results) > 0 and all(len(result["segmentations"]) == len(frames) for result in results)
    drawn, _, _ = read_frames(out / "overlay.mp4")
    assert len(drawn) == len(frames) and drawn.shape[-1] >= frames.shape[-1]


def test_the_command_is_installed():
    out = subprocess.run(
        [sys.executable, "-m", "maskfree_nb.cli", "--version"], capture_output=True, text=True
    )
    assert out.stdout.startswith("maskfree ") and out.returncode == 0


def test_a_diverged_run_ends_with_one_line(small, tmp_path, capsys, monkeypatch):
    def nan(self, *arguments):
        return torch.tensor(float("nan")), {}

    monkeypatch.setattr("maskfree_nb.training.Criterion.forward", nan)
    config = tmp_path / "options.json"
    config.write_text(json.dumps(small_options(*small)))
    assert main(["train", str(tmp_path / "run"), "--config", str(config)]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"maskfree: step 0: the loss is not finite .* video \d, frames \[", last)


class TestBadInput:
    def train(self, small, tmp_path, change=None, images=None, settings=()) -> list:
        annotations, folder = small
        content = json.loads(annotations.read_text())
        if change is not None:
            change(content)
        path = tmp_path / "train.json"
        path.write_text(json.dumps(content))
        config = tmp_path / "options.json"
        config.write_text(json.dumps(small_options(path, images or folder)))
        flags = ["--set", *settings] if settings else []
        return ["train", tmp_path / "run", "--config", config, *flags]

    def check(self, small, tmp_path, capsys, words, **options):
        message = fails(capsys, self.train(small, tmp_path, **options), *words)
        assert not (tmp_path / "run").exists(), f"a run was begun before the error: {message}"

    def test_missing_file(self, small, tmp_path, capsys):
        fails(
            capsys, ["train", tmp_path / "run", "--annotations", "no.json", "--images", small[1]], "no.json"
        )

    def test_truncated_json(self, small, tmp_path, capsys):
        path = tmp_path / "cut.json"
        path.write_bytes(small[0].read_bytes()[:-40])
        fails(
            capsys,
            ["train", tmp_path / "run", "--annotations", path, "--images", small[1]],
            path,
            "cut short",
        )

    def test_boxes_shorter_than_the_video(self, small, tmp_path, capsys):
        def change(content):
            content["annotations"][1]["bboxes"].pop()

        words = ["train.json", "annotation 2 of video 2", "bboxes has 3 entries", "4"]
        self.check(small, tmp_path, capsys, words, change=change)

    @pytest.mark.parametrize("box", [[float("nan"), 1, 2, 3], [1, 1, -2, 3], [1, 2, 3], ["a", 1, 2, 3]])
    def test_boxes_that_are_none(self, small, tmp_path, capsys, box):
        def change(content):
            content["annotations"][0]["bboxes"][2] = box

        self.check(
            small, tmp_path, capsys, ["train.json", "annotation 1 of video 1", "bboxes[2]"], change=change
        )

    def test_unknown_category(self, small, tmp_path, capsys):
        def change(content):
            content["annotations"][0]["category_id"] = 9

        self.check(small, tmp_path, capsys, ["annotation 1", "category_id is 9"], change=change)

    def test_missing_image(self, small, tmp_path, capsys):
        images = tmp_path / "images"
        shutil.copytree(small[1], images)
        (images / "1" / "2.jpg").unlink()
        self.check(small, tmp_path, capsys, [images / "1" / "2.jpg", "video 2"], images=images)

    def test_corrupt_image(self, small, tmp_path, capsys):
        images = tmp_path / "images"
        shutil.copytree(small[1], images)
        whole = (images / "1" / "2.jpg").read_bytes()
        (images / "1" / "2.jpg").write_bytes(whole[: len(whole) // 2])
        self.check(small, tmp_path, capsys, [images / "1" / "2.jpg"], images=images)

    def test_clip_longer_than_the_video(self, small, tmp_path, capsys):
        settings = ["clips.num_frames=6"]
        self.check(
            small, tmp_path, capsys, ["video 1 has 4 frames", "needs 6", "num_frames"], settings=settings
        )

    @pytest.mark.parametrize(
        "setting, word",
        [
            ("clips.frames=3", "frames"),
            ("criterion.supervision=mask", "supervision"),
            ("criterion.tk.radios=3", "radios"),
            ("model.width=x", "width"),
            ("preset=huge", "preset"),
            ("learning_rat=1", "learning_rat"),
            ("mixed_precision=fp8", "mixed_precision"),
            ("steps", "KEY=VALUE"),
        ],
    )
    def test_bad_settings(self, small, tmp_path, capsys, setting, word):
        self.check(small, tmp_path, capsys, [word], settings=[setting])

    def test_model_of_other_categories(self, small, trained, tmp_path, capsys):
        def change(content):
            content["categories"][0]["name"] = "blue"

        self.train(small, tmp_path, change=change)
        arguments = ["eval", trained, "--annotations", tmp_path / "train.json", "--images", small[1]]
        fails(capsys, arguments, trained, "was trained for red, green")

    def test_not_a_model(self, small, tmp_path, capsys):
        path = tmp_path / "model.safetensors"
        path.write_bytes(b"no weights")
        fails(capsys, ["eval", path, "--annotations", small[0], "--images", small[1]], path)
        fails(
            capsys,
            ["predict", tmp_path / "none", small[1] / "0", "--out", tmp_path / "out"],
            tmp_path / "none",
        )

    def test_film_cut_short_leaves_earlier_outputs_whole(self, trained, small, tmp_path, capsys):
        frames, _, _ = read_frames(small[1] / "0")
        film = tmp_path / "film.mp4"
        write_mp4(film, torch.cat([frames] * 20), fps=5)
        film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
        out = tmp_path / "out"
        out.mkdir()
        (out / "results.json").write_text("earlier")
        fails(capsys, ["predict", trained, film, "--out", out], film)
        assert (out / "results.json").read_text() == "earlier"

    def test_empty_folder(self, trained, tmp_path, capsys):
        (tmp_path / "empty").mkdir()
        fails(capsys, ["predict", trained, tmp_path / "empty", "--out", tmp_path / "out"], tmp_path / "empty")

    @pytest.mark.parametrize("command", ["eval", "predict"])
    def test_a_place_that_cannot_be_written_into(
        self, trained, small, tmp_path, capsys, monkeypatch, command
    ):
        def begun(*_, **__):
            pytest.fail("work was begun")

        monkeypatch.setattr("maskfree_nb.inference.predict_video", begun)
        (tmp_path / "file").touch()
        data = ["--annotations", small[0], "--images", small[1]] if command == "eval" else [small[1] / "0"]
        arguments = [command, trained, *data, "--out", tmp_path / "file"]
        fails(capsys, arguments, tmp_path / "file" / "results.json", "cannot be written")
