"""Training runs: what they leave, what they never see, and that they end alike however they were stopped."""

import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_set import make_small_set, small_options
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb import training
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError, TrainingDiverged
from maskfree_nb.launch import train_in_processes
from maskfree_nb.model.mask2former import VideoMask2Former, model_config
from maskfree_nb.options import build
from maskfree_nb.pretrained import pretrained
from maskfree_nb.train_config import TrainConfig, read_train_config
from maskfree_nb.training import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[Path, Path]:
    return make_small_set(tmp_path_factory.mktemp("small"))


def run(out: Path, small: tuple[Path, Path], resume: bool = False, **overrides) -> list[dict]:
    config = build(TrainConfig, small_options(*small, **overrides), "test")
    train(config, out, resume=resume, progress=False)
    return read_log(out)


def read_log(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model.safetensors")


def assert_same_weights(first: Path, second: Path) -> None:
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, small) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted")
    run(out, small)
    return out


def test_a_run_leaves_config_log_checkpoints_and_model(uninterrupted):
    log = read_log(uninterrupted)
    assert [line["step"] for line in log] == list(range(8))
    terms = {"loss", "loss_class", "box_fill", "box_warmup", "lr", "gradient_norm"}
    assert all(terms <= line.keys() for line in log)
    assert {"loss_mask", "loss_dice"} <= log[0].keys() and "loss_tk" not in log[0]
    assert {"loss_projection", "loss_pairwise", "loss_tk", "loss_outside", "matches_per_pixel"} <= log[
        -1
    ].keys()
    assert [line["box_warmup"] for line in log] == [1.0, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0]
    checkpoints = sorted(path.name for path in (uninterrupted / "checkpoints").iterdir())
    assert checkpoints == ["step_0000004", "step_0000006"]
    assert read_train_config(uninterrupted / "config.json").steps == 8


def test_the_weights_move(uninterrupted, small, tmp_path):
    run(tmp_path, small, steps=1, learning_rate=0.0)
    start, end = weights(tmp_path), weights(uninterrupted)
    assert sum(not torch.equal(start[name], end[name]) for name in start) > 100


@pytest.mark.parametrize("supervision", ["boxes", "boxinst"])
def test_masks_in_the_file_change_no_number_of_a_box_run(tmp_path, small, uninterrupted, supervision):
    annotations, images = small
    bare = json.loads(annotations.read_text())
    for annotation in bare["annotations"]:
        del annotation["segmentations"], annotation["areas"]
    boxes_only = tmp_path / "boxes_only.json"
    boxes_only.write_text(json.dumps(bare))
    options = {"supervision": supervision, "box_warmup": 0.25, "box_ramp": 0.25, "tk": {"radius": 2}}
    with_masks = run(tmp_path / "with", small, criterion=options)
    without = run(tmp_path / "without", (boxes_only, images), criterion=options)
    assert with_masks == without
    assert_same_weights(tmp_path / "with", tmp_path / "without")


def test_the_oracle_needs_masks(tmp_path, small):
    annotations, images = make_small_set(tmp_path / "bare", masks=False)
    with pytest.raises(InputError, match="segmentations"):
        run(tmp_path / "run", (annotations, images), criterion={"supervision": "masks"})
    log = run(tmp_path / "oracle", small, criterion={"supervision": "masks"}, steps=2)
    assert all(line["box_warmup"] == 0 and "loss_mask" in line for line in log)


@pytest.fixture(scope="module")
def command(tmp_path_factory, small) -> list[str]:
    """`maskfree train` with the small options, less the folder; all its runs see the same threads."""
    config = tmp_path_factory.mktemp("command") / "config.json"
    config.write_text(json.dumps(small_options(*small)))
    return [sys.executable, "-m", "maskfree_nb.cli", "train", "--config", str(config)]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, command) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    subprocess.run([*command, str(out)], check=True, capture_output=True)
    return out


@pytest.mark.parametrize("after", [3, 5])
def test_a_killed_run_resumes_to_the_same_weights(tmp_path, command, unbroken, after):
    """SIGKILL once the log holds `after` lines, then resume: as if the run had never been broken."""
    out = tmp_path / "run"
    process = subprocess.Popen([*command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not ((out / "log.jsonl").exists() and (out / "log.jsonl").read_text().count("\n") >= after):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "model.safetensors").exists()
    subprocess.run([*command, str(out), "--resume"], check=True, capture_output=True)
    assert read_log(out) == read_log(unbroken)
    assert_same_weights(out, unbroken)


def test_a_loss_that_is_not_finite_stops_with_the_batch_named(tmp_path, small, monkeypatch):
    real = training.Criterion.forward
    calls = []

    def poisoned(self, predictions, batch, *rest):
        loss, terms = real(self, predictions, batch, *rest)
        calls.append(batch)
        return (loss * float("nan") if len(calls) == 6 else loss), terms

    monkeypatch.setattr(training.Criterion, "forward", poisoned)
    with pytest.raises(TrainingDiverged, match=r"step 5: the loss is not finite .* video \d, frames \["):
        run(tmp_path, small)
    assert (tmp_path / "checkpoints" / "step_0000004").is_dir()
    assert len(read_log(tmp_path)) == 5
    monkeypatch.undo()
    assert len(run(tmp_path, small, resume=True)) == 8


def test_a_folder_holds_one_run(tmp_path, small, uninterrupted):
    with pytest.raises(InputError, match="already holds a run"):
        run(uninterrupted, small)
    with pytest.raises(InputError, match=r"learning_rate was 0\.001, now 0\.1"):
        run(uninterrupted, small, resume=True, learning_rate=0.1)


def test_ema_keeps_the_average(tmp_path, small):
    run(tmp_path / "ema", small, ema_decay=0.9, steps=4)
    run(tmp_path / "plain", small, steps=4)
    a, b = weights(tmp_path / "ema"), weights(tmp_path / "plain")
    assert a.keys() == b.keys()
    assert any(not torch.equal(a[name], b[name]) for name in a)


def test_bf16_and_loader_processes(tmp_path, small):
    log = run(tmp_path, small, mixed_precision="bf16", workers=1, steps=4)
    assert all(torch.isfinite(torch.tensor(line["loss"])) for line in log) and len(log) == 4


def test_starting_from_an_official_checkpoint(tmp_path, small, uninterrupted):
    tensors = weights(uninterrupted)
    tensors["sem_seg_head.predictor.static_query.weight"] = tensors.pop(
        "sem_seg_head.predictor.query_feat.weight"
    )
    torch.save({"model": tensors}, tmp_path / "official.pth")
    run(tmp_path / "next", small, init=str(tmp_path / "official.pth"), steps=1, learning_rate=0.0)
    name = "sem_seg_head.predictor.query_feat.weight"
    assert torch.equal(weights(tmp_path / "next")[name], weights(uninterrupted)[name])


def test_starting_from_a_model_of_other_classes_keeps_all_but_the_class_head(tmp_path, small, uninterrupted):
    content = json.loads(small[0].read_text())
    for number, category in enumerate(content["categories"]):
        category["name"] = f"mine {number}"
    options = {"init": str(uninterrupted / "model.safetensors"), "steps": 1, "learning_rate": 0.0}
    before = weights(uninterrupted)
    for extra in ([], [{"id": 99, "name": "one more"}]):  # as many classes, and more
        mine = tmp_path / f"{len(extra)}.json"
        mine.write_text(json.dumps({**content, "categories": content["categories"] + extra}))
        run(tmp_path / mine.stem, (mine, small[1]), **options)
        after = weights(tmp_path / mine.stem)
        changed = {n for n in before if after[n].shape != before[n].shape or not after[n].equal(before[n])}
        assert changed == {f"sem_seg_head.predictor.class_embed.{kind}" for kind in ("weight", "bias")}


def test_a_run_that_is_done_stays(uninterrupted, small):
    before = (uninterrupted / "model.safetensors").stat().st_mtime_ns
    assert len(run(uninterrupted, small, resume=True)) == 8
    assert (uninterrupted / "model.safetensors").stat().st_mtime_ns == before


def test_starting_from_a_model(tmp_path, small, uninterrupted):
    log = run(tmp_path / "next", small, init=str(uninterrupted / "model.safetensors"), steps=2)
    assert log[0]["loss"] < read_log(uninterrupted)[0]["loss"]
    with pytest.raises(InputError, match="holds another model"):
        run(
            tmp_path / "other", small, init=str(uninterrupted / "model.safetensors"), model={"num_queries": 5}
        )


def test_two_processes_train_as_one_with_twice_the_batch(tmp_path, small):
    one = run(tmp_path / "one", small, batch_size=4, steps=6)
    config = build(TrainConfig, small_options(*small, batch_size=4, steps=6), "test")
    train_in_processes(config, tmp_path / "two", processes=2)
    two = read_log(tmp_path / "two")
    assert len(two) == len(one) == 6
    losses = [torch.tensor([line["loss"] for line in log]) for log in (one, two)]
    assert_close(*losses, **TOL["two processes against one"])


def test_a_run_goes_on_with_as_many_processes_as_it_began_with(tmp_path, small, monkeypatch):
    config = build(TrainConfig, small_options(*small, batch_size=4, steps=4, checkpoint_every=2), "test")
    train_in_processes(config, tmp_path / "run", processes=2)
    (tmp_path / "run/model.safetensors").unlink()
    with pytest.raises(InputError, match="was saved by 2 processes, now there are 1; a resumed run keeps"):
        train(replace(config, batch_size=2), tmp_path / "run", resume=True, progress=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0})  # one core is left
    assert train_in_processes(config, tmp_path / "run").exists()
    with pytest.raises(InputError, match="0 processes cannot share a batch of 4"):
        train_in_processes(config, tmp_path / "run", processes=0)


def test_a_process_without_objects_leaves_the_box_fill_to_the_others():
    class Two:  # this process and one with other values
        device = torch.device("cpu")

        def reduce(self, tensor, reduction):
            return tensor + next(self.others)

    nan = torch.tensor(float("nan"))
    values = {"loss": torch.tensor(1.0), "box_fill": nan}
    Two.others = iter([torch.tensor([3.0, 0.5]), torch.tensor([1.0, 1.0])])
    assert training._average_over_processes(Two(), values) == {"loss": 2.0, "box_fill": 0.5}
    Two.others = iter([torch.tensor([3.0, 0.5]), torch.tensor([1.0, 1.0])])
    assert not math.isfinite(training._average_over_processes(Two(), {**values, "loss": nan})["loss"])


def test_more_objects_than_queries_are_refused(small):
    videos = load_ytvis(*small, masks=False)
    with pytest.raises(InputError, match="video 1 has 1 objects, the model only 0 queries; train with model"):
        training._check_queries(videos, 0)


def test_a_tuple_among_the_options_does_not_lock_the_folder(tmp_path, small):
    run(tmp_path, small, steps=1, clips={"num_frames": 2, "image_sizes": (64, 48)})
    run(tmp_path, small, steps=1, clips={"num_frames": 2, "image_sizes": (64, 48)}, resume=True)


def test_norms_biases_and_codes_do_not_decay(small):
    config = build(TrainConfig, small_options(*small, backbone_factor=0.1), "test")
    model = VideoMask2Former(model_config("tiny", num_classes=2))
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = training._parameter_groups(model, config)
    assert sum(len(group["params"]) for group in groups) == len(names)
    for group in groups:
        for parameter in group["params"]:
            name = names[parameter]
            code = any(word in name for word in ("query_feat", "query_embed", "level_embed"))
            assert (group["weight_decay"] == 0) == (parameter.ndim == 1 or code), name
            assert (group["factor"] == 0.1) == name.startswith("backbone."), name


def test_a_batch_is_shared_evenly_or_not_at_all(tmp_path, small):
    config = build(TrainConfig, small_options(*small, batch_size=4), "test")
    with pytest.raises(InputError, match="3 processes cannot share a batch of 4"):
        train_in_processes(config, tmp_path, processes=3)
    broken = replace(config, images=str(tmp_path))
    with pytest.raises(InputError, match="ended with status"):
        train_in_processes(broken, tmp_path / "run", processes=2)


def test_unknown_options_are_named(small):
    with pytest.raises(InputError, match=r"run\.json: unknown option 'learning_rat'"):
        build(TrainConfig, small_options(*small, learning_rat=1), "run.json")
    with pytest.raises(InputError, match=r"run\.json: 'annotations' is missing"):
        build(TrainConfig, {"images": "x"}, "run.json")


def test_a_model_that_comes_with_the_package_starts_a_run_by_its_name(tmp_path):
    make_embedded(tmp_path / "data", train_videos=2, train_frames=3, val_videos=1, val_frames=1)
    small = {"annotations": tmp_path / "data/train.json", "images": tmp_path / "data/train/JPEGImages"}
    small = {name: str(path) for name, path in small.items()}
    config = TrainConfig(**small, init="tiny_boxes", steps=1, batch_size=1, learning_rate=0.0)
    trained = load_file(train(config, tmp_path / "run", progress=False))
    for name, weight in load_file(pretrained("tiny_boxes")).items():
        torch.testing.assert_close(trained[name], weight)
    with pytest.raises(InputError, match="no trained model is called 'huge'; the package has tiny_boxes"):
        train(replace(config, init="huge"), tmp_path / "other", progress=False)
