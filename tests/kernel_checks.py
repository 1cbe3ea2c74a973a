"""Checks that the kernels of several losses pass in the same way, each against its reference in float64.

Kernels and references are functions of mask logits [L, N, T, h, w] and maybe more tensors; they return [L].
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from conftest import oracle_folder
from kernel_device import DEVICE, kernel_tolerance
from tolerances import TOL
from torch import Tensor
from torch.testing import assert_close


def golden_clips(*names: str) -> list[Path]:
    """The golden files of the TK-Loss that hold arrays of all these names."""
    files = sorted((oracle_folder() / "tk_loss").glob("*.npz"))
    return [path for path in files if set(names) <= set(np.load(path).files)]


def compare_loss(kernel: Callable, reference: Callable, logits: Tensor, *others: Tensor, **options) -> None:
    """Compare values and gradients with the reference in float64, with one weight a layer."""
    layer_weights = torch.linspace(-1, 2, len(logits), dtype=torch.float64)
    exact = logits.double().requires_grad_()
    expected = reference(exact, *map(_exact, others), **options)
    (expected * layer_weights).sum().backward()

    given = logits.to(DEVICE).requires_grad_()
    options = {name: v.to(DEVICE) if isinstance(v, Tensor) else v for name, v in options.items()}
    loss = kernel(given, *(tensor.to(DEVICE) for tensor in others), **options)
    (loss * layer_weights.to(DEVICE)).sum().backward()
    assert loss.dtype == (torch.float64 if logits.dtype == torch.float64 else torch.float32)
    assert given.grad.dtype == logits.dtype
    assert_close(loss.double().cpu(), expected.detach(), **TOL[kernel_tolerance(loss.dtype)])
    assert_close(given.grad.double().cpu(), exact.grad, **TOL[kernel_tolerance(logits.dtype)])


def check_not_contiguous_and_used_twice(
    kernel: Callable, reference: Callable, logits: Tensor, *others: Tensor
) -> None:
    """Compare the gradient of two uses in one graph, of tensors that are stored transposed."""
    given = logits.mT.contiguous().to(DEVICE).requires_grad_()
    transposed = [tensor.mT.contiguous().mT.to(DEVICE) for tensor in others]
    once, twice = (kernel(factor * given.mT, *transposed).sum() for factor in (1, 2))
    (once + twice).backward()
    exact = logits.double().requires_grad_()
    for factor in (1, 2):
        reference(factor * exact, *map(_exact, others)).sum().backward()
    assert_close(given.grad.mT.double().cpu(), exact.grad, **TOL["kernel float32"])


def check_bitwise_the_same_every_time(kernel: Callable, logits: Tensor, *others: Tensor) -> None:
    """Run forward and backward three times: not a bit may change."""
    logits, *others = (tensor.to(DEVICE) for tensor in (logits, *others))
    first, *again = (_loss_and_gradient(lambda x: kernel(x, *others).sum(), logits) for _ in range(3))
    assert all(torch.equal(a, b) for run in again for a, b in zip(first, run, strict=True))


def check_under_compile_and_autocast(kernel: Callable, logits: Tensor, *others: Tensor) -> None:
    """Compile a step around the kernel without a break in its graph: it does what it does eagerly."""
    logits, *others = (tensor.to(DEVICE) for tensor in (logits, *others))

    def step(logits: Tensor) -> Tensor:
        with torch.autocast(DEVICE, torch.bfloat16):
            return kernel(logits * 0.5, *others).sum() * 2

    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    results = [_loss_and_gradient(function, logits) for function in (step, compiled)]
    for a, b in zip(*results, strict=True):
        assert_close(a, b)


def _exact(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _loss_and_gradient(function: Callable[[Tensor], Tensor], logits: Tensor) -> tuple[Tensor, Tensor]:
    given = logits.clone().requires_grad_()
    loss = function(given)
    loss.backward()
    return loss.detach(), given.grad
