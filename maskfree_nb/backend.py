"""Which implementation runs: plain torch, or the Triton kernels. The only place that imports them."""

import importlib.util
import os
import sys
from types import ModuleType

from torch import Tensor

from maskfree_nb.errors import InputError

BACKENDS = ("auto", "torch", "triton")
HAS_TRITON = importlib.util.find_spec("triton") is not None
_interpreter_chosen_here = False


def resolve(backend: str, tensor: Tensor) -> str:
    """Return "torch" or "triton" for work on `tensor`.

    `auto` takes Triton on a GPU and torch elsewhere. `triton` on a CPU tensor runs Triton's interpreter:
    correct, slow, and only possible where nothing has imported Triton yet, or `TRITON_INTERPRET=1` was set
    before that. It then holds for the whole process, which can run no kernel on a GPU any more.

    Raises:
        InputError: an unknown name, or Triton asked for where it cannot run.

    >>> import torch
    >>> resolve("auto", torch.zeros(1))
    'torch'
    """
    if backend not in BACKENDS:
        raise InputError(f"backend is {backend!r}, expected one of {', '.join(BACKENDS)}")
    if backend == "torch" or (backend == "auto" and not (tensor.is_cuda and HAS_TRITON)):
        return "torch"
    module = kernels(interpret=not tensor.is_cuda)
    if tensor.is_cuda and module.INTERPRETED and _interpreter_chosen_here:
        raise InputError(
            "a tensor is on a GPU, but backend='triton' was asked for on CPU tensors before, and the kernels "
            "are interpreted in this process since then; start Python anew, or use backend='torch'"
        )
    return "triton"


def kernels(interpret: bool = False) -> ModuleType:
    """Import `maskfree_kernels`, under Triton's interpreter if `interpret`.

    Raises:
        InputError: there is no Triton, or it was imported before and compiles.
    """
    global _interpreter_chosen_here
    if not HAS_TRITON:
        raise InputError("backend='triton' needs the package triton (Linux only); use backend='torch'")
    if interpret and "triton" not in sys.modules and "TRITON_INTERPRET" not in os.environ:
        os.environ["TRITON_INTERPRET"] = "1"
        _interpreter_chosen_here = True
    import maskfree_kernels as module  # a statement, which torch.compile can trace

    if interpret and not module.INTERPRETED:
        raise InputError(
            "backend='triton' was asked for on CPU tensors, but the kernels were already compiled for a GPU "
            "in this process; set TRITON_INTERPRET=1 before starting Python, or use backend='torch'"
        )
    return module
