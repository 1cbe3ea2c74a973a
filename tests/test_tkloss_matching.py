"""Candidates, Lab, tubes and matching: against a definition by loops, and the properties that define them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.errors import InputError
from maskfree_nb.tkloss import disk_offsets, frame_pairs, grid_offsets, knn_match, match_patches, rgb_to_lab


def match_by_loops(lab, pairs, offsets, k, max_distance, patch_size, border):
    """The definition, pixel by pixel: for each clip, pair and pixel the list of (distance, candidate)."""
    half = patch_size // 2
    _, _, _, height, width = lab.shape

    def patch(frame, y, x):
        return [
            frame[:, v, u] if 0 <= v < height and 0 <= u < width else np.zeros(3)
            for v in range(y - half, y + half + 1)
            for u in range(x - half, x + half + 1)
        ]

    found = {}
    for clip, (p, (a, b)) in ((c, pair) for c in range(len(lab)) for pair in enumerate(pairs)):
        for y in range(height):
            for x in range(width):
                centre = np.array(patch(lab[clip, b], y, x))
                ranked = []
                for s, (dy, dx) in enumerate(offsets):
                    inside = 0 <= y + dy < height and 0 <= x + dx < width
                    if inside:
                        source = np.array(patch(lab[clip, a], y + dy, x + dx))
                    elif border == "zero":
                        source = np.zeros_like(centre)
                    else:
                        continue
                    ranked.append((((centre - source) ** 2).sum(), s))
                found[clip, p, y, x] = [
                    (math.sqrt(d), s) for d, s in sorted(ranked)[:k] if d <= max_distance**2
                ]
    return found


@given(
    seed=st.integers(0, 10**6),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    frames=st.integers(2, 3),
    offsets=st.sampled_from(
        [disk_offsets(1), grid_offsets(1, 3), disk_offsets(3), grid_offsets(2, 2), ((0, 7),)]
    ),
    k=st.integers(1, 9),
    patch_size=st.sampled_from([1, 3, 5]),
    border=st.sampled_from(["clean", "zero"]),
    max_distance=st.sampled_from([0.0, 2.5, 6.0, math.inf]),
)
@settings(max_examples=60)
def test_matching_is_its_definition(
    seed, height, width, frames, offsets, k, patch_size, border, max_distance
):
    """Whole-number colours: squared distances are exact, ties abound, and no match may differ."""
    lab = torch.randint(
        -2, 3, (2, frames, 3, height, width), generator=torch.Generator().manual_seed(seed)
    ).float()
    pairs = frame_pairs(frames)
    options = dict(k=k, max_distance=max_distance, patch_size=patch_size, border=border)
    bits, index, distance = knn_match(lab, pairs, offsets, **options, return_index=True)
    expected = match_by_loops(lab.double().numpy(), pairs, offsets, **options)
    for (clip, p, y, x), ranked in expected.items():
        missing = k - len(ranked)
        assert index[clip, p, :, y, x].tolist() == [s for _, s in ranked] + [255] * missing
        assert_close(
            distance[clip, p, :, y, x],
            torch.tensor([d for d, _ in ranked] + [math.inf] * missing),
            **TOL["patch distance"],
        )
        words = bits[clip, p, :, y, x].tolist()
        kept = [s for s in range(32 * len(words)) if words[s // 32] >> s % 32 & 1]
        assert kept == sorted(s for _, s in ranked)


def test_ties_take_the_lowest_candidate():
    lab = torch.full((1, 2, 3, 12, 12), 40.0)
    matches = match_patches(lab, [(0, 1)], disk_offsets(2), k=5, return_index=True)
    assert matches.index[0, 0, :, 6, 6].tolist() == [0, 1, 2, 3, 4]
    assert matches.distance[0, 0, :, 6, 6].tolist() == [0.0] * 5


@given(dy=st.integers(-5, 5), dx=st.integers(-5, 5), seed=st.integers(0, 100))
def test_a_translated_frame_matches_at_its_shift(dy, dx, seed):
    offsets = disk_offsets(8)
    big = 100 * torch.rand(3, 40, 44, generator=torch.Generator().manual_seed(seed))
    centre = big[:, 10:30, 10:34]
    source = big[:, 10 - dy : 30 - dy, 10 - dx : 34 - dx]  # what is at (y, x) is at (y + dy, x + dx) here
    matches = match_patches(torch.stack([source, centre]), [(0, 1)], offsets, k=1, return_index=True)
    interior = matches.index[0, 0, 0, 6:-6, 6:-6]
    assert (interior == offsets.index((dy, dx))).all()
    assert matches.neighbours(pair=0, y=8, x=9) == [(8 + dy, 9 + dx, 0.0)]


def test_matching_is_symmetric_without_top_k():
    """Frame a's pixel q matches frame b's pixel p exactly if p matches q, as long as K takes all."""
    lab = 3 * torch.randn(1, 2, 3, 9, 11, generator=torch.Generator().manual_seed(1))
    offsets = disk_offsets(2)
    keep = match_patches(lab, [(0, 1), (1, 0)], offsets, k=len(offsets), threshold=1e-6).keep()[0]
    assert 0 < keep.float().mean() < 1
    for s, (dy, dx) in enumerate(offsets):
        back = keep[1, offsets.index((-dy, -dx))]
        for y, x in keep[0, s].nonzero().tolist():
            assert back[y + dy, x + dx]
    assert keep[0].sum() == keep[1].sum()


@pytest.mark.parametrize("radius, words", [(1, 1), (3, 1), (5, 3), (8, 7)])
def test_views_of_matches_agree(radius, words):
    lab = 0.8 * torch.randn(2, 3, 3, 13, 7, generator=torch.Generator().manual_seed(2))
    matches = match_patches(lab, frame_pairs(3), disk_offsets(radius), k=6, return_index=True)
    assert matches.bits.shape == (2, 3, words, 13, 7) and matches.bits.dtype == torch.int32
    keep = matches.keep()
    assert keep.shape == (2, 3, len(matches.offsets), 13, 7)
    assert torch.equal(matches.count(), (matches.index != 255).sum(2))
    assert matches.count().min() < 5 <= matches.count().max() <= 6
    from_index = torch.zeros(2, 3, 256, 13, 7, dtype=torch.bool).scatter(2, matches.index.long(), True)
    assert torch.equal(keep, from_index[:, :, : len(matches.offsets)])
    bits_only = match_patches(lab, frame_pairs(3), disk_offsets(radius), k=6)
    assert torch.equal(bits_only.bits, matches.bits) and bits_only.index is None
    ranked = matches.neighbours(pair=2, y=5, x=3, clip=1)
    assert [d for *_, d in ranked] == sorted(d for *_, d in ranked)
    plain = bits_only.neighbours(pair=2, y=5, x=3, clip=1)
    assert {(v, u) for v, u, _ in plain} == {(v, u) for v, u, _ in ranked}
    assert all(d is None for *_, d in plain)


def test_neighbours_outside_the_frame_are_no_pixels():
    lab = torch.zeros(2, 3, 4, 4)
    matches = match_patches(lab, [(0, 1)], grid_offsets(1, 3), k=9, border="zero", return_index=True)
    assert matches.count()[0, 0, 0, 0] == 9
    assert [(v, u) for v, u, _ in matches.neighbours(0, 0, 0)] == [(0, 0), (0, 3), (3, 0), (3, 3)]


def test_threshold_is_a_similarity():
    lab = torch.zeros(2, 3, 1, 1)
    lab[1, 0] = 3.0  # one pixel, patch 1: d = 3
    for threshold, count in ((0.0, 1), (math.exp(-1.5) - 1e-6, 1), (math.exp(-1.5) + 1e-6, 0), (1.0, 0)):
        matches = match_patches(lab, [(0, 1)], ((0, 0),), threshold=threshold, patch_size=1)
        assert matches.count().item() == count


def test_more_candidates_than_an_index_byte_can_name():
    lab = torch.rand(2, 3, 6, 6)
    offsets = disk_offsets(10)
    assert len(offsets) > 255
    everything = match_patches(lab, [(0, 1)], offsets, k=len(offsets), threshold=0.0)
    assert everything.count()[0, 0, 0, 0] == 36
    with pytest.raises(InputError, match="return_index takes at most 255 candidates"):
        match_patches(lab, [(0, 1)], offsets, return_index=True)


def test_offsets():
    disk = disk_offsets(5)
    assert len(disk) == 81 and list(disk) == sorted(disk)
    assert len(disk_offsets(0)) == 1
    assert grid_offsets(1, 3)[5] == (0, 3) and len(grid_offsets(3, 2)) == 49
    assert set(grid_offsets(2)) >= set(disk_offsets(2))
    for wrong in (lambda: disk_offsets(-1), lambda: disk_offsets(2.5), lambda: grid_offsets(1, 0)):
        with pytest.raises(InputError, match="expected an integer >= "):
            wrong()


@given(frames=st.integers(2, 9))
def test_tubes(frames):
    cyclic, chain, dense = (frame_pairs(frames, tube) for tube in ("cyclic", "sequential", "dense"))
    assert cyclic == [*chain, (frames - 1, 0)]
    assert {b for _, b in cyclic} == set(range(frames)) == {a for a, _ in cyclic}
    assert len(dense) == frames * (frames - 1) // 2 and all(a < b for a, b in dense)


def test_bad_tubes():
    with pytest.raises(InputError, match="a tube of 1 frame has no frame pair"):
        frame_pairs(1)
    with pytest.raises(InputError, match="tube is 'ring', expected one of cyclic, sequential, dense"):
        frame_pairs(3, "ring")


@pytest.mark.parametrize("stride, size", [(1, (7, 9)), (2, (7, 9)), (3, (10, 11)), (4, (32, 48))])
def test_lab_is_that_of_scikit_image(stride, size):
    frames = torch.randint(
        0, 256, (2, 2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(3)
    )
    height, width = size[0] // stride, size[1] // stride
    blocks = frames[..., : height * stride, : width * stride].double()
    pooled = blocks.unflatten(-1, (width, stride)).unflatten(-3, (height, stride)).mean(dim=(-3, -1)).floor()
    expected = torch.from_numpy(rgb2lab(pooled.numpy() / 255, channel_axis=2))
    ours = rgb_to_lab(frames, stride)
    assert ours.dtype == torch.float32
    assert_close(ours.double(), expected, **TOL["oracle Lab"])
    assert torch.equal(ours, rgb_to_lab(frames.float(), stride))
    assert torch.equal(rgb_to_lab(frames.flip(-3), stride, channel_order="bgr"), ours)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(threshold=1.5), "threshold is 1.5"),
        (dict(threshold=math.nan), "threshold is nan"),
        (dict(k=0), "k is 0"),
        (dict(k=2.5), "k is 2.5"),
        (dict(patch_size=2), "patch_size is 2"),
        (dict(border="mirror"), "border is 'mirror', expected 'clean' or 'zero'"),
        (dict(lab=torch.zeros(3, 4, 4)), r"lab has shape \[3, 4, 4\], expected \[B, T, 3, h, w\]"),
        (dict(lab=torch.zeros(2, 3, 4, 4).double()), "lab is torch.float64, expected torch.float32"),
        (dict(frame_pairs=[(0, 2)]), r"frame pair \(0, 2\) does not fit lab with T = 2 frames"),
        (dict(frame_pairs=[]), "at least one entry"),
        (dict(backend="cuda"), "backend is 'cuda'"),
    ],
)
def test_bad_options_are_named(options, message):
    given = dict(lab=torch.zeros(2, 3, 4, 4), frame_pairs=[(0, 1)], offsets=disk_offsets(1))
    with pytest.raises(InputError, match=message):
        match_patches(**{**given, **options})


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda f: rgb_to_lab(f[:, :2]), r"frames have shape \[2, 2, 8, 8\], expected \[..., 3, H, W\]"),
        (lambda f: rgb_to_lab(f, 0), "stride is 0, expected an integer >= 1"),
        (lambda f: rgb_to_lab(f, channel_order="gbr"), "channel_order is 'gbr', expected 'rgb' or 'bgr'"),
    ],
)
def test_bad_frames_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
