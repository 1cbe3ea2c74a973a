"""TKLoss: the published versions, every option, warm-up and resuming, batches, backends."""

import doctest
import importlib
import inspect
import types

import pytest
import torch
from conftest import oracle_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb import backend as backends
from maskfree_nb import tkloss
from maskfree_nb.errors import InputError
from maskfree_nb.tkloss import (
    TKLoss,
    disk_offsets,
    frame_pairs,
    grid_offsets,
    match_patches,
    rgb_to_lab,
    tube_consistency,
)


def clip(frames=3, height=24, width=32, batch=None, seed=0, step=1):
    """A picture that moves by `step` mask pixels a frame: uint8 [T, 3, H, W] or [B, T, 3, H, W]."""
    if batch is not None:
        return torch.stack([clip(frames, height, width, seed=seed + b, step=step) for b in range(batch)])
    picture = torch.randint(
        60, 120, (3, height // 4, width // 4), generator=torch.Generator().manual_seed(seed)
    )
    picture = picture.repeat_interleave(4, -1).repeat_interleave(4, -2).byte()
    return torch.stack([picture.roll(4 * step * t, -1) for t in range(frames)])


def masks(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_published_versions_differ_as_documented():
    paper, official, default = TKLoss.paper().options, TKLoss.official().options, TKLoss().options
    assert TKLoss.paper().offsets == TKLoss().offsets == disk_offsets(5)
    assert TKLoss.official().offsets == grid_offsets(1, 3)
    for options in (paper, official, default):
        assert (options["k"], options["threshold"], options["patch_size"]) == (5, 0.05, 3)
        assert options["tube"] == "cyclic"
    columns = ("channel_order", "border", "normaliser", "region", "warmup_calls", "weight")
    assert tuple(paper[name] for name in columns) == ("rgb", "clean", "pixels", "frame", 0, 1.0)
    assert tuple(official[name] for name in columns) == ("bgr", "zero", "matches", "boxes", 2000, 0.1)
    assert tuple(default[name] for name in columns) == ("rgb", "clean", "matches", "boxes", 0, 1.0)
    assert TKLoss.paper(radius=3).offsets == disk_offsets(3)
    assert TKLoss.official(tube="dense").options["tube"] == "dense"


def test_loss_is_its_four_steps():
    frames, logits = clip(4, step=3), masks(2, 3, 4, 6, 8)
    region = masks(3, 6, 8, seed=1) > 0
    loss = TKLoss.official(warmup_calls=0)
    lab = rgb_to_lab(frames, channel_order="bgr")
    matches = match_patches(lab, frame_pairs(4), grid_offsets(1, 3), border="zero")
    expected = 0.1 * tube_consistency(logits, matches.bits, matches.offsets, matches.frame_pairs, region).loss
    assert (expected > 0).all()
    assert torch.equal(loss.match(frames).bits, matches.bits)
    assert_close(loss(logits, loss.match(frames), region), expected, **TOL["exact"])


def test_paper_divides_by_the_pixels_of_the_frame():
    frames, logits = clip(3), masks(2, 3, 6, 8)
    loss = TKLoss.paper()
    matches = loss.match(frames)
    everywhere = torch.ones(2, 6, 8, dtype=torch.bool)
    parts = tube_consistency(logits[None], matches.bits, matches.offsets, matches.frame_pairs, everywhere)
    assert parts.pair_weight.min() > 0
    expected = (parts.pair_loss[0] * parts.pair_weight).sum() / (2 * 6 * 8)
    assert_close(loss(logits, matches), expected, **TOL["float32 sums"])


def test_one_layer_is_a_scalar_and_many_are_a_vector():
    frames, logits = clip(3), masks(4, 2, 3, 6, 8).requires_grad_()
    loss = TKLoss(region="frame")
    matches = loss.match(frames)
    together = loss(logits, matches)
    assert together.shape == (4,)
    apart = torch.stack([loss(layer, matches) for layer in logits])
    assert_close(together, apart, **TOL["exact"])
    together.sum().backward()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("frames", [2, 3, 5])
@pytest.mark.parametrize("tube", ["cyclic", "sequential", "dense"])
def test_any_tube_of_any_length(frames, tube):
    loss = TKLoss(region="frame", tube=tube, radius=2)
    logits = masks(1, frames, 5, 7).requires_grad_()
    matches = loss.match(clip(frames, 24, 32)[..., :20, :28])
    assert matches.bits.shape[1] == len(frame_pairs(frames, tube))
    loss(logits, matches).backward()
    assert logits.grad.flatten(2).abs().sum(2).gt(0).all()  # every frame takes part


@given(
    radius=st.integers(0, 3),
    window=st.sampled_from(["disk", "grid"]),
    dilation=st.integers(1, 4),
    k=st.integers(1, 30),
    threshold=st.sampled_from([0.0, 0.05, 0.9, 1.0]),
    patch_size=st.sampled_from([1, 3, 5, 7]),
    stride=st.sampled_from([1, 2, 4]),
    border=st.sampled_from(["clean", "zero"]),
    normaliser=st.sampled_from(["matches", "pixels"]),
    instances=st.integers(0, 2),
)
@settings(max_examples=25)
def test_any_options(radius, window, dilation, stride, instances, **options):
    dilation = dilation if window == "grid" else 1
    loss = TKLoss(radius=radius, window=window, dilation=dilation, stride=stride, region="frame", **options)
    logits = masks(instances, 2, 8 // stride, 12 // stride).requires_grad_()
    value = loss(logits, loss.match(clip(2, 8, 16)[..., :12]))
    value.backward()
    assert value >= 0 and torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


def test_a_batch_is_its_clips_side_by_side():
    frames, logits = clip(3, batch=2), masks(3, 3, 6, 8)
    loss = TKLoss(normaliser="pixels", region="frame")
    matches = loss.match(frames)
    clip_index = torch.tensor([0, 1, 1])
    together = loss(logits, matches, clip_index=clip_index)
    first, second = (loss(logits[clip_index == b], loss.match(frames[b])) for b in range(2))
    assert_close(together, (first + 2 * second) / 3, **TOL["float32 sums"])


def test_frames_may_be_bytes_or_floats():
    frames = clip(2)
    loss = TKLoss()
    assert torch.equal(loss.match(frames).bits, loss.match(frames.float()).bits)
    assert torch.equal(loss.match(frames).bits, loss.match_lab(loss.lab(frames)).bits)
    assert loss.match(frames, return_index=True).index is not None


def test_warm_up_counts_each_layer_as_a_call():
    frames, logits = clip(2, step=3), masks(3, 1, 2, 6, 8)
    plain = TKLoss.official(region="frame", warmup_calls=0)
    warming = TKLoss.official(region="frame", warmup_calls=8)
    matches = plain.match(frames)
    full = plain(logits, matches)
    assert (full > 0).all()
    for factors in ([1, 2, 3], [4, 5, 6], [7, 8, 8], [8, 8, 8]):
        assert_close(warming(logits, matches), full * torch.tensor(factors) / 8, **TOL["float32 sums"])
    assert warming.calls.item() == 12
    warming.eval()
    warming(logits, matches)
    assert warming.calls.item() == 12


def test_warm_up_survives_a_checkpoint():
    frames, logits = clip(2, step=3), masks(3, 1, 2, 6, 8)
    first, resumed = (TKLoss.official(region="frame") for _ in range(2))
    matches = first.match(frames)
    first(logits, matches)
    resumed.load_state_dict(first.state_dict())
    assert_close(resumed(logits, matches), first(logits, matches), **TOL["exact"])
    assert TKLoss().state_dict() == {}  # without a warm-up nothing need be kept


def test_the_loss_finds_a_moved_object():
    """Gradient descent on the loss alone carries a mask from frame 0 to where its pixels moved to."""
    colour = torch.full((2, 3, 32, 48), 60.0)
    texture = 60 + 150 * torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(1)).repeat_interleave(
        1, 1
    )
    colour[0, :, 10:22, 10:22] = colour[1, :, 13:25, 14:26] = texture
    loss = TKLoss(stride=1, quantise=False, region="frame", tube="sequential")
    matches = loss.match(colour)
    known = torch.full((32, 48), -8.0)
    known[10:22, 10:22] = 8.0
    free = torch.zeros(32, 48, requires_grad=True)
    for _ in range(20):
        loss(torch.stack([known, free])[None], matches).backward()
        free.data -= 8000 * free.grad
        free.grad = None
    assert (free[15:23, 16:24] > 0).all()  # inside the moved object
    assert (free[28:, :] < 0).all() and (free[:, 34:] < 0).all()  # the background


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(radius=-1), "TKLoss option radius is -1, expected an integer >= 0"),
        (dict(k=0), "option k is 0"),
        (dict(k=1.5), "option k is 1.5"),
        (dict(threshold=2), "option threshold is 2"),
        (dict(patch_size=4), "option patch_size is 4, expected an odd number"),
        (dict(stride=0), "option stride is 0"),
        (dict(window="square"), "option window is 'square', expected one of disk, grid"),
        (dict(dilation=3), "only window='grid' has a dilation"),
        (dict(channel_order="gbr"), "option channel_order is 'gbr'"),
        (dict(border="mirror"), "option border is 'mirror'"),
        (dict(normaliser="mean"), "option normaliser is 'mean'"),
        (dict(region="masks"), "option region is 'masks'"),
        (dict(tube="ring"), "option tube is 'ring'"),
        (dict(backend="cuda"), "option backend is 'cuda'"),
        (dict(weight=-1.0), "option weight is -1.0"),
        (dict(warmup_calls=-1), "option warmup_calls is -1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        TKLoss(**options)


def test_bad_input_is_named():
    loss = TKLoss()
    with pytest.raises(InputError, match="a tube of 1 frame has no frame pair; the TK-Loss needs T >= 2"):
        loss.match(clip(1))
    with pytest.raises(InputError, match=r"a clip has shape \[3, 6, 8\], expected \[T, 3, h, w\]"):
        loss.match(clip(2)[0])
    matches = loss.match(clip(2))
    with pytest.raises(InputError, match="region='boxes' needs `region`"):
        loss(masks(1, 2, 6, 8), matches)
    with pytest.raises(InputError, match="mask_logits on a 12x16 map"):
        loss(masks(1, 2, 12, 16), matches, torch.ones(1, 12, 16, dtype=torch.bool))


def test_options_are_shown_and_all_in_the_signature():
    options = inspect.signature(TKLoss).parameters
    assert list(TKLoss().options) == list(options)
    assert {name: parameter.default for name, parameter in options.items()} == TKLoss().options
    assert "radius=5, window='disk'" in repr(TKLoss())


def test_backend_reaches_every_step(monkeypatch):
    """With the Triton backend chosen, all three ops come from the kernels package."""
    called = []

    def recorded(name):
        def op(*args, **options):
            called.append(name)
            return getattr(tkloss, name)(*args, **options)

        return op

    names = ("rgb_to_lab", "knn_match", "tube_consistency")
    monkeypatch.setattr(backends, "resolve", lambda backend, tensor: backend)
    monkeypatch.setattr(backends, "kernels", lambda: types.SimpleNamespace(**{n: recorded(n) for n in names}))
    frames, logits = clip(2), masks(1, 2, 6, 8)
    ours, torch_only = TKLoss(region="frame", backend="triton"), TKLoss(region="frame", backend="torch")
    value = ours(logits, ours.match(frames))
    assert called == list(names)
    assert_close(value, torch_only(logits, torch_only.match(frames)), **TOL["exact"])
    assert called == list(names)


@pytest.mark.oracle
def test_golden_loss_from_frames_to_gradient():
    """The whole of TKLoss.official() on golden clips, where colour rounding cannot change a match."""
    import numpy as np

    checked = 0
    for path in sorted((oracle_folder() / "tk_loss").glob("*.npz")):
        golden = np.load(path)
        if "keep_stable" not in golden or (golden["ambiguous"].any(0) & golden["union"].any(0)).any():
            continue
        loss = TKLoss.official(warmup_calls=0)
        logits = torch.from_numpy(golden["logits"]).requires_grad_()
        matches = loss.match_lab(torch.from_numpy(golden["lab_official"]))
        value = loss(logits, matches, torch.from_numpy(golden["union"]).bool())
        value.backward()
        expected = torch.tensor(float(golden["loss_bound_neighbor"]))
        assert_close(value.detach(), expected, **TOL["oracle losses"])
        gradient = torch.from_numpy(golden["grad_bound_neighbor"])
        assert_close(logits.grad, gradient, **TOL["oracle gradients"])
        checked += 1
    assert checked


@pytest.mark.parametrize("name", ["candidates", "consistency", "lab", "loss", "matching", "tube"])
def test_documented_examples_run(name):
    module = importlib.import_module(f"maskfree_nb.tkloss.{name}")
    results = doctest.testmod(module)
    assert results.attempted > 0 and results.failed == 0


def test_frames_that_were_scaled_or_normalised_are_refused():
    frames = clip(3)
    whole = TKLoss().match(frames).bits
    assert torch.equal(TKLoss().match(frames.float()).bits, whole)
    for options in ({}, {"colour_space": "rgb"}):
        with pytest.raises(InputError, match=r"torch.float32 from .* to .*, expected 0\.\.255"):
            TKLoss(**options).match(frames / 255)
        with pytest.raises(InputError, match="before they are scaled or normalised"):
            TKLoss(**options).match((frames - 120.0) / 58.0)
    assert TKLoss().match(torch.zeros(2, 3, 16, 16)).count().min() > 0  # black is black in any range
