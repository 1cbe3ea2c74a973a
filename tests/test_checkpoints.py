"""Checkpoints: what was saved comes back, official files load, bad files are refused and run nothing."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from maskfree_nb.errors import InputError
from maskfree_nb.model import checkpoints
from maskfree_nb.model.checkpoints import load_model, load_official, read_metadata, save_model
from maskfree_nb.model.mask2former import VideoMask2Former, model_config

QUERY_FEAT = "sem_seg_head.predictor.query_feat.weight"
CLASS_BIAS = "sem_seg_head.predictor.class_embed.bias"


def tiny(num_classes: int = 4, **options) -> VideoMask2Former:
    return VideoMask2Former(model_config("tiny", num_classes=num_classes, **options))


def same_weights(a: VideoMask2Former, b: VideoMask2Former) -> bool:
    others = b.state_dict()
    return all(torch.equal(tensor, others[name]) for name, tensor in a.state_dict().items())


def as_official(model: VideoMask2Former) -> dict:
    """Dress a model's tensors as an old official training checkpoint."""
    tensors = {name.replace("query_feat", "static_query"): t for name, t in model.state_dict().items()}
    return {**tensors, "criterion.empty_weight": torch.ones(41), "criterion._iter": torch.zeros(1)}


def write_pkl(path: Path, model: VideoMask2Former, protocol: int = 2) -> None:
    arrays = {name: tensor.numpy() for name, tensor in as_official(model).items()}
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "someone"}, protocol=protocol))


class Attack:
    """Pickles as a command that creates a file."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_saved_models_come_back(tmp_path):
    model = tiny(mask_stride=2, num_queries=3).to(memory_format=torch.channels_last)
    path = tmp_path / "new folder" / "model.safetensors"
    save_model(path, model, {"classes": ["star", "blob"]})
    loaded = load_model(path)
    assert loaded.config == model.config
    assert same_weights(loaded, model)
    assert read_metadata(path) == {"classes": ["star", "blob"]}


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    model = tiny()
    save_model(path, model)

    def full_disk(tensors, file, metadata):
        Path(file).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_model(path, tiny())
    assert same_weights(load_model(path), model)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("wrapped", [True, False])
def test_official_pth(tmp_path, wrapped):
    source, model = tiny(), tiny()
    tensors = as_official(source)
    torch.save({"model": tensors, "iteration": 5999} if wrapped else tensors, tmp_path / "model.pth")
    load_official(model, tmp_path / "model.pth")
    assert same_weights(model, source)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_official_pkl(tmp_path, protocol):
    source, model = tiny(), tiny()
    write_pkl(tmp_path / "model.pkl", source, protocol)
    load_official(model, tmp_path / "model.pkl")
    assert same_weights(model, source)


def test_official_pkl_of_numpy_1(tmp_path):
    source, model = tiny(), tiny()
    path = tmp_path / "model.pkl"
    write_pkl(path, source)
    content = path.read_bytes()
    assert b"numpy._core.multiarray" in content
    path.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    load_official(model, path)
    assert same_weights(model, source)


def test_other_classes_need_a_word(tmp_path):
    coco, model = tiny(num_classes=80), tiny(num_classes=4)
    own_bias = model.state_dict()[CLASS_BIAS].clone()
    write_pkl(tmp_path / "coco.pkl", coco)
    with pytest.raises(InputError, match=r"coco.pkl: its class head is for 80 classes, the model's for 4"):
        load_official(model, tmp_path / "coco.pkl")
    load_official(model, tmp_path / "coco.pkl", reset_class_head=True)
    assert torch.equal(model.state_dict()[CLASS_BIAS], own_bias)
    assert torch.equal(model.state_dict()[QUERY_FEAT], coco.state_dict()[QUERY_FEAT])


def test_another_model_is_refused_and_changes_nothing(tmp_path):
    model = tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.save(as_official(tiny(num_queries=7, decoder_layers=2)), tmp_path / "other.pth")
    with pytest.raises(InputError) as caught:
        load_official(model, tmp_path / "other.pth")
    message = str(caught.value)
    assert message.startswith(
        f"{tmp_path / 'other.pth'}: is a checkpoint of another model: 18 tensors missing"
    )
    assert "query_feat.weight: [7, 64] in the file, [10, 64] in the model" in message
    assert "\n" not in message
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"1 tensors that the model does not have \(fc.weight\)"):
        load_official(model, tmp_path / "other.pth")


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
@pytest.mark.parametrize("hidden", [False, True], ids=["plain", "in an array"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, suffix, hidden):
    attack = Attack(tmp_path / "attacked")
    content = {"model": {"weight": np.array([attack], dtype=object) if hidden else attack}}
    path = tmp_path / f"model{suffix}"
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match=f"model{suffix}: cannot be read as a checkpoint"):
        load_official(tiny(), path)
    assert not attack.target.exists()
    pickle.loads(pickle.dumps(attack))  # the attack works on whoever trusts it
    assert attack.target.exists()


@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".safetensors"])
def test_truncated_files(tmp_path, suffix):
    path, model = tmp_path / f"model{suffix}", tiny()
    if suffix == ".pkl":
        write_pkl(path, model)
    elif suffix == ".pth":
        torch.save(as_official(model), path)
    else:
        save_model(path, model)
    content = path.read_bytes()
    for length in (0, 7, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=f"model{suffix}: cannot be read as a checkpoint"):
            load_official(model, path)


@pytest.mark.parametrize("name", ["model.pkl", "model.pth", "model.safetensors"])
def test_missing_files(tmp_path, name):
    with pytest.raises(InputError, match=f"{name}: no such file"):
        load_official(tiny(), tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: no such file"):
        load_model(tmp_path / name)


def test_a_folder_instead_of_a_checkpoint_says_so(tmp_path):
    for read in (load_model, read_metadata):
        with pytest.raises(InputError, match=r"is a folder, expected a file in it, such as model"):
            read(tmp_path)


def test_files_of_another_kind(tmp_path):
    (tmp_path / "model.txt").write_text("weights")
    with pytest.raises(InputError, match=r"expected a name that ends in .pth, .pkl or .safetensors"):
        load_official(tiny(), tmp_path / "model.txt")
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(InputError, match=r"expected a dictionary of arrays, found a list"):
        load_official(tiny(), tmp_path / "list.pkl")


def test_load_model_takes_only_our_files(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(tiny().state_dict(), path)
    with pytest.raises(InputError, match=r"holds no config of ours; load_official"):
        load_model(path)
    with pytest.raises(InputError, match=r"holds no metadata of ours"):
        read_metadata(path)
    for config, message in (
        ("resnet", "holds no config of ours"),
        ('{"colour": 3}', "configuration cannot be used: .*colour"),
        ('{"depth": 3}', "configuration cannot be used: .*depth is 3"),
    ):
        save_file(tiny().state_dict(), path, metadata={"config": config})
        with pytest.raises(InputError, match=message):
            load_model(path)
