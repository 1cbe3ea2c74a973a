"""The trained models that the package brings along."""

import json

import pytest
import torch
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb import pretrained as module
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.embedded.dataset import VERSION
from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.report import evaluate_model
from maskfree_nb.inference import load_trained
from maskfree_nb.pretrained import WEIGHTS, pretrained


def test_the_default_model_is_small_and_loads():
    path = pretrained()
    assert path == pretrained("tiny_boxes") == WEIGHTS / "tiny_boxes.safetensors"
    assert path.stat().st_size <= 5_000_000
    model, metadata = load_trained(path)
    assert model.config.num_classes == len(metadata["categories"])


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("*.safetensors")), ids=lambda path: path.stem)
def test_every_model_says_how_it_was_trained(path):
    assert isinstance(json.loads(path.with_suffix(".json").read_text()), dict)


@pytest.mark.slow
def test_the_default_model_gets_the_stored_figures_again(tmp_path):
    record = json.loads(pretrained().with_suffix(".json").read_text())
    sizes = {**record["data"], "train_videos": 1}  # its training videos are not needed
    sha256, version = sizes.pop("sha256"), sizes.pop("version")
    assert version == VERSION, "the data set has changed since: train the model again"
    make_embedded(tmp_path / "data", **sizes)
    held_out = (tmp_path / "data" / "val.json", tmp_path / "data" / "val" / "JPEGImages")
    figures = record["metrics"]
    ways = (({}, figures), ({"refine": True}, figures["refined"]), ({"temporal": True}, figures["temporal"]))
    for flags, of in ways:
        report = evaluate_model(pretrained(), *held_out, **flags, progress=False)
        figures = torch.tensor(list(report.metrics().values()))
        stored = torch.tensor([of[name] for name in report.metrics()])
        assert_close(figures, stored, **TOL["AP again"])
    assert len(sha256) == 64 and record["log"][-1]["step"] == record["config"]["steps"] - 1


@pytest.mark.parametrize("name", ["large", "", "../weights/one", "one.safetensors", "*"])
def test_an_unknown_name_lists_what_is_there(tmp_path, monkeypatch, name):
    monkeypatch.setattr(module, "WEIGHTS", tmp_path)
    for known in ("two", "one"):
        (tmp_path / f"{known}.safetensors").touch()
    assert pretrained("one") == tmp_path / "one.safetensors"
    with pytest.raises(InputError) as caught:
        pretrained(name)
    assert str(caught.value) == f"no trained model is called {name!r}; the package has one, two"


def test_a_package_without_weights_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WEIGHTS", tmp_path / "missing")
    with pytest.raises(InputError, match="the package has none at all"):
        pretrained()
