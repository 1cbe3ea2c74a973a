"""The kernel that matches patches: bit for bit the torch reference, and the golden numbers."""

import importlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_checks import golden_clips
from kernel_device import DEVICE, KERNELS, no_launch, poison
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb import tkloss
from maskfree_nb.tkloss import disk_offsets, frame_pairs, grid_offsets

MODULE = importlib.import_module("maskfree_kernels.knn_match")
CLIPS = golden_clips("keep_stable")
SMALLEST = min(CLIPS, key=lambda path: np.load(path)["keep"][0, 0].size)
PAIRS = 1 if DEVICE == "cpu" else None  # of a golden clip: the interpreter is slow
MAX_DISTANCE = -2 * math.log(0.05)


@pytest.fixture(autouse=True)
def poisoned_outputs(monkeypatch):
    poison(monkeypatch, MODULE)


def draw(shape, levels, seed):
    """Lab [B, T, 3, h, w] with a flat part; `levels` whole numbers make ties, None is any number."""
    generator = torch.Generator().manual_seed(seed)
    if levels:
        lab = torch.randint(0, levels, shape, generator=generator).float()
    else:
        lab = 4 * torch.randn(shape, generator=generator)
    lab[..., : shape[-2] // 2, : shape[-1] // 2] = 1.5
    return lab


def compare(lab, pairs, offsets, **options):
    """Bits, numbers and distances of the kernel against the reference."""
    expected = tkloss.knn_match(lab, pairs, offsets, return_index=True, **options)
    bits, index, distance = KERNELS.knn_match(lab.to(DEVICE), pairs, offsets, return_index=True, **options)
    assert torch.equal(bits.cpu(), expected[0])
    assert torch.equal(index.cpu(), expected[1])
    assert_close(distance.cpu(), expected[2], **TOL["patch distance"])
    return bits.cpu(), index.cpu(), distance.cpu()


def unpack(bits, count):
    """int32 [P, words, h, w] -> bool [P, count, h, w]."""
    places = torch.arange(32, dtype=torch.int32)[:, None, None]
    return ((bits[:, :, None] >> places) & 1).flatten(1, 2)[:, :count].bool()


@pytest.mark.oracle
@pytest.mark.parametrize("path", CLIPS, ids=[p.stem for p in CLIPS])
def test_golden_official(path):
    z = np.load(path)
    pairs = [tuple(pair) for pair in z["pairs"].tolist()][:PAIRS]
    offsets = tuple(tuple(offset) for offset in z["offsets"].tolist())
    lab = torch.from_numpy(z["lab_official"])[None].to(DEVICE)
    bits, _, _ = KERNELS.knn_match(lab, pairs, offsets, k=5, max_distance=MAX_DISTANCE, border="zero")
    sure = torch.from_numpy(z["ambiguous"][:PAIRS] == 0)[:, None]
    keep = torch.from_numpy(z["keep"][:PAIRS]).bool()
    assert sure.any()
    assert torch.equal(unpack(bits[0].cpu(), len(offsets)) & sure, keep & sure)


@pytest.mark.oracle
@pytest.mark.parametrize("path", [SMALLEST] if DEVICE == "cpu" else CLIPS, ids=lambda path: path.stem)
def test_golden_dense_window(path):
    z = np.load(path)
    pairs = [tuple(pair) for pair in z["pairs"].tolist()][:PAIRS]
    offsets = tuple(tuple(offset) for offset in z["paper_offsets"].tolist())
    lab = torch.from_numpy(z["lab_rgb"])[None].to(DEVICE)
    bits, index, _ = KERNELS.knn_match(lab, pairs, offsets, k=5, max_distance=MAX_DISTANCE, return_index=True)
    sure = torch.from_numpy(z["paper_ambiguous"][:PAIRS] == 0)[:, None]
    golden = torch.from_numpy(z["paper_keep_idx"][:PAIRS])
    keep = torch.zeros(len(pairs), 256, *golden.shape[2:], dtype=torch.bool).scatter_(1, golden.long(), True)
    assert sure.any()
    assert torch.equal(unpack(bits[0].cpu(), len(offsets)) & sure, keep[:, : len(offsets)] & sure)
    assert torch.equal(index[0].cpu().sort(1).values * sure, golden.sort(1).values * sure)


@settings(max_examples=9, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(2, 3), st.just(3), st.integers(1, 6), st.integers(1, 34)),
    offsets=st.sampled_from([grid_offsets(1, 3), disk_offsets(1), disk_offsets(2), grid_offsets(1, 7)]),
    k=st.integers(1, 9),
    levels=st.sampled_from([None, 2, 4]),
    max_distance=st.sampled_from([0.0, 3.0, 5.9915, math.sqrt(50), math.inf]),
    patch_size=st.sampled_from([1, 3, 5]),
    border=st.sampled_from(["clean", "zero"]),
    seed=st.integers(0, 9999),
)
def test_equals_the_reference(shape, offsets, k, levels, max_distance, patch_size, border, seed):
    lab = draw(shape, levels, seed)
    options = {"k": k, "max_distance": max_distance, "patch_size": patch_size, "border": border}
    compare(lab, [(0, 1), (shape[1] - 1, 0)], offsets, **options)


def test_largest_window_and_longest_lists():
    lab = draw((1, 2, 3, 3, 21), levels=3, seed=1)
    options = {"k": 16, "max_distance": 20.0, "patch_size": 5}
    compare(lab, [(0, 1)], grid_offsets(7), border="zero", **options)


def test_as_many_places_as_candidates():
    offsets = disk_offsets(2)
    lab = draw((1, 2, 3, 5, 9), levels=None, seed=2)
    bits, index, _ = compare(lab, [(1, 0)], offsets, k=13, max_distance=math.inf, border="zero")
    assert unpack(bits[0], 32).sum(1).unique().tolist() == [len(offsets)]
    assert index.min() == 0 and index.max() == len(offsets) - 1


@pytest.mark.parametrize("border", ["clean", "zero"])
def test_ties_go_to_the_lowest_offsets(border):
    offsets = disk_offsets(1)
    lab = torch.zeros(1, 2, 3, 4, 5)
    _, index, distance = compare(lab, [(0, 1)], offsets, k=3, max_distance=1.0, border=border)
    assert index[0, 0, :, 2, 2].tolist() == [0, 1, 2]
    assert index[0, 0, :, 0, 0].tolist() == ([0, 1, 2] if border == "zero" else [2, 3, 4])
    assert distance.unique().tolist() == [0.0]


def test_not_contiguous():
    lab = draw((1, 2, 3, 9, 6), levels=None, seed=3)
    compare(lab.mT, [(0, 1)], disk_offsets(1), k=2, max_distance=9.0)


def test_without_index():
    lab = draw((1, 3, 3, 3, 4), levels=3, seed=4)
    expected = tkloss.knn_match(lab, frame_pairs(3), disk_offsets(1), k=2, max_distance=4.0)
    found = KERNELS.knn_match(lab.to(DEVICE), frame_pairs(3), disk_offsets(1), k=2, max_distance=4.0)
    assert torch.equal(found[0].cpu(), expected[0])
    assert found[1:] == (None, None)


def test_no_clips_launch_nothing(monkeypatch):
    no_launch(monkeypatch, MODULE, "knn_match_fwd_kernel")
    lab = torch.zeros(0, 2, 3, 4, 5, device=DEVICE)
    bits, _, _ = KERNELS.knn_match(lab, [(0, 1)], disk_offsets(5), k=2, max_distance=4.0)
    assert bits.shape == (0, 1, 3, 4, 5)


def test_under_compile():
    lab = draw((1, 2, 3, 4, 5), levels=3, seed=5).to(DEVICE)

    def step(lab):
        return KERNELS.knn_match(lab * 2, [(0, 1)], disk_offsets(1), k=2, max_distance=4.0)[0] + 1

    assert torch.equal(torch.compile(step, backend="aot_eager", fullgraph=True)(lab), step(lab))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"k": 17}, "not k = 17"),
        ({"patch_size": 7}, "patch_size = 7; use backend='torch'"),
        ({"offsets": disk_offsets(9)}, f"{len(disk_offsets(9))} offsets"),
        ({"border": "wrap"}, "border is 'wrap'"),
        ({"frame_pairs": [(0, 2)]}, r"frame_pairs \[\(0, 2\)\] do not fit lab with T = 2 frames"),
        ({"lab": torch.zeros(2, 3, 4, 4)}, r"lab is torch.float32 \[2, 3, 4, 4\]"),
    ],
)
def test_wrong_arguments(options, message):
    arguments = {"lab": torch.zeros(1, 2, 3, 4, 4), "frame_pairs": [(0, 1)], "offsets": disk_offsets(1)}
    with pytest.raises(ValueError, match=message):
        KERNELS.knn_match(**{**arguments, "k": 2, "max_distance": 4.0, **options})
