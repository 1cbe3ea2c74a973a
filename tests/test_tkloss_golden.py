"""TK-Loss against the golden numbers: Lab, similarities, matches, losses and gradients of every variant."""

import math

import numpy as np
import pytest
import torch
from conftest import oracle_folder
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.tkloss import (
    disk_offsets,
    frame_pairs,
    grid_offsets,
    knn_match,
    match_patches,
    pair_term,
    rgb_to_lab,
    tube_consistency,
    tube_consistency_dense,
)

pytestmark = pytest.mark.oracle

FILES = sorted((oracle_folder() / "tk_loss").glob("*.npz"))
ARRAYS = {path.stem: set(np.load(path).files) for path in FILES}
CLIPS = [name for name, arrays in ARRAYS.items() if "keep_stable" in arrays]
DENSE_TUBES = [name for name in CLIPS if "main_pairs" in ARRAYS[name]]
BATCHES = [name for name, arrays in ARRAYS.items() if "src_0" in arrays]
PAIR_TERMS = [name for name, arrays in ARRAYS.items() if "grad_x" in arrays]

OFFICIAL, PAPER = grid_offsets(1, 3), disk_offsets(5)
K, THRESHOLD = 5, 0.05
AMBIGUOUS = 2e-6  # the README's margin: two similarities so close, or so close to the threshold

# prefix of the arrays -> Lab array, tube, offsets, border
VARIANTS = {
    "": ("lab_official", "cyclic", OFFICIAL, "zero"),
    "main_": ("lab_official", "dense", OFFICIAL, "zero"),
    "clean_": ("lab_official", "cyclic", OFFICIAL, "clean"),
    "cleanrgb_": ("lab_rgb", "cyclic", OFFICIAL, "clean"),
    "paper_": ("lab_rgb", "cyclic", PAPER, "clean"),
}
CASES = [(name, prefix) for name in CLIPS for prefix in VARIANTS if prefix != "main_" or name in DENSE_TUBES]


def load(name: str) -> dict[str, torch.Tensor]:
    path = next(path for path in FILES if path.stem == name)
    return {key: torch.from_numpy(value) for key, value in np.load(path).items()}


def golden_keep(golden: dict, prefix: str) -> torch.Tensor:
    """The golden keep set of a variant, bool [P, S, h, w]."""
    if prefix != "paper_":
        return golden[f"{prefix}keep"].bool()
    index = golden["paper_keep_idx"].long()  # [P, K, h, w], 255 = none
    keep = torch.zeros(len(index), 256, *index.shape[2:], dtype=torch.bool)
    return keep.scatter(1, index, True)[:, : len(PAPER)]


def pack(keep: torch.Tensor) -> torch.Tensor:
    """bool [P, S, h, w] -> bits int32 [1, P, words, h, w]."""
    words = []
    for start in range(0, keep.shape[1], 32):
        word = keep[:, start : start + 32].long()
        words.append((word << torch.arange(word.shape[1])[:, None, None]).sum(1))
    return torch.stack(words, dim=1).to(torch.int32)[None]


def distances(lab: torch.Tensor, pairs, offsets, border: str) -> torch.Tensor:
    """Patch distances of all candidates, [P, S, h, w]; inf where a candidate does not exist."""
    _, index, distance = knn_match(
        lab[None], pairs, offsets, k=len(offsets), max_distance=math.inf, border=border, return_index=True
    )
    distance, index = distance[0], index[0].long()
    full = torch.full((len(pairs), 256, *lab.shape[-2:]), math.inf)
    return full.scatter(1, index, distance)[:, : len(offsets)]


def undecided(similarities: torch.Tensor) -> torch.Tensor:
    """Pixels whose keep set rounding may change, bool [P, h, w] (the README's rule)."""
    best = similarities.sort(dim=1, descending=True).values
    tie = (best[:, K - 1] - best[:, K] < AMBIGUOUS) & (best[:, K - 1] >= THRESHOLD)
    return tie | ((similarities - THRESHOLD).abs() < AMBIGUOUS).any(dim=1)


@pytest.mark.parametrize("name", CLIPS)
def test_lab(name):
    golden = load(name)
    assert_close(
        rgb_to_lab(golden["frames"], channel_order="bgr"), golden["lab_official"], **TOL["oracle Lab"]
    )
    assert_close(rgb_to_lab(golden["frames"]), golden["lab_rgb"], **TOL["oracle Lab"])
    assert_close(rgb_to_lab(golden["frames"], quantise=False), golden["lab_rgb_noquant"], **TOL["oracle Lab"])


@pytest.mark.parametrize("name", CLIPS)
def test_pairs_and_offsets(name):
    golden = load(name)
    frames = len(golden["frames"])
    assert frame_pairs(frames) == [tuple(pair) for pair in golden["pairs"].tolist()]
    assert OFFICIAL == tuple(tuple(offset) for offset in golden["offsets"].tolist())
    assert PAPER == tuple(tuple(offset) for offset in golden["paper_offsets"].tolist())
    if name in DENSE_TUBES:
        assert frame_pairs(frames, "dense") == [tuple(pair) for pair in golden["main_pairs"].tolist()]


@pytest.mark.parametrize("name, prefix", [case for case in CASES if case[1] in ("", "main_")])
def test_similarities(name, prefix):
    golden = load(name)
    lab, tube, offsets, border = VARIANTS[prefix]
    distance = distances(golden[lab], frame_pairs(len(golden[lab]), tube), offsets, border)
    assert_close((-distance / 2).exp(), golden[f"{prefix}sims"], **TOL["oracle similarities"])


@pytest.mark.parametrize("name, prefix", CASES)
def test_matches(name, prefix):
    golden = load(name)
    lab, tube, offsets, border = VARIANTS[prefix]
    pairs = frame_pairs(len(golden[lab]), tube)
    keep = match_patches(golden[lab], pairs, offsets, k=K, threshold=THRESHOLD, border=border).keep()[0]
    similarities = (-distances(golden[lab], pairs, offsets, border) / 2).exp()
    unsure = undecided(similarities)
    if prefix in ("", "paper_"):
        unsure |= golden[f"{prefix}ambiguous"].bool()
    wrong = (keep != golden_keep(golden, prefix)).any(dim=1) & ~unsure
    assert not wrong.any()
    assert not unsure.all()


@pytest.mark.parametrize("name", CLIPS)
def test_order_of_dense_matches(name):
    golden = load(name)
    lab, tube, offsets, border = VARIANTS["paper_"]
    pairs = frame_pairs(len(golden[lab]), tube)
    matches = match_patches(golden[lab], pairs, offsets, k=K, border=border, return_index=True)
    sure = ~golden["paper_ambiguous"].bool()[:, None]
    full = torch.cat(
        [distances(golden[lab], pairs, offsets, border), torch.full_like(matches.count()[0], 1e9)[:, None]], 1
    )
    ours = full.gather(1, matches.index[0].long().clamp(max=len(offsets)))
    theirs = full.gather(1, golden["paper_keep_idx"].long().clamp(max=len(offsets)))
    assert_close(ours * sure, theirs * sure, **TOL["patch distance"])


@pytest.mark.parametrize("function", [tube_consistency, tube_consistency_dense])
@pytest.mark.parametrize("name, prefix", CASES)
def test_loss_and_gradient(name, prefix, function):
    golden = load(name)
    lab, tube, offsets, _ = VARIANTS[prefix]
    pairs = frame_pairs(len(golden[lab]), tube)
    logits = golden["logits"].double()[None].requires_grad_()
    bits = pack(golden_keep(golden, prefix))
    result = function(logits, bits, offsets, pairs, golden["union"].bool())
    (0.1 * result.loss).sum().backward()
    total = "paper_loss" if prefix == "paper_" else f"{prefix}loss_bound_neighbor"
    assert_close(result.pair_weight, golden[f"{prefix}pair_weight"], rtol=0, atol=0)
    assert_close(result.pair_loss[0], golden[f"{prefix}pair_loss"], **TOL["oracle losses"])
    assert_close(0.1 * result.loss[0].detach(), golden[total], **TOL["oracle losses"])
    gradient = "paper_grad" if prefix == "paper_" else f"{prefix}grad_bound_neighbor"
    if gradient in golden:
        assert_close(logits.grad[0].float(), golden[gradient], **TOL["oracle gradients"])


@pytest.mark.parametrize("name", CLIPS)
def test_float32_run(name):
    golden = load(name)
    logits = golden["logits"][None].requires_grad_()
    result = tube_consistency(
        logits,
        pack(golden["keep"].bool()),
        OFFICIAL,
        frame_pairs(len(golden["frames"])),
        golden["union"].bool(),
    )
    loss = 0.1 * result.loss[0]
    loss.backward()
    assert_close(loss.detach(), golden["loss_bound_neighbor"].float(), **TOL["oracle losses"])
    assert_close(logits.grad[0], golden["grad_bound_neighbor"], **TOL["oracle gradients"])
    stable = tube_consistency(
        logits,
        pack(golden["keep_stable"].bool()),
        OFFICIAL,
        frame_pairs(len(golden["frames"])),
        golden["union"].bool(),
    )
    assert_close(
        0.1 * stable.loss[0].detach(), golden["loss_bound_neighbor_stable"].float(), **TOL["oracle losses"]
    )


@pytest.mark.parametrize("name", BATCHES)
def test_batch_has_one_denominator(name):
    golden = load(name)
    predictions = golden["pred_masks"].double().requires_grad_()
    clips = range(len(predictions))
    boxes = torch.cat([golden[f"box_masks_full_{b}"][golden[f"tgt_{b}"]] for b in clips]).double()
    rows = (boxes[..., 1::4, :] + boxes[..., 2::4, :]) / 2
    region = ((rows[..., 1::4] + rows[..., 2::4]) / 2).sum(
        1
    ) >= 1  # the README's resize, the union over the tube
    logits = torch.cat([predictions[b, golden[f"src_{b}"]] for b in clips])
    clip_index = torch.cat([torch.full_like(golden[f"src_{b}"], b) for b in clips])
    pairs = frame_pairs(logits.shape[1])
    for b, lab in enumerate(golden["lab_official"]):
        unsure = undecided((-distances(lab, pairs, OFFICIAL, "zero") / 2).exp())
        if (unsure & region[clip_index == b].any(0)).any():
            pytest.skip("rounding may change the golden keep set inside the region")
    matches = match_patches(golden["lab_official"], pairs, OFFICIAL, border="zero")
    result = tube_consistency(logits[None], matches.bits, OFFICIAL, pairs, region, clip_index=clip_index)
    (0.1 * result.loss).sum().backward()
    assert_close(result.pair_weight, golden["pair_weight"], rtol=0, atol=0)
    assert_close(0.1 * result.loss[0].detach(), golden["loss_bound_neighbor"], **TOL["oracle losses"])
    assert_close(predictions.grad.float(), golden["grad_bound_neighbor"], **TOL["oracle gradients"])


@pytest.mark.parametrize("name", PAIR_TERMS)
def test_pair_term(name):
    golden = load(name)
    x, y = golden["x"].requires_grad_(), golden["y"].requires_grad_()
    value = pair_term(x, y)
    value.sum().backward()
    assert_close(value.detach(), golden["value"], **TOL["oracle pair term"])
    assert_close(x.grad, golden["grad_x"], **TOL["oracle pair term"])
    assert_close(y.grad, golden["grad_y"], **TOL["oracle pair term"])


def test_every_kind_is_there():
    assert CLIPS and DENSE_TUBES and BATCHES and PAIR_TERMS
