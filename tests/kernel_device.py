"""Where the tests of the kernels run: on a GPU if there is one, else in Triton's interpreter."""

import torch

from maskfree_nb import backend

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
KERNELS = backend.kernels(interpret=DEVICE == "cpu")


def kernel_tolerance(dtype: torch.dtype) -> str:
    """The row of the table for a kernel's output of this dtype against the float64 reference."""
    return f"kernel {str(dtype).removeprefix('torch.')}"


def poison(monkeypatch, module) -> None:
    """Let every empty tensor of a kernel's module start as NaN (or a large negative integer).

    What a launch leaves unwritten then shows.
    """

    class PoisonedTorch:
        def __getattr__(self, name):
            return getattr(torch, name)

        def empty(self, *args, **kwargs):
            return poisoned(torch.empty(*args, **kwargs))

        def empty_like(self, *args, **kwargs):
            return poisoned(torch.empty_like(*args, **kwargs))

    def poisoned(tensor):
        if tensor.dtype == torch.uint8:
            return tensor.fill_(254)
        return tensor.fill_(float("nan") if tensor.is_floating_point() else -(2**30))

    monkeypatch.setattr(module, "torch", PoisonedTorch())


def no_launch(monkeypatch, module, *kernels: str) -> None:
    """Make every launch of these kernels an error."""
    for kernel in kernels:
        monkeypatch.setattr(module, kernel, None)
