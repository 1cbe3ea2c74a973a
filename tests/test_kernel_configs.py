"""The launch configurations of a GPU, which the interpreter does not take by itself, on small inputs."""

import importlib

import pytest
import torch
from kernel_device import DEVICE, KERNELS, poison
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb import boxloss, tkloss
from maskfree_nb.model.config import PRESETS
from maskfree_nb.model.ms_deform_attn import ms_deform_attn
from maskfree_nb.tkloss import disk_offsets, frame_pairs, grid_offsets

KNN, TUBE, PAIR_SUMS, REVERSE = (
    importlib.import_module(f"maskfree_kernels.{name}")
    for name in ("knn_match", "tube_consistency", "pair_sums", "reverse_matches")
)


@pytest.fixture
def draw():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def like_a_gpu(monkeypatch):
    """Let a module choose as it does for a GPU, and start its empty tensors as NaN."""

    def patch(module):
        monkeypatch.setattr(module, "INTERPRETED", False)
        poison(monkeypatch, module)

    return patch


@pytest.mark.parametrize(
    "name, pixels, options",
    [
        ("few pixels", 1 << 20, {"k": 5, "max_distance": 6.0}),
        ("few pixels", 1 << 30, {"k": 8, "max_distance": 6.0, "border": "zero"}),
        ("many pixels", (1 << 20) + 1, {"k": 5, "max_distance": 6.0}),
        ("many pixels", 1 << 30, {"k": 5, "max_distance": 6.0, "border": "zero"}),
        ("long lists", 1, {"k": 16, "max_distance": 20.0, "patch_size": 5}),
    ],
)
def test_knn_match(monkeypatch, like_a_gpu, draw, name, pixels, options):
    like_a_gpu(KNN)
    chosen = KNN.config(pixels, options["k"])
    assert chosen == KNN.CONFIGS[name]
    monkeypatch.setattr(KNN, "config", lambda *_: chosen)
    lab = torch.randint(0, 4, (2, 2, 3, 5, 33), generator=draw).float()
    lab[..., :2, :16] = 1.5
    pairs, offsets = [(1, 0)], disk_offsets(3)
    expected = tkloss.knn_match(lab, pairs, offsets, return_index=True, **options)
    bits, index, distance = KERNELS.knn_match(lab.to(DEVICE), pairs, offsets, return_index=True, **options)
    assert torch.equal(bits.cpu(), expected[0])
    assert torch.equal(index.cpu(), expected[1])
    assert_close(distance.cpu(), expected[2], **TOL["patch distance"])


@pytest.fixture
def tube(monkeypatch, like_a_gpu, draw):
    """Compare the kernels with the reference in float64, for as many layers."""
    like_a_gpu(TUBE)
    for module in (PAIR_SUMS, REVERSE):
        poison(monkeypatch, module)

    def compare(layers):
        frames, size = 3, (5, 9)
        pairs, offsets = frame_pairs(frames), grid_offsets(1, 3)
        logits = 3 * torch.randn(layers, 2, frames, *size, generator=draw)
        lab = torch.randint(0, 3, (1, frames, 3, *size), generator=draw).float()
        bits = tkloss.knn_match(lab, pairs, offsets, k=5, max_distance=6.0)[0]
        region = torch.rand(2, *size, generator=draw) < 0.7
        weights = torch.linspace(-1, 2, layers, dtype=torch.float64)
        exact = logits.double().requires_grad_()
        expected = tkloss.tube_consistency(exact, bits, offsets, pairs, region)
        (expected.loss * weights).sum().backward()
        given = logits.to(DEVICE).requires_grad_()
        outputs = KERNELS.tube_consistency(given, bits.to(DEVICE), offsets, pairs, region.to(DEVICE))
        (outputs[0] * weights.to(DEVICE)).sum().backward()
        for output, wanted in zip(outputs, expected, strict=True):
            assert_close(output.detach().double().cpu(), wanted.detach(), **TOL["kernel float32"])
        assert_close(given.grad.double().cpu(), exact.grad, **TOL["kernel float32"])

    return compare


@pytest.mark.parametrize("layers", [5, 10, 7, 4])
def test_tube_consistency(tube, layers):
    assert TUBE.config(10) == TUBE.CONFIGS[5]
    tube(layers)


@pytest.mark.parametrize("layers", range(1, 24))
def test_every_layer_is_in_one_launch(layers):
    parts = TUBE.launches(layers)
    assert [n for part in parts for n in range(part.start, part.stop)] == list(range(layers))
    assert len(parts) <= 2


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_does_its_layers_one_by_one(preset):
    parts = TUBE.launches(PRESETS[preset].decoder_layers + 1)
    assert all(TUBE.config(part.stop - part.start)["LAYERS"] > 1 for part in parts)


def test_a_program_for_each_layer_and_pair(monkeypatch, draw):
    grids = []

    class Recorder:
        def __getitem__(self, grid):
            grids.append(grid)
            return kernel[grid]

    kernel = PAIR_SUMS.pair_sums_kernel
    monkeypatch.setattr(PAIR_SUMS, "pair_sums_kernel", Recorder())
    poison(monkeypatch, PAIR_SUMS)
    parts = torch.rand(3, 4, 5000, generator=draw).to(DEVICE)
    counts = torch.randint(0, 9, (4, 6), generator=draw, dtype=torch.int32).to(DEVICE)
    counts[2] = 0
    for per_match in (True, False):
        loss, pair_loss, weights = PAIR_SUMS.pair_sums(parts, counts, 77.0, per_match)
        divisor = counts.sum(1).clamp(min=1) if per_match else 77.0
        assert_close(pair_loss.double(), parts.double().sum(2) / divisor, **TOL["kernel float32"])
        assert_close(loss.double(), pair_loss.double().sum(1), **TOL["kernel float32"])
        assert torch.equal(weights, counts.sum(1).float())
    assert grids == [(12,), (12,)]


def test_rgb_to_lab(like_a_gpu, draw):
    like_a_gpu(importlib.import_module("maskfree_kernels.rgb_to_lab"))
    for stride, size in ((4, (20, 36)), (3, (10, 13))):
        frames = torch.randint(0, 256, (2, 3, *size), generator=draw, dtype=torch.uint8)
        lab = KERNELS.rgb_to_lab(frames.to(DEVICE), stride)
        assert_close(lab.cpu(), tkloss.rgb_to_lab(frames, stride), **TOL["oracle Lab"])


def test_colour_affinity_and_pairwise(like_a_gpu, draw):
    for name in ("colour_affinity", "pairwise"):
        like_a_gpu(importlib.import_module(f"maskfree_kernels.{name}"))
    lab = 3 * torch.randn(1, 2, 3, 17, 19, generator=draw)
    affinity = KERNELS.colour_affinity(lab.to(DEVICE))
    assert torch.equal(affinity.cpu(), boxloss.colour_affinity(lab, backend="torch"))
    logits = 3 * torch.randn(7, 2, 2, 17, 19, generator=draw)
    masks = (torch.rand(2, 2, 17, 19, generator=draw) < 0.5).float()
    loss = KERNELS.pairwise_loss(logits.to(DEVICE), affinity, masks.to(DEVICE))
    expected = boxloss.pairwise_loss(logits.double(), affinity.cpu(), masks.double(), backend="torch")
    assert_close(loss.double().cpu(), expected, **TOL["kernel float32"])


def test_deformable_attention(like_a_gpu, draw):
    like_a_gpu(importlib.import_module("maskfree_kernels.ms_deform_attn"))
    shapes = [(3, 4), (2, 2)]
    value = torch.randn(1, 16, 2, 8, generator=draw)
    locations = torch.rand(1, 21, 2, 2, 3, 2, generator=draw)
    weights = torch.rand(1, 21, 2, 2, 3, generator=draw)
    inputs = [tensor.to(DEVICE).requires_grad_() for tensor in (value, locations, weights)]
    exact = [tensor.double().requires_grad_() for tensor in (value, locations, weights)]
    out = KERNELS.ms_deform_attn(inputs[0], shapes, *inputs[1:])
    wanted = ms_deform_attn(exact[0], shapes, *exact[1:])
    assert_close(out.double().cpu(), wanted, **TOL["kernel float32"])
    gradients = torch.autograd.grad(out.sum(), inputs), torch.autograd.grad(wanted.sum(), exact)
    for name, a, b in zip(("value", "locations", "weights"), *gradients, strict=True):
        scale = b.abs().max().clamp(min=1)
        row = TOL["kernel float32"]
        assert_close(
            a.double().cpu() / scale, b / scale, **row, msg=lambda text, name=name: f"{name}: {text}"
        )
