"""Box masks, projection and pairwise: the golden numbers, gradients, and the properties that define them."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import oracle_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import TOL
from torch.nn.functional import interpolate
from torch.testing import assert_close

from maskfree_nb.boxloss import box_masks, colour_affinity, pairwise_loss, projection_loss, union_region
from maskfree_nb.errors import InputError

ORACLE = oracle_folder() / "tk_loss"
CLIPS = sorted(p for p in ORACLE.glob("*.npz") if "keep_sp" in np.load(p).files)
BATCHES = sorted(p for p in ORACLE.glob("*.npz") if "src_0" in np.load(p).files)
BOXES = sorted(p for p in ORACLE.glob("*.npz") if {"box_masks", "box_masks_full"} <= set(np.load(p).files))


def names(paths):
    return [p.stem for p in paths]


def pack(keep):
    """uint8 [T, 8, h, w] -> int32 bits [1, T, h, w]."""
    bits = torch.from_numpy(keep).int() << torch.arange(8, dtype=torch.int32)[:, None, None]
    return bits.sum(1, dtype=torch.int32)[None]


def value_and_gradient(function, logits, *args, **options):
    """Loss of one layer and its gradient, for logits [N, T, h, w]."""
    logits = logits.clone().requires_grad_()
    (loss,) = function(logits[None], *args, **options)
    loss.backward()
    return loss.detach(), logits.grad


def boxes_of(masks):
    """uint8 [N, T, H, W] filled boxes -> float [N, T, 4], NaN where empty."""
    boxes = np.full((*masks.shape[:2], 4), np.nan, dtype=np.float32)
    for n, t in np.argwhere(masks.any((2, 3))):
        y, x = masks[n, t].nonzero()
        boxes[n, t] = x.min(), y.min(), x.max() + 1, y.max() + 1
    return torch.from_numpy(boxes)


@pytest.mark.oracle
@pytest.mark.parametrize("path", BOXES, ids=names(BOXES))
def test_box_masks_golden(path):
    z = np.load(path)
    full = z["box_masks_full"]
    boxes = torch.from_numpy(z["boxes"]) if "boxes" in z else boxes_of(full)
    masks = box_masks(boxes, full.shape[-2:])
    assert_close(masks, torch.from_numpy(z["box_masks"]), rtol=0, atol=0)
    if "union" in z:
        assert torch.equal(union_region(masks), torch.from_numpy(z["union"]).bool())


@pytest.mark.oracle
@pytest.mark.parametrize("path", CLIPS, ids=names(CLIPS))
@pytest.mark.parametrize("prefix, lab", [("", "official"), ("clean_", "official"), ("cleanrgb_", "rgb")])
def test_colour_affinity_golden(path, prefix, lab):
    z = np.load(path)
    border = "clean" if prefix else "zero"
    lab = torch.from_numpy(z[f"lab_{lab}"])[None]
    margin = 2 * TOL["oracle similarities"]["atol"]  # the README's `ambiguous_sp`
    more, fewer = (colour_affinity(lab, border=border, threshold=0.3 + m) for m in (-margin, margin))
    differs = colour_affinity(lab, border=border) ^ pack(z[f"{prefix}keep_sp"])
    assert not (differs & ~(more ^ fewer)).any()


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("path", CLIPS, ids=names(CLIPS))
@pytest.mark.parametrize("prefix", ["", "clean_", "cleanrgb_"])
def test_pairwise_golden(path, prefix, dtype):
    z = np.load(path)
    masks = torch.from_numpy(z["box_masks"])
    affinity = pack(z[f"{prefix}keep_sp"])
    loss, gradient = value_and_gradient(
        pairwise_loss, torch.from_numpy(z["logits"]).to(dtype), affinity, masks
    )
    assert_close(loss.item(), z[f"{prefix}loss_bound"].item(), **TOL["oracle losses"])
    if f"{prefix}grad_bound" in z:
        assert_close(gradient.float(), torch.from_numpy(z[f"{prefix}grad_bound"]), **TOL["oracle gradients"])


@pytest.mark.oracle
@pytest.mark.parametrize("path", CLIPS, ids=names(CLIPS))
def test_projection_golden(path):
    z = np.load(path)
    masks = torch.from_numpy(z["box_masks"])
    loss, gradient = value_and_gradient(projection_loss, torch.from_numpy(z["logits"]), masks)
    assert_close(loss.item(), z["loss_mask"].item(), **TOL["oracle losses"])
    assert_close(gradient, torch.from_numpy(z["grad_mask"]), **TOL["oracle gradients"])


@pytest.mark.oracle
@pytest.mark.parametrize("path", BATCHES, ids=names(BATCHES))
def test_batch_golden(path):
    """Instances of several clips share one denominator."""
    z = np.load(path)
    clips = range(len(z["frames"]))
    pred = torch.from_numpy(z["pred_masks"]).requires_grad_()
    logits = torch.cat([pred[b, z[f"src_{b}"]] for b in clips])[None]
    full = [z[f"box_masks_full_{b}"] for b in clips]
    order = [z[f"tgt_{b}"] for b in clips]
    masks = torch.cat([box_masks(boxes_of(full[b][order[b]]), full[b].shape[-2:]) for b in clips])
    clip_index = torch.tensor([b for b in clips for _ in order[b]])
    affinity = colour_affinity(torch.from_numpy(z["lab_official"]))

    for name, loss in (
        ("mask", projection_loss(logits, masks)),
        ("bound", pairwise_loss(logits, affinity, masks, clip_index=clip_index)),
    ):
        (gradient,) = torch.autograd.grad(loss.sum(), pred, retain_graph=True)
        assert_close(loss.item(), z[f"loss_{name}"].item(), **TOL["oracle losses"])
        assert_close(gradient, torch.from_numpy(z[f"grad_{name}"]), **TOL["oracle gradients"])


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_box_masks_are_the_resized_filled_box(stride):
    height, width = 8 * stride, 11 * stride
    boxes = torch.tensor([[[1.0, 2.0, 9.0, 7.0], [0.0, 0.0, width, height], [3.0, 4.0, 3.0, 9.0]]])
    filled = torch.zeros(1, 3, height, width)
    for t, (x1, y1, x2, y2) in enumerate(boxes[0].int().tolist()):
        filled[0, t, y1:y2, x1:x2] = 1
    expected = interpolate(filled, (8, 11), mode="bilinear")
    assert_close(box_masks(boxes, (height, width), stride), expected)


def test_box_masks_fractional_absent_and_outside():
    boxes = torch.tensor([[[0.25, 0.0, 1.0, 0.5], [math.nan] * 4, [-9.0, -9.0, 99.0, 99.0]]])
    masks = box_masks(boxes, (2, 3), stride=1)
    assert_close(masks[0, 0], torch.tensor([[0.375, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert (masks[0, 1] == 0).all() and (masks[0, 2] == 1).all()
    assert box_masks(torch.zeros(0, 3, 4), (4, 8)).shape == (0, 3, 1, 2)


def test_projection_of_the_box_itself_is_zero_and_absent_is_two():
    masks = torch.zeros(2, 1, 6, 7)
    masks[0, 0, 2:5, 1:4] = 1
    loss, gradient = value_and_gradient(projection_loss, (200 * masks - 100).double(), masks)
    assert_close(loss.item(), (0 + 2) / 2, rtol=0, atol=1e-5)
    assert (gradient[1] == 0).all()


def test_projection_gradient_goes_to_one_pixel_of_each_row_and_column():
    logits = torch.zeros(1, 1, 3, 4)  # all equal: the first of each row and column takes it
    _, gradient = value_and_gradient(projection_loss, logits, torch.ones(1, 1, 3, 4))
    expected = torch.zeros(3, 4, dtype=torch.bool)
    expected[:, 0] = expected[0, :] = True
    assert torch.equal(gradient[0, 0] != 0, expected)


def test_pairwise_neighbour_outside_counts_in_the_denominator_alone():
    logits, masks = torch.tensor([[[[3.0, -1.0]]]]), torch.full((1, 1, 1, 2), 2.0)
    inside = pairwise_loss(logits[None], torch.tensor([[[[16, 8]]]], dtype=torch.int32), masks, dilation=1)
    both = pairwise_loss(logits[None], torch.tensor([[[[16, 8 + 2]]]], dtype=torch.int32), masks, dilation=1)
    assert_close(both, inside * 4 / 6)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*[st.integers(0, 3), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)]),
    dilation=st.integers(1, 4),
    clips=st.integers(1, 2),
    seed=st.integers(0, 9999),
)
def test_pairwise_equals_its_definition(shape, dilation, clips, seed):
    """A loop over neighbours in float64, and its gradient by autograd, for any bits, symmetric or not."""
    generator = torch.Generator().manual_seed(seed)
    n, t, h, w = shape
    logits = torch.randn(2, *shape, generator=generator, dtype=torch.float64, requires_grad=True)
    masks = torch.rand(shape, generator=generator, dtype=torch.float64)
    affinity = torch.randint(0, 256, (clips, t, h, w), generator=generator, dtype=torch.int32)
    clip_index = torch.randint(0, clips, (n,), generator=generator)

    p = logits.sigmoid()
    numerator, denominator = logits.new_zeros(2), logits.new_zeros(())
    steps = [
        (dy, dx) for dy in (-dilation, 0, dilation) for dx in (-dilation, 0, dilation) if (dy, dx) != (0, 0)
    ]
    for k, (dy, dx) in enumerate(steps):
        weight = (affinity[clip_index] >> k & 1) * masks
        denominator += weight.sum()
        for y in range(max(0, -dy), min(h, h - dy)):
            for x in range(max(0, -dx), min(w, w - dx)):
                a, b = p[..., y, x], p[..., y + dy, x + dx]
                numerator = numerator - (weight[..., y, x] * (a * b + (1 - a) * (1 - b)).log()).sum((1, 2))
    expected = numerator / denominator.clamp(min=1)
    loss = pairwise_loss(logits, affinity, masks, dilation=dilation, clip_index=clip_index)
    assert_close(loss, expected)
    layer_weights = torch.tensor([1.0, -3.0], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(loss, logits, layer_weights)
    if numerator.requires_grad:
        assert_close(gradient, torch.autograd.grad(expected, logits, layer_weights)[0])
    else:
        assert (gradient == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_halves_are_computed_in_float32(dtype):
    generator = torch.Generator().manual_seed(3)
    logits = (4 * torch.randn(2, 3, 2, 5, 6, generator=generator)).to(dtype)
    masks = torch.rand(3, 2, 5, 6, generator=generator)
    affinity = torch.randint(0, 256, (1, 2, 5, 6), generator=generator, dtype=torch.int32)
    for function, args in ((projection_loss, (masks,)), (pairwise_loss, (affinity, masks))):
        given = logits.clone().requires_grad_()
        exact = logits.double().requires_grad_()
        loss, expected = function(given, *args), function(exact, *args)
        assert loss.dtype == torch.float32
        assert_close(loss, expected.float())
        loss.sum().backward()
        expected.sum().backward()
        assert given.grad.dtype == dtype
        assert_close(given.grad, exact.grad.to(dtype))


@pytest.mark.parametrize("function", [projection_loss, pairwise_loss])
def test_no_instances_give_zeros_that_backpropagate(function):
    logits = torch.zeros(3, 0, 2, 4, 4, requires_grad=True)
    affinity = (torch.zeros(1, 2, 4, 4, dtype=torch.int32),) if function is pairwise_loss else ()
    loss = function(logits, *affinity, torch.zeros(0, 2, 4, 4))
    assert torch.equal(loss, torch.zeros(3))
    loss.sum().backward()
    assert logits.grad.shape == logits.shape


def test_interpreter_asked_for_too_late_is_a_clear_error():
    """Triton decides at its own import whether it interprets; a compiled model may have imported it."""
    program = (
        "import triton, torch\n"
        "from maskfree_nb.boxloss import projection_loss\n"
        "projection_loss(torch.zeros(1, 1, 1, 2, 2), torch.zeros(1, 1, 2, 2), backend='triton')\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert "InputError" in result.stderr
    assert "set TRITON_INTERPRET=1 before starting Python" in result.stderr


def test_errors_name_what_was_given():
    logits, masks = torch.zeros(1, 2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    bits = torch.zeros(2, 3, 4, 4, dtype=torch.int32)
    with pytest.raises(InputError, match=r"boxes has shape \[2, 4\]"):
        box_masks(torch.zeros(2, 4), (8, 8))
    with pytest.raises(InputError, match="10 x 8"):
        box_masks(torch.zeros(1, 1, 4), (10, 8))
    with pytest.raises(InputError, match=r"box_masks \[1, 3, 4, 4\]"):
        projection_loss(logits, masks[:1])
    with pytest.raises(InputError, match=r"box_masks \[1, 3, 4, 4\]"):
        pairwise_loss(logits, bits, masks[:1])
    with pytest.raises(InputError, match="affinity has shape"):
        pairwise_loss(logits, bits[:, :2], masks)
    with pytest.raises(InputError, match="2 clips"):
        pairwise_loss(logits, bits, masks)
    with pytest.raises(InputError, match="border is 'wrap'"):
        colour_affinity(torch.zeros(1, 1, 3, 4, 4), border="wrap")
