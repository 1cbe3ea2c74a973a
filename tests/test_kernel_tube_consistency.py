"""The kernels of the tube consistency, against the torch reference and the golden numbers."""

import importlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_checks import check_not_contiguous_and_used_twice, check_under_compile_and_autocast, golden_clips
from kernel_device import DEVICE, KERNELS, kernel_tolerance, no_launch, poison
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb import tkloss
from maskfree_nb.tkloss import disk_offsets, frame_pairs, grid_offsets

CLIPS = golden_clips("keep_stable")
SMALLEST = min(CLIPS, key=lambda path: np.load(path)["logits"].size)
DENSE_TUBES = golden_clips("keep_stable", "main_keep")
BATCHES = golden_clips("src_0")
VARIANTS = [(path, "") for path in CLIPS] + [(path, "main_") for path in DENSE_TUBES]
VARIANTS += [
    (path, prefix)
    for prefix in ("clean_", "paper_")
    for path in (CLIPS if DEVICE == "cuda" else [SMALLEST])  # the interpreter is slow
]
MODULES = [
    importlib.import_module(f"maskfree_kernels.{name}")
    for name in ("tube_consistency", "reverse_matches", "pair_sums")
]


@pytest.fixture(autouse=True)
def poisoned_outputs(monkeypatch):
    for module in MODULES:
        poison(monkeypatch, module)


def pack(keep):
    """bool [B, P, S, h, w] -> int32 [B, P, words, h, w]."""
    S = keep.shape[2]
    words = [keep[:, :, first : first + 32].long() for first in range(0, S, 32)]
    packed = [(word << torch.arange(word.shape[2])[:, None, None]).sum(2) for word in words]
    return torch.stack(packed, 2).to(torch.int32)  # keeps the lower 32 bits


def draw(layers, shape, clips, pairs, offsets, density, dtype=torch.float32, seed=0):
    """Logits [L, N, T, h, w] with some large ones, bits, a region and a clip for each instance."""
    generator = torch.Generator().manual_seed(seed)
    N, _, h, w = shape
    logits = (3 * torch.randn(layers, *shape, generator=generator)).pow(3).clamp(-90, 90).to(dtype)
    keep = torch.rand(clips, len(pairs), len(offsets), h, w, generator=generator) < density
    region = torch.rand(N, h, w, generator=generator) < 0.7
    clip_index = torch.randint(0, clips, (N,), generator=generator)
    return logits, pack(keep), region, clip_index


def run(logits, bits, offsets, pairs, region, **options):
    """The kernels' outputs, and the gradient of the layers' losses with one weight each."""
    given = logits.detach().to(DEVICE).requires_grad_()
    options = {name: v.to(DEVICE) if isinstance(v, torch.Tensor) else v for name, v in options.items()}
    outputs = KERNELS.tube_consistency(given, bits.to(DEVICE), offsets, pairs, region.to(DEVICE), **options)
    (outputs[0] * torch.linspace(-1, 2, len(logits), device=DEVICE)).sum().backward()
    return [output.detach().cpu() for output in outputs], given.grad.cpu()


def compare(logits, bits, offsets, pairs, region, **options):
    """Values and gradients of the kernels against the reference in float64."""
    exact = logits.double().requires_grad_()
    expected = tkloss.tube_consistency(exact, bits, offsets, pairs, region, **options)
    (expected.loss * torch.linspace(-1, 2, len(logits), dtype=torch.float64)).sum().backward()
    (loss, pair_loss, pair_weight), gradient = run(logits, bits, offsets, pairs, region, **options)
    assert loss.dtype == pair_loss.dtype == pair_weight.dtype == torch.float32
    assert gradient.dtype == logits.dtype
    assert torch.equal(pair_weight.double(), expected.pair_weight)
    assert_close(loss.double(), expected.loss.detach(), **TOL["kernel float32"])
    assert_close(pair_loss.double(), expected.pair_loss, **TOL["kernel float32"])
    assert_close(gradient.double(), exact.grad, **TOL[kernel_tolerance(logits.dtype)])


@pytest.mark.oracle
@pytest.mark.parametrize("path, prefix", VARIANTS, ids=[f"{path.stem}-{p}" for path, p in VARIANTS])
def test_golden(path, prefix):
    z = np.load(path)
    pairs = [tuple(pair) for pair in z["main_pairs" if prefix == "main_" else "pairs"].tolist()]
    offsets = tuple(map(tuple, z["paper_offsets" if prefix == "paper_" else "offsets"].tolist()))
    if prefix == "paper_":
        index = torch.from_numpy(z["paper_keep_idx"]).long()  # [P, K, h, w], 255 = none
        keep = torch.zeros(len(index), 256, *index.shape[2:], dtype=torch.bool).scatter_(1, index, True)
        loss_name, gradient_name = "paper_loss", "paper_grad"
    else:
        keep = torch.from_numpy(z[f"{prefix}keep"]).bool()
        loss_name, gradient_name = f"{prefix}loss_bound_neighbor", f"{prefix}grad_bound_neighbor"
    bits = pack(keep[None, :, : len(offsets)]).to(DEVICE)
    logits = torch.from_numpy(z["logits"]).to(DEVICE).requires_grad_()
    region = torch.from_numpy(z["union"]).bool().to(DEVICE)
    (loss,), pair_loss, pair_weight = KERNELS.tube_consistency(logits[None], bits, offsets, pairs, region)
    (0.1 * loss).backward()
    assert torch.equal(pair_weight.cpu().double(), torch.from_numpy(z[f"{prefix}pair_weight"]))
    assert_close(
        pair_loss[0].cpu().double(), torch.from_numpy(z[f"{prefix}pair_loss"]), **TOL["oracle losses"]
    )
    assert_close(0.1 * loss.item(), z[loss_name].item(), **TOL["oracle losses"])
    assert_close(logits.grad.cpu(), torch.from_numpy(z[gradient_name]), **TOL["oracle gradients"])


@pytest.mark.oracle
@pytest.mark.parametrize("path", BATCHES, ids=[p.stem for p in BATCHES])
def test_golden_batch_has_one_denominator(path):
    golden = {name: torch.from_numpy(array) for name, array in np.load(path).items()}
    clips = range(len(golden["pred_masks"]))
    boxes = torch.cat([golden[f"box_masks_full_{b}"][golden[f"tgt_{b}"]] for b in clips]).float()
    rows = (boxes[..., 1::4, :] + boxes[..., 2::4, :]) / 2  # the README's resize
    region = ((rows[..., 1::4] + rows[..., 2::4]) / 2).sum(1) >= 1
    clip_index = torch.cat([torch.full_like(golden[f"src_{b}"], b) for b in clips])
    pairs, offsets = frame_pairs(golden["pred_masks"].shape[2]), grid_offsets(1, 3)
    bits, _, _ = tkloss.knn_match(
        golden["lab_official"], pairs, offsets, k=5, max_distance=5.99146, border="zero"
    )
    predictions = golden["pred_masks"].to(DEVICE).requires_grad_()
    logits = torch.cat([predictions[b, golden[f"src_{b}"].to(DEVICE)] for b in clips])
    options = {"clip_index": clip_index.to(DEVICE)}
    loss, _, pair_weight = KERNELS.tube_consistency(
        logits[None], bits.to(DEVICE), offsets, pairs, region.to(DEVICE), **options
    )
    if not torch.equal(pair_weight.cpu().double(), golden["pair_weight"]):
        pytest.skip("rounding changed the golden keep set inside the region")
    (0.1 * loss).sum().backward()
    assert_close(0.1 * loss.item(), golden["loss_bound_neighbor"].item(), **TOL["oracle losses"])
    assert_close(predictions.grad.cpu(), golden["grad_bound_neighbor"], **TOL["oracle gradients"])


@settings(max_examples=9, deadline=None)
@given(
    layers=st.integers(1, 3),
    shape=st.tuples(st.integers(1, 2), st.integers(2, 3), st.integers(1, 7), st.integers(1, 37)),
    clips=st.integers(1, 2),
    tube=st.sampled_from(["cyclic", "sequential", "dense"]),
    offsets=st.sampled_from([grid_offsets(1, 3), disk_offsets(1), disk_offsets(5)]),
    density=st.sampled_from([0.0, 0.02, 0.3]),
    normaliser=st.sampled_from(["matches", "pixels"]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 9999),
)
def test_equals_the_reference(layers, shape, clips, tube, offsets, density, normaliser, dtype, seed):
    pairs = frame_pairs(shape[1], tube)
    if len(offsets) > 9:
        density /= 9
    logits, bits, region, clip_index = draw(layers, shape, clips, pairs, offsets, density, dtype, seed)
    compare(logits, bits, offsets, pairs, region, clip_index=clip_index, normaliser=normaliser)


def test_several_blocks_and_layer_groups():
    pairs, offsets = [(0, 1), (1, 0)], grid_offsets(1, 3)
    logits, bits, region, _ = draw(6, (1, 2, 23, 27), 1, pairs, offsets, density=0.1, seed=1)
    compare(logits, bits, offsets, pairs, region)


def test_programs_of_several_instances(monkeypatch):
    monkeypatch.setattr(MODULES[0], "PROGRAMS", 1)
    pairs, offsets = frame_pairs(2), disk_offsets(1)
    logits, bits, region, clip_index = draw(1, (5, 2, 4, 7), 2, pairs, offsets, density=0.2, seed=9)
    compare(logits, bits, offsets, pairs, region, clip_index=clip_index)


def test_more_matches_than_a_logarithm_takes():
    pairs, offsets = [(1, 0)], disk_offsets(4)
    logits, bits, region, _ = draw(1, (1, 2, 5, 6), 1, pairs, offsets, density=1.1, seed=2)
    compare(logits, bits, offsets, pairs, region)


def test_extreme_logits_stay_finite():
    x = torch.tensor([-1e4, -100.0, -0.0, 100.0, 1e4])
    logits = torch.stack([x[:, None].expand(5, 5), x.expand(5, 5)])[None, None]  # every pair of values
    bits = torch.ones(1, 1, 1, 5, 5, dtype=torch.int32)
    compare(logits, bits, ((0, 0),), [(0, 1)], torch.ones(1, 5, 5, dtype=torch.bool))


def test_float16_gradient_survives_until_the_loss_scaler():
    logits = torch.full((1, 1, 2, 4, 5), -17.0, dtype=torch.float16)  # slopes of 4e-8: nothing in float16
    bits, region = torch.ones(1, 1, 1, 4, 5, dtype=torch.int32), torch.ones(1, 4, 5, dtype=torch.bool)
    arguments = (((0, 0),), [(0, 1)])
    given = logits.clone().to(DEVICE).requires_grad_()
    (2.0**16 * KERNELS.tube_consistency(given, bits.to(DEVICE), *arguments, region.to(DEVICE))[0]).backward()
    exact = logits.double().requires_grad_()
    (2.0**16 * tkloss.tube_consistency(exact, bits, *arguments, region).loss).backward()
    assert exact.grad.abs().min() > 1e-5
    assert_close(given.grad.cpu().double(), exact.grad, **TOL["kernel float16"])


def test_frame_of_no_pair_has_no_gradient():
    pairs, offsets = [(0, 2)], disk_offsets(1)
    logits, bits, region, _ = draw(2, (2, 3, 4, 5), 1, pairs, offsets, density=0.5, seed=3)
    _, gradient = run(logits, bits, offsets, pairs, region)
    assert gradient[:, :, 0].any() and gradient[:, :, 2].any()
    assert not gradient[:, :, 1].any()


def test_not_contiguous_and_used_twice():
    pairs, offsets = [(0, 1), (1, 0)], disk_offsets(1)
    logits, bits, region, _ = draw(2, (2, 2, 6, 9), 1, pairs, offsets, density=0.3, seed=4)
    kernel, reference = (
        lambda logits, bits, region, op=op: op(logits, bits, offsets, pairs, region)[0]
        for op in (KERNELS.tube_consistency, tkloss.tube_consistency)
    )
    check_not_contiguous_and_used_twice(kernel, reference, logits, bits, region)


def test_bitwise_the_same_every_time():
    pairs, offsets = frame_pairs(3), grid_offsets(1, 3)
    shape = (1, 3, 11, 50) if DEVICE == "cpu" else (3, 3, 96, 160)
    drawn = draw(2, shape, 1, pairs, offsets, density=0.2, seed=5)
    (outputs, gradient), (again, gradient_again) = (run(*drawn[:2], offsets, pairs, drawn[2]) for _ in "12")
    assert all(torch.equal(a, b) for a, b in zip(outputs, again, strict=True))
    assert torch.equal(gradient, gradient_again)


def test_without_gradient_the_same_loss():
    pairs, offsets = [(0, 1), (1, 0)], disk_offsets(1)
    logits, bits, region, _ = draw(2, (1, 2, 5, 8), 1, pairs, offsets, density=0.3, seed=6)
    arguments = [tensor.to(DEVICE) for tensor in (logits, bits, region)]
    outputs = KERNELS.tube_consistency(*arguments[:2], offsets, pairs, arguments[2])
    expected, _ = run(logits, bits, offsets, pairs, region)
    assert not outputs[0].requires_grad
    assert all(torch.equal(a.cpu(), b) for a, b in zip(outputs, expected, strict=True))


def test_no_instances_launch_nothing(monkeypatch):
    no_launch(monkeypatch, MODULES[0], "tube_consistency_fwd_kernel", "reverse_matches", "pair_sums")
    logits = torch.zeros(3, 0, 2, 4, 5, dtype=torch.bfloat16)
    bits, region = torch.ones(1, 2, 1, 4, 5, dtype=torch.int32), torch.ones(0, 4, 5, dtype=torch.bool)
    outputs, gradient = run(logits, bits, disk_offsets(1), [(0, 1), (1, 0)], region)
    assert [output.shape for output in outputs] == [(3,), (3, 2), (2,)]
    assert not any(output.any() for output in outputs)
    assert gradient.shape == logits.shape


def test_under_compile_and_autocast():
    pairs, offsets = [(0, 1), (1, 0)], disk_offsets(1)
    logits, bits, region, _ = draw(2, (1, 2, 5, 8), 1, pairs, offsets, density=0.3, seed=7)

    def kernel(logits, bits, region):
        return KERNELS.tube_consistency(logits, bits, offsets, pairs, region)[0]

    check_under_compile_and_autocast(kernel, logits, bits, region)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"mask_logits": torch.zeros(1, 1, 2, 4, 4, dtype=torch.float64)}, "float64 use backend='torch'"),
        ({"mask_logits": torch.zeros(1, 2, 4, 4)}, r"mask_logits are torch.float32 \[1, 2, 4, 4\]"),
        ({"offsets": disk_offsets(5)}, "81 offsets"),
        ({"frame_pairs": [(0, 2)]}, r"frame_pairs \[\(0, 2\)\]"),
        ({"region": torch.ones(1, 4, 4)}, r"region torch.float32 \[1, 4, 4\]"),
        ({"bits": torch.zeros(2, 1, 1, 4, 4, dtype=torch.int32)}, r"bits \[2, 1, 1, 4, 4\]"),
        ({"normaliser": "sum"}, "normaliser is 'sum'"),
    ],
)
def test_wrong_arguments(changes, message):
    arguments = {
        "mask_logits": torch.zeros(1, 1, 2, 4, 4),
        "bits": torch.zeros(1, 1, 1, 4, 4, dtype=torch.int32),
        "offsets": disk_offsets(1),
        "frame_pairs": [(0, 1)],
        "region": torch.ones(1, 4, 4, dtype=torch.bool),
    }
    with pytest.raises(ValueError, match=message):
        KERNELS.tube_consistency(**(arguments | changes))


@pytest.mark.skipif(DEVICE == "cpu", reason="more than 2^31 logits: 9 GB, on a GPU only")
def test_more_than_2_to_the_31_logits():
    h, w = 512, 1024
    N = 2**30 // (h * w) + 2
    pairs, offsets = [(0, 1), (1, 0)], grid_offsets(1, 3)
    logits = torch.zeros(1, N, 2, h, w, dtype=torch.bfloat16, device=DEVICE)
    last, bits, _, _ = draw(1, (1, 2, h, w), 1, pairs, offsets, density=0.05, seed=8)
    last = last.to(torch.bfloat16)
    logits[:, -1:] = last.to(DEVICE)
    region = torch.zeros(N, h, w, dtype=torch.bool, device=DEVICE)
    region[-1] = True
    given = logits.requires_grad_()
    loss, _, _ = KERNELS.tube_consistency(given, bits.to(DEVICE), offsets, pairs, region)
    (1e6 * loss).sum().backward()  # slopes well above the tolerance
    exact = last.double().requires_grad_()
    expected = tkloss.tube_consistency(exact, bits, offsets, pairs, region[-1:].cpu()).loss
    (1e6 * expected).sum().backward()
    assert_close(loss.double().cpu(), expected.detach(), **TOL["kernel float32"])
    assert_close(given.grad[:, -1:].double().cpu(), exact.grad, **TOL["kernel bfloat16"])
    assert not given.grad[:, :-1].any()
