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

MODELS = [path.stem for path in sorted(WEIGHTS.glob("*.safetensors"))]


def test_the_models_that_ship_are_these():
    assert MODELS == ["tiny_boxes", "tiny_shapes"]
    assert pretrained() == pretrained("tiny_shapes") == WEIGHTS / "tiny_shapes.safetensors"


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_small_and_loads(name):
    assert pretrained(name).stat().st_size <= 5_000_000
    model, metadata = load_trained(pretrained(name))
    assert model.config.num_classes == len(metadata["categories"])


@pytest.mark.parametrize("name", MODELS)
def test_every_model_says_how_it_was_trained_and_that_no_true_mask_was(name):
    record = json.loads(pretrained(name).with_suffix(".json").read_text())
    assert record["log"][-1]["step"] == record["config"]["steps"] - 1
    first = record.get("first", record)  # what masks it was trained on, if any, a first model drew
    assert first["log"][-1]["step"] == first["config"]["steps"] - 1
    assert first["config"]["criterion"]["supervision"] == "boxes"
    assert first["config"]["annotations"] == "data/train.json"
    assert record["config"]["annotations"] in ("data/train.json", "masks.json")


WAYS = {
    "as it is": {},
    "refined": {"refine": True},
    "temporal": {"temporal": True},
    "scored": {"temporal": True, "mask_scores": True},
}


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    """The 50 videos that both models were scored on."""
    data, other = (json.loads(pretrained(name).with_suffix(".json").read_text())["data"] for name in MODELS)
    sha256, version = data.pop("sha256"), data.pop("version")
    assert sha256 == other["sha256"]
    assert version == VERSION, "the data set has changed since: train the models again"
    assert len(sha256) == 64
    folder = tmp_path_factory.mktemp("held_out") / "data"
    make_embedded(folder, **{**data, "train_videos": 1})  # their training videos are not needed
    return folder / "val.json", folder / "val" / "JPEGImages"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "way"),
    [("tiny_boxes", "as it is"), *(("tiny_shapes", way) for way in WAYS)],
)
def test_every_model_gets_its_stored_figures_again(held_out, name, way):
    metrics = json.loads(pretrained(name).with_suffix(".json").read_text())["metrics"]
    found = evaluate_model(pretrained(name), *held_out, **WAYS[way], progress=False).metrics()
    of = metrics.get(way, metrics)
    figures, stored = (torch.tensor([figures[key] for key in found]) for figures in (found, of))
    assert_close(figures, stored, **TOL["AP again"])


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
