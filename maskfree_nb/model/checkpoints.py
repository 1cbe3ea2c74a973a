"""Models on disk: ours, the official ones and Hugging Face's. Nothing in a file is ever executed."""

import json
import pickle
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from maskfree_nb.atomic import replacing
from maskfree_nb.errors import InputError
from maskfree_nb.model.config import ModelConfig
from maskfree_nb.model.huggingface import is_huggingface, official_names
from maskfree_nb.model.mask2former import VideoMask2Former

CLASS_HEAD = "sem_seg_head.predictor.class_embed."


def save_model(path: str | Path, model: VideoMask2Former, metadata: dict | None = None) -> None:
    """Write weights and configuration to one `.safetensors` file, atomically.

    Args:
        path: the file.
        model: the model.
        metadata: anything JSON that should travel with it, such as the classes' names.

    >>> import tempfile
    >>> from maskfree_nb.model.config import model_config
    >>> model = VideoMask2Former(model_config("tiny", num_classes=1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(f"{folder}/model.safetensors", model, {"classes": ["cat"]})
    ...     load_model(f"{folder}/model.safetensors").config == model.config
    ...     read_metadata(f"{folder}/model.safetensors")
    True
    {'classes': ['cat']}
    """
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    header = {"config": json.dumps(asdict(model.config)), "metadata": json.dumps(metadata or {})}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_model(path: str | Path) -> VideoMask2Former:
    """Return the model that `save_model` wrote, on the CPU.

    Raises:
        InputError: the file is missing or broken, or something else wrote it.
    """
    tensors, header = _read_safetensors(Path(path))
    options = _ours(header, "config", path)
    try:
        config = ModelConfig(**options)
    except (TypeError, InputError) as error:
        raise InputError(f"{path}: its model configuration cannot be used: {error}") from error
    model = VideoMask2Former(config)
    _load(model, tensors, path)
    return model


def read_metadata(path: str | Path) -> dict:
    """Return the metadata that was given to `save_model`.

    Raises:
        InputError: the file is missing or broken, or something else wrote it.
    """
    return _ours(_read_safetensors(Path(path), tensors=False)[1], "metadata", path)


def is_ours(path: str | Path) -> bool:
    """Whether `save_model` wrote the file.

    Raises:
        InputError: a `.safetensors` file that is missing or broken.
    """
    path = Path(path)
    return path.suffix == ".safetensors" and "config" in _read_safetensors(path, tensors=False)[1]


def _ours(header: dict[str, str], key: str, path: str | Path) -> dict:
    try:
        return json.loads(header[key])
    except (KeyError, ValueError) as error:
        message = f"{path}: holds no {key} of ours; load_official reads checkpoints of other programs"
        raise InputError(message) from error


def load_official(model: VideoMask2Former, path: str | Path, *, reset_class_head: bool = False) -> None:
    """Load into `model` the weights of an official checkpoint or of Hugging Face's Mask2Former.

    Image and video models have the same tensors, so checkpoints of either start a video model. Every tensor
    must be there, with its shape.

    Args:
        model: of the preset that fits the checkpoint, such as "r50".
        path: `.pth` or `.pkl` of the official code, `.safetensors` of transformers or of `save_model`.
        reset_class_head: keep the model's own class head, to train it for other classes.

    Raises:
        InputError: the file is missing, broken, not a checkpoint, or of another model.
    """
    path = Path(path)
    tensors = _read_official(path)
    if is_huggingface(tensors):
        tensors = official_names(tensors)
    tensors = {
        name.replace("static_query", "query_feat"): tensor
        for name, tensor in tensors.items()
        if not name.startswith("criterion.")
    }
    own = model.state_dict()
    if reset_class_head:
        tensors |= {name: tensor for name, tensor in own.items() if name.startswith(CLASS_HEAD)}
    rows = tensors.get(CLASS_HEAD + "bias")
    if rows is not None and len(rows) != model.config.num_classes + 1:
        raise InputError(
            f"{path}: its class head is for {len(rows) - 1} classes, the model's for "
            f"{model.config.num_classes}; reset_class_head=True loads all else and keeps the model's"
        )
    _load(model, tensors, path)


def _load(model: VideoMask2Former, tensors: dict[str, Tensor], path: str | Path) -> None:
    """Load strictly, or say in one line how the file differs from the model."""
    own = model.state_dict()
    missing = [name for name in own if name not in tensors]
    unexpected = [name for name in tensors if name not in own]
    other = [name for name in own if name in tensors and tensors[name].shape != own[name].shape]
    differences = [
        f"{len(names)} tensors {what} ({', '.join(names[:2])}{', ..' if len(names) > 2 else ''})"
        for names, what in ((missing, "missing"), (unexpected, "that the model does not have"))
        if names
    ]
    if other:
        name = other[0]
        differences.append(
            f"{len(other)} tensors of another shape ({name}: {list(tensors[name].shape)} in the file, "
            f"{list(own[name].shape)} in the model)"
        )
    if differences:
        raise InputError(f"{path}: is a checkpoint of another model: {'; '.join(differences)}")
    model.load_state_dict(tensors)


def _read_safetensors(path: Path, tensors: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            names = file.keys() if tensors else ()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except Exception as error:  # safetensors has its own types, one for each way to be broken
        raise _unreadable(path, error) from error


def _read_official(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)[0]
    try:
        if path.suffix == ".pth":
            content = torch.load(path, map_location="cpu", weights_only=True)
        elif path.suffix == ".pkl":
            with open(path, "rb") as file:
                content = _ArrayUnpickler(file, encoding="latin1").load()
        else:
            raise ValueError("expected a name that ends in .pth, .pkl or .safetensors")
        if not isinstance(content, dict):
            raise ValueError(f"expected a dictionary of arrays, found a {type(content).__name__}")
        arrays = content.get("model", content)  # {"model": {name: array}, ..} or {name: array}
        return {name: torch.as_tensor(array) for name, array in arrays.items()}
    except Exception as error:  # what breaks depends on the content, which may be anything
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    if path.is_dir():
        return InputError(f"{path}: is a folder, expected a file in it, such as model.safetensors")
    if not path.is_file():
        return InputError(f"{path}: no such file")
    reason = str(error).split("\n")[0] or type(error).__name__
    return InputError(f"{path}: cannot be read as a checkpoint: {reason}")


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that can make numpy arrays and nothing else."""

    ALLOWED = frozenset({
        ("collections", "OrderedDict"),
        ("_codecs", "encode"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
    })  # fmt: skip

    def find_class(self, module: str, name: str) -> object:
        module = module.replace(
            "numpy.core.", "numpy._core."
        )  # numpy 1 wrote the first, numpy 2 has the second
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, but only numpy arrays are let in")
        return super().find_class(module, name)
