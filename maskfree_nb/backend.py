"""Which implementation runs: plain torch, or the Triton kernels. The only place that imports them."""

import importlib.util
import os
from types import ModuleType

from torch import Tensor

from maskfree_nb.errors import InputError

BACKENDS = ("auto", "torch", "triton")


def resolve(backend: str, tensor: Tensor) -> str:
    """Return "torch" or "triton" for work on `tensor`.

    `auto` takes Triton on a GPU and torch elsewhere. `triton` on a CPU tensor runs Triton's interpreter:
    correct, slow, and only possible where `TRITON_INTERPRET=1` can still be set or is set already.

    Raises:
        InputError: an unknown name, or Triton asked for where it cannot run.

    >>> import torch
    >>> resolve("auto", torch.zeros(1))
    'torch'
    """
    if backend not in BACKENDS:
        raise InputError(f"backend is {backend!r}, expected one of {', '.join(BACKENDS)}")
    if backend == "auto":
        return "triton" if tensor.is_cuda and _has_triton() else "torch"
    if backend == "triton":
        kernels(interpret=not tensor.is_cuda)
    return backend


def kernels(interpret: bool = False) -> ModuleType:
    """Import `maskfree_kernels`, under Triton's interpreter if `interpret`."""
    if not _has_triton():
        raise InputError("backend='triton' needs the package triton (Linux only); use backend='torch'")
    if interpret:
        os.environ.setdefault("TRITON_INTERPRET", "1")
    module = importlib.import_module("maskfree_kernels")
    if interpret and not module.INTERPRETED:
        raise InputError(
            "backend='triton' was asked for on CPU tensors, but the kernels were already compiled for a GPU "
            "in this process; set TRITON_INTERPRET=1 before starting Python, or use backend='torch'"
        )
    return module


def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
