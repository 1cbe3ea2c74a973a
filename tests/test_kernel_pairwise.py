"""Kernels of colour affinity and the pairwise loss, against the torch reference and the golden numbers."""

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

CLIPS = golden_clips("keep_sp")
MODULE = importlib.import_module("maskfree_kernels.pairwise")
AFFINITY_MODULE = importlib.import_module("maskfree_kernels.colour_affinity")
reference = partial(boxloss.pairwise_loss, backend="torch")
compare = partial(compare_loss, KERNELS.pairwise_loss, reference)


@pytest.fixture(autouse=True)
def poisoned_outputs(monkeypatch):
    poison(monkeypatch, MODULE)
    poison(monkeypatch, AFFINITY_MODULE)


def draw(L, shape, clips, seed, dtype=torch.float32):
    """Logits [L, N, T, h, w] with some large ones, bits of no symmetry, masks with zeros, a clip each."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(L, *shape, generator=generator).pow(3).to(dtype)
    affinity = torch.randint(0, 256, (clips, *shape[1:]), generator=generator, dtype=torch.int32)
    masks = torch.randint(0, 5, shape, generator=generator) / 4
    clip_index = torch.randint(0, clips, shape[:1], generator=generator)
    return logits, affinity, masks, clip_index


@pytest.mark.oracle
@pytest.mark.parametrize("path", CLIPS, ids=[p.stem for p in CLIPS])
@pytest.mark.parametrize("prefix", ["", "clean_"])
def test_golden(path, prefix):
    z = np.load(path)
    bits = torch.from_numpy(z[f"{prefix}keep_sp"]).int() << torch.arange(8, dtype=torch.int32)[:, None, None]
    affinity = bits.sum(1, dtype=torch.int32)[None].to(DEVICE)
    logits = torch.from_numpy(z["logits"]).to(DEVICE).requires_grad_()
    (loss,) = KERNELS.pairwise_loss(logits[None], affinity, torch.from_numpy(z["box_masks"]).to(DEVICE))
    loss.backward()
    assert_close(loss.item(), z[f"{prefix}loss_bound"].item(), **TOL["oracle losses"])
    assert_close(logits.grad.cpu(), torch.from_numpy(z[f"{prefix}grad_bound"]), **TOL["oracle gradients"])


@settings(max_examples=15, deadline=None)
@given(
    layers=st.integers(1, 3),
    shape=st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 9), st.integers(1, 37)),
    dilation=st.integers(1, 4),
    clips=st.integers(1, 2),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 9999),
)
def test_equals_the_reference(layers, shape, dilation, clips, dtype, seed):
    logits, affinity, masks, clip_index = draw(layers, shape, clips, seed, dtype)
    compare(logits, affinity, masks, dilation=dilation, clip_index=clip_index)


def test_several_tiles_and_layer_groups():
    logits, affinity, masks, _ = draw(7, (1, 1, 23, 51), 1, seed=1)
    compare(logits, affinity, masks)


def test_empty_boxes_give_zero():
    logits, affinity, masks, _ = draw(2, (1, 2, 5, 7), 1, seed=2)
    compare(logits, affinity, torch.zeros_like(masks))


def test_extreme_logits_stay_finite():
    logits = torch.tensor([-1e4, -100.0, -0.0, 100.0, 1e4]).view(1, 1, 1, 1, 5)
    compare(logits, torch.full((1, 1, 1, 5), 255, dtype=torch.int32), torch.ones(1, 1, 1, 5), dilation=1)


def test_not_contiguous_and_used_twice():
    logits, affinity, masks, _ = draw(2, (2, 2, 6, 9), 1, seed=3)
    check_not_contiguous_and_used_twice(KERNELS.pairwise_loss, reference, logits, affinity, masks)


def test_bitwise_the_same_every_time():
    logits, affinity, masks, _ = draw(2, (2, 2, 11, 40), 1, seed=4)
    check_bitwise_the_same_every_time(KERNELS.pairwise_loss, logits, affinity, masks)


def test_no_instances_launch_nothing(monkeypatch):
    no_launch(monkeypatch, MODULE, "pairwise_fwd_kernel")
    logits = torch.zeros(3, 0, 2, 4, 4, device=DEVICE, requires_grad=True)
    affinity = torch.zeros(1, 2, 4, 4, dtype=torch.int32, device=DEVICE)
    loss = KERNELS.pairwise_loss(logits, affinity, torch.zeros(0, 2, 4, 4, device=DEVICE))
    assert torch.equal(loss.cpu(), torch.zeros(3))
    loss.sum().backward()
    assert logits.grad.shape == logits.shape


def test_under_compile_and_autocast(monkeypatch):
    monkeypatch.undo()  # the compiler cannot trace poisoned tensors
    logits, affinity, masks, _ = draw(2, (1, 2, 5, 8), 1, seed=5)
    check_under_compile_and_autocast(KERNELS.pairwise_loss, logits, affinity, masks)


@settings(max_examples=10, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 9), st.integers(1, 41)),
    dilation=st.integers(1, 4),
    border=st.sampled_from(["zero", "clean"]),
    threshold=st.floats(0.05, 0.95),
    seed=st.integers(0, 9999),
)
def test_affinity_is_bit_for_bit_the_reference(shape, dilation, border, threshold, seed):
    B, T, h, w = shape
    lab = 3 * torch.randn(B, T, 3, h, w, generator=torch.Generator().manual_seed(seed))
    options = {"dilation": dilation, "threshold": threshold, "border": border}
    bits = KERNELS.colour_affinity(lab.to(DEVICE), **options)
    assert torch.equal(bits.cpu(), boxloss.colour_affinity(lab, backend="torch", **options))


def test_errors_name_what_does_not_fit():
    logits, affinity, masks, _ = draw(1, (2, 1, 4, 5), 2, seed=6)
    with pytest.raises(ValueError, match=r"do not fit mask_logits \[1, 2, 1, 4, 5\]"):
        KERNELS.pairwise_loss(logits, affinity[:1], masks[:1])
    with pytest.raises(ValueError, match=r"affinity torch.int32 \[2, 1, 4, 5\]"):
        KERNELS.pairwise_loss(logits, affinity, masks)  # two clips, no clip_index
    with pytest.raises(ValueError, match=r"lab is torch.float64 \[1, 1, 3, 4, 5\]"):
        KERNELS.colour_affinity(torch.zeros(1, 1, 3, 4, 5, dtype=torch.float64))
    with pytest.raises(ValueError, match="border is 'wrap'"):
        KERNELS.colour_affinity(torch.zeros(1, 1, 3, 4, 5), border="wrap")


@pytest.mark.skipif(DEVICE == "cpu", reason="more than 2^31 logits: 9 GB, on a GPU only")
def test_more_than_2_to_the_31_logits():
    h, w = 512, 1024
    N = 2**31 // (h * w) + 2
    logits = torch.zeros(1, N, 1, h, w, dtype=torch.bfloat16, device=DEVICE)
    logits[:, -1] = torch.randn(h, w, device=DEVICE)
    masks = torch.zeros(1, 1, h, w, device=DEVICE).expand(N, -1, -1, -1).to(torch.bfloat16)
    masks[-1] = 1
    affinity = torch.full((1, 1, h, w), 255, dtype=torch.int32, device=DEVICE)
    given = logits.requires_grad_()
    loss = KERNELS.pairwise_loss(given, affinity, masks)
    (h * w * loss.sum()).backward()
    last = logits[:, -1:].detach().double().cpu().requires_grad_()
    expected = boxloss.pairwise_loss(last, affinity.cpu(), torch.ones(1, 1, h, w), backend="torch")
    (h * w * expected.sum()).backward()
    assert_close(loss.double().cpu(), expected.detach(), **TOL["kernel float32"])
    assert_close(given.grad[:, -1:].double().cpu(), last.grad, **TOL["kernel bfloat16"])
    assert not given.grad[:, :-1].any()
