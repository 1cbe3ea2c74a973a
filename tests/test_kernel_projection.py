"""The kernel of the projection loss, against the torch reference and the golden numbers."""

import importlib
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_checks import (
    check_bitwise_the_same_every_time,
    check_not_contiguous_and_used_twice,
    check_under_compile_and_autocast,
    compare_loss,
    golden_clips,
)
from kernel_device import DEVICE, KERNELS, no_launch, poison
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb import boxloss

CLIPS = golden_clips("grad_mask", "logits")
MODULE = importlib.import_module("maskfree_kernels.projection")
reference = partial(boxloss.projection_loss, backend="torch")
compare = partial(compare_loss, KERNELS.projection_loss, reference)


@pytest.fixture(autouse=True)
def poisoned_outputs(monkeypatch):
    poison(monkeypatch, MODULE)


def draw(shape, seed, dtype=torch.float32):
    """Logits [L, N, T, h, w] of no two equal values in a map, and masks [N, T, h, w], some of them empty."""
    generator = torch.Generator().manual_seed(seed)
    h, w = shape[-2:]
    ranks = torch.rand(*shape[:3], h * w, generator=generator).argsort(-1)
    logits = (8 * (ranks + 1) / (h * w) - 6).view(shape).to(dtype)
    masks = torch.randint(0, 5, shape[1:], generator=generator) / 4
    return logits, masks * torch.randint(0, 2, (*shape[1:3], 1, 1), generator=generator)


@pytest.mark.oracle
@pytest.mark.parametrize("path", CLIPS, ids=[p.stem for p in CLIPS])
def test_golden(path):
    z = np.load(path)
    logits = torch.from_numpy(z["logits"]).to(DEVICE).requires_grad_()
    (loss,) = KERNELS.projection_loss(logits[None], torch.from_numpy(z["box_masks"]).to(DEVICE))
    loss.backward()
    assert_close(loss.item(), z["loss_mask"].item(), **TOL["oracle losses"])
    assert_close(logits.grad.cpu(), torch.from_numpy(z["grad_mask"]), **TOL["oracle gradients"])


@settings(max_examples=20, deadline=None)
@given(
    maps=st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)),
    h=st.integers(1, 40),
    w=st.one_of(st.integers(1, 40), st.sampled_from([8, 24, 128, 129, 136])),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 9999),
)
def test_equals_the_reference(maps, h, w, dtype, seed):
    compare(*draw((*maps, h, w), seed, dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_halves(dtype):
    """Equal values are common in halves; the first takes the gradient, as in the reference on a CPU."""
    compare(*draw((2, 2, 1, 37, 21), seed=1, dtype=dtype))


@pytest.mark.parametrize("w", [16, 13])
def test_the_first_of_equal_values_takes_the_gradient(w):
    logits = torch.zeros(1, 1, 1, 70, w, device=DEVICE, requires_grad=True)
    KERNELS.projection_loss(logits, torch.ones(1, 1, 70, w, device=DEVICE)).sum().backward()
    taken = torch.zeros(70, w, dtype=torch.bool)
    taken[:, 0] = taken[0, :] = True
    assert torch.equal(logits.grad[0, 0, 0].cpu() != 0, taken)


def test_absent_box_adds_two_and_no_gradient():
    logits, _ = draw((1, 1, 1, 9, 11), seed=2)
    given = logits.to(DEVICE).requires_grad_()
    loss = KERNELS.projection_loss(given, torch.zeros(1, 1, 9, 11, device=DEVICE))
    loss.sum().backward()
    assert loss.item() == 2 and not given.grad.any()


def test_extreme_logits_stay_finite_and_nan_stays_nan():
    logits, masks = draw((1, 1, 2, 9, 11), seed=3)
    compare(logits.sign() * 1e4, masks)
    logits[0, 0, 1, 8, 10] = float("nan")
    assert KERNELS.projection_loss(logits.to(DEVICE), masks.to(DEVICE)).isnan().all()


def test_not_contiguous_and_used_twice():
    drawn = draw((2, 2, 1, 9, 21), seed=4)
    check_not_contiguous_and_used_twice(KERNELS.projection_loss, reference, *drawn)


def test_bitwise_the_same_every_time():
    check_bitwise_the_same_every_time(KERNELS.projection_loss, *draw((2, 2, 2, 33, 136), seed=5))


def test_no_instances_launch_nothing(monkeypatch):
    no_launch(monkeypatch, MODULE, "projection_fwd_kernel", "projection_bwd_kernel")
    logits = torch.zeros(3, 0, 2, 4, 4, device=DEVICE, requires_grad=True)
    loss = KERNELS.projection_loss(logits, torch.zeros(0, 2, 4, 4, device=DEVICE))
    assert torch.equal(loss.cpu(), torch.zeros(3))
    loss.sum().backward()
    assert logits.grad.shape == logits.shape


def test_under_compile_and_autocast(monkeypatch):
    monkeypatch.undo()  # the compiler cannot trace poisoned tensors
    check_under_compile_and_autocast(KERNELS.projection_loss, *draw((2, 1, 2, 5, 8), seed=6))


def test_errors_name_what_does_not_fit():
    logits, masks = draw((1, 2, 1, 4, 5), seed=7)
    with pytest.raises(
        ValueError, match=r"box_masks \[1, 1, 4, 5\] do not fit mask_logits \[1, 2, 1, 4, 5\]"
    ):
        KERNELS.projection_loss(logits, masks[:1])


@pytest.mark.skipif(DEVICE == "cpu", reason="more than 2^31 logits: 9 GB, on a GPU only")
def test_more_than_2_to_the_31_logits():
    h, w = 512, 1024
    N = 2**31 // (h * w) + 2
    logits = torch.zeros(1, N, 1, h, w, dtype=torch.bfloat16, device=DEVICE)
    logits[:, -1] = torch.randn(h, w, device=DEVICE)
    masks = torch.zeros(N, 1, h, w, dtype=torch.bfloat16, device=DEVICE)
    masks[-1] = 1
    given = logits.requires_grad_()
    loss = KERNELS.projection_loss(given, masks)
    loss.sum().backward()
    last = logits[:, -1:].detach().double().cpu().requires_grad_()
    expected = boxloss.projection_loss(last, torch.ones(1, 1, h, w), backend="torch")
    expected.sum().backward()
    assert_close(loss.double().cpu(), (expected.detach() + 2 * (N - 1)) / N, **TOL["kernel float32"])
    assert_close(given.grad[:, -1:].double().cpu() * N, last.grad, **TOL["kernel bfloat16"])
    assert not given.grad[:, :-1].any()
