"""Consistency: the listed matches against the dense definition, gradients, batches, edges."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.errors import InputError
from maskfree_nb.tkloss import (
    consistency,
    disk_offsets,
    frame_pairs,
    grid_offsets,
    match_patches,
    pair_term,
    tube_consistency,
    tube_consistency_dense,
)


def random_tube(
    seed, layers=2, instances=3, frames=3, height=5, width=6, offsets=None, clips=1, tube="cyclic"
):
    """Arguments of `tube_consistency` with random matches, some of them outside the frame."""
    generator = torch.Generator().manual_seed(seed)
    offsets = offsets or disk_offsets(2)
    pairs = frame_pairs(frames, tube)
    lab = torch.rand(clips, frames, 3, height, width, generator=generator)
    lab = lab + 8 * (torch.rand(clips, frames, 1, height, width, generator=generator) > 0.7)
    matches = match_patches(lab, pairs, offsets, k=4, threshold=0.001, patch_size=1, border="zero")
    logits = 3 * torch.randn(
        layers, instances, frames, height, width, generator=generator, dtype=torch.float64
    )
    region = torch.rand(instances, height, width, generator=generator) > 0.4
    clip_index = torch.randint(0, clips, (instances,), generator=generator)
    return (logits, matches.bits, offsets, pairs, region), dict(clip_index=clip_index)


def run(function, arguments, options):
    logits = arguments[0].clone().requires_grad_()
    result = function(logits, *arguments[1:], **options)
    weights = torch.linspace(0.5, 2, len(result.loss), dtype=result.loss.dtype)
    (result.loss * weights).sum().backward()
    return result.loss.detach(), result.pair_loss, result.pair_weight, logits.grad


@given(
    seed=st.integers(0, 10**6),
    layers=st.integers(1, 3),
    instances=st.integers(0, 4),
    frames=st.integers(2, 4),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    offsets=st.sampled_from([disk_offsets(0), disk_offsets(1), grid_offsets(1, 3), disk_offsets(4)]),
    clips=st.integers(1, 3),
    tube=st.sampled_from(["cyclic", "sequential", "dense"]),
    normaliser=st.sampled_from(["matches", "pixels"]),
)
@settings(max_examples=60)
def test_listed_matches_equal_the_definition(
    seed, layers, instances, frames, height, width, offsets, clips, tube, normaliser
):
    arguments, options = random_tube(seed, layers, instances, frames, height, width, offsets, clips, tube)
    options["normaliser"] = normaliser
    for ours, definition in zip(
        run(tube_consistency, arguments, options),
        run(tube_consistency_dense, arguments, options),
        strict=True,
    ):
        assert_close(ours, definition, **TOL["float64"])


def test_many_pieces_equal_one(monkeypatch):
    arguments, options = random_tube(1)
    whole = run(tube_consistency, arguments, options)
    monkeypatch.setattr(consistency, "CHUNK", 14)  # 7 matches at a time
    for ours, expected in zip(run(tube_consistency, arguments, options), whole, strict=True):
        assert_close(ours, expected, **TOL["float64"])


def test_gradient_is_the_derivative():
    (logits, *rest), options = random_tube(2, instances=2, height=3, width=4)
    assert rest[0].any()
    assert torch.autograd.gradcheck(
        lambda x: tube_consistency(x, *rest, **options).loss, logits.requires_grad_(), raise_exception=True
    )


def test_only_the_loss_carries_a_gradient():
    (logits, *rest), options = random_tube(2)
    result = tube_consistency(logits.requires_grad_(), *rest, **options)
    assert result.loss.requires_grad
    assert not result.pair_loss.requires_grad and not result.pair_weight.requires_grad
    assert_close(result.pair_loss.sum(1), result.loss.detach(), **TOL["float64"])
    assert not tube_consistency(logits.detach(), *rest, **options).loss.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_computed_in_float32(dtype):
    (logits, *rest), options = random_tube(3)
    half = logits.to(dtype)
    loss, pair_loss, weight, gradient = run(tube_consistency, (half, *rest), options)
    expected = run(tube_consistency, (half.float(), *rest), options)
    assert loss.dtype == pair_loss.dtype == weight.dtype == torch.float32
    assert gradient.dtype == dtype
    assert_close(loss, expected[0], **TOL["exact"])
    assert_close(gradient, expected[3].to(dtype), **TOL["exact"])


def test_runs_are_bitwise_equal_on_two_threads():
    arguments, options = random_tube(4, layers=10, instances=4, height=40, width=40, offsets=disk_offsets(3))
    arguments = (arguments[0].float(), *arguments[1:])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, second = (run(tube_consistency, arguments, options) for _ in range(2))
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_a_second_backward_adds_the_same_gradient():
    (logits, *rest), options = random_tube(5)
    logits.requires_grad_()
    loss = tube_consistency(logits, *rest, **options).loss.sum()
    loss.backward(retain_graph=True)
    once = logits.grad.clone()
    loss.backward()
    assert_close(logits.grad, 2 * once, **TOL["float64"])


def test_agreement_costs_nothing_and_disagreement_its_margin():
    inside = torch.ones(1, 1, 2, 8, 8)
    lab = torch.zeros(2, 3, 8, 8)
    matches = match_patches(lab, [(0, 1)], ((0, 0),))
    region = torch.ones(1, 8, 8, dtype=torch.bool)
    shared = (matches.bits, matches.offsets, matches.frame_pairs, region)
    for agreed in (50 * inside, -50 * inside):
        assert_close(tube_consistency(agreed, *shared).loss, torch.zeros(1), **TOL["float64"])
    opposed = torch.stack([inside[:, :, 0], -inside[:, :, 1]], dim=2)
    wrong = tube_consistency(50 * opposed, *shared).loss
    assert_close(wrong, torch.tensor([50 - math.log(2)]), **TOL["float32 sums"])
    undecided = tube_consistency(0 * inside, *shared).loss
    assert_close(undecided, torch.tensor([math.log(2)]), **TOL["float32 sums"])


@given(x=st.floats(-200, 200), y=st.floats(-200, 200))
def test_pair_term_is_symmetric_and_never_negative(x, y):
    x, y = (
        torch.tensor([x, y], dtype=torch.float64).requires_grad_(),
        torch.tensor([y, x], dtype=torch.float64),
    )
    forth, back = pair_term(x, y)
    assert forth == back == pair_term(-x, -y)[0] or abs(forth - pair_term(-x, -y)[0]) < 1e-12
    assert forth >= -TOL["float64"]["atol"]
    forth.backward()
    assert torch.isfinite(x.grad).all()


def test_instances_of_two_clips_keep_to_their_clip():
    (logits, bits, offsets, pairs, region), options = random_tube(6, instances=4, clips=2)
    options["clip_index"] = clip = torch.tensor([1, 0, 1, 1])
    together = tube_consistency(logits, bits, offsets, pairs, region, clip_index=clip, normaliser="pixels")
    apart = [
        tube_consistency(logits[:, clip == c], bits[c : c + 1], offsets, pairs, region[clip == c])
        for c in range(2)
    ]
    assert torch.equal(together.pair_weight, apart[0].pair_weight + apart[1].pair_weight)
    sums = sum(part.pair_loss * part.pair_weight.clamp(min=1) for part in apart)
    area = 4 * region[0].numel()
    assert_close(together.pair_loss, sums / area, **TOL["float64"])


def test_no_instances():
    (logits, *rest), options = random_tube(7, instances=0)
    loss, pair_loss, weight, gradient = run(tube_consistency, (logits, *rest), options)
    assert loss.tolist() == [0, 0] and not pair_loss.any() and not weight.any()
    assert gradient.shape == logits.shape


def test_no_matches():
    (logits, bits, *rest), options = random_tube(8)
    loss, _, weight, gradient = run(tube_consistency, (logits, torch.zeros_like(bits), *rest), options)
    assert not loss.any() and not weight.any() and not gradient.any()


@pytest.mark.parametrize("function", [tube_consistency, tube_consistency_dense])
@pytest.mark.parametrize(
    "change, message",
    [
        (
            dict(mask_logits=torch.zeros(3, 3, 5, 6)),
            r"mask_logits has shape \[3, 3, 5, 6\], expected \[L, N, T,",
        ),
        (dict(mask_logits=torch.zeros(2, 3, 3, 5, 7)), r"bits have shape .*mask_logits on a 5x7 map"),
        (dict(mask_logits=torch.zeros(2, 3, 2, 5, 6)), r"do not fit mask_logits with T = 2 frames"),
        (dict(region=torch.zeros(2, 5, 6).bool()), r"expected torch.bool \[3, 5, 6\]"),
        (dict(region=torch.zeros(3, 5, 6)), r"region is torch.float32"),
        (dict(normaliser="mean"), "normaliser is 'mean', expected one of matches, pixels"),
        (dict(clip_index=None), "the matches hold 2 clips: clip_index must name the clip of each instance"),
        (dict(clip_index=torch.zeros(2).long()), r"clip_index has shape \[2\], expected \[3\]"),
    ],
)
def test_arguments_that_do_not_belong_together_are_named(function, change, message):
    arguments, options = random_tube(9, clips=2)
    names = ("mask_logits", "bits", "offsets", "frame_pairs", "region")
    given = {**dict(zip(names, arguments, strict=True)), **options, **change}
    with pytest.raises(InputError, match=message):
        function(**given)
