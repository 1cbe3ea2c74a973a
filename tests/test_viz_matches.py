"""The pictures of correspondences say what the matching says."""

import io
import math

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.errors import InputError
from maskfree_nb.tkloss import disk_offsets, grid_offsets, match_patches, rgb_to_lab
from maskfree_nb.viz import matches as viz

CASE_NAMES = tuple(viz.CASES)


def noise(*shape: int, seed: int = 0, scale: float = 8.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def frames_of_noise(height: int = 36, width: int = 48) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 3, height, width), generator=generator, dtype=torch.uint8)


def png(figure) -> np.ndarray:
    """Draw a figure: it raises what drawing raises."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    buffer.seek(0)
    return matplotlib.image.imread(buffer)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 99),
    y=st.integers(0, 6),
    x=st.integers(0, 8),
    k=st.integers(1, 6),
    patch_size=st.sampled_from([1, 3, 5]),
    offsets=st.sampled_from([disk_offsets(3), disk_offsets(1), grid_offsets(1, 3)]),
)
def test_a_pixel_sees_what_the_matching_finds(seed, y, x, k, patch_size, offsets):
    lab = noise(2, 3, 7, 9, seed=seed, scale=1.5).round()  # whole numbers: many ties
    options = dict(k=k, threshold=0.05, patch_size=patch_size)
    view = viz.look_at(lab, (1, 0), y, x, offsets, **options)
    matches = match_patches(lab, [(1, 0)], offsets, **options, return_index=True, backend="torch")
    expected = matches.neighbours(0, y, x)
    assert [view.place(s) for s in view.matches] == [(v, u) for v, u, _ in expected]
    distances = torch.tensor([d for _, _, d in expected])
    assert_close(view.distance[list(view.matches)], distances, **TOL["float32 sums"])


def test_the_heat_map_lays_distances_out_as_the_window():
    lab = noise(2, 3, 7, 9)
    offsets = disk_offsets(2)
    window = viz.look_at(lab, (0, 1), 0, 4, offsets).heat_map()
    assert window.shape == (5, 5)
    assert window[:2].isnan().all()  # above the frame
    assert window[4, 0].isnan()  # outside the disk
    distance = viz.candidate_distances(lab, (0, 1), 0, 4, offsets)
    assert window[4, 2] == distance[offsets.index((2, 0))]


def test_a_pixel_outside_the_map_is_named():
    with pytest.raises(InputError, match=r"pixel \(7, 0\) is outside the map of 7 x 9"):
        viz.look_at(noise(2, 3, 7, 9), (0, 1), 7, 0, disk_offsets(1))


def stripes(angle: float, size: int = 21) -> torch.Tensor:
    """One straight edge through the middle, at `angle` degrees to the x axis: Lab [3, size, size]."""
    y, x = torch.meshgrid(torch.arange(size) - size // 2, torch.arange(size) - size // 2, indexing="ij")
    across = y * math.cos(math.radians(angle)) - x * math.sin(math.radians(angle))
    return torch.stack([across.clamp(-1, 1) * 30.0, torch.zeros(size, size), torch.zeros(size, size)])


@pytest.mark.parametrize(
    ("angle", "case"),
    [(0, "edge, sideways"), (20, "edge, sideways"), (70, "edge, upright"), (90, "edge, upright")],
)
def test_an_edge_is_known_by_its_direction(angle, case):
    lab = stripes(angle).expand(2, 3, 21, 21)
    assert viz.look_at(lab, (0, 1), 10, 10, disk_offsets(5), threshold=0.001).case == case


def test_flat_unique_and_hidden_pixels():
    offsets = disk_offsets(3)
    flat = torch.zeros(2, 3, 15, 15)
    assert viz.look_at(flat, (0, 1), 7, 7, offsets).case == "homogeneous"
    moved = noise(1, 3, 15, 18).repeat(2, 1, 1, 1)
    clip = torch.stack([moved[0, :, :, :15], moved[0, :, :, 2:17]])  # what was at x is at x - 2 in frame 1
    view = viz.look_at(clip, (0, 1), 7, 7, offsets)
    assert (view.case, [view.place(s) for s in view.matches]) == ("unique", [(7, 9)])
    assert view.similarity(view.matches[0]) == 1
    changed = torch.stack([clip[0], clip[1] + 90])
    view = viz.look_at(changed, (0, 1), 7, 7, offsets)
    assert (view.case, view.matches) == ("none", ())


def test_two_places_are_a_line_and_a_square_is_not():
    offsets = ((0, 0), (0, 1), (1, 0), (1, 1))
    assert viz.pixel_case(torch.tensor([0.0, 9.0, 0.0, 9.0]), offsets) == "edge, upright"
    assert viz.pixel_case(torch.tensor([0.0, 0.0, 9.0, 9.0]), offsets) == "edge, sideways"
    assert viz.pixel_case(torch.zeros(4), offsets) == "homogeneous"


def test_candidates_outside_the_frame_are_not_near_even_at_threshold_zero():
    offsets = ((0, 0), (0, 1))
    assert viz.pixel_case(torch.tensor([9.0, math.inf]), offsets, threshold=0.0) == "unique"


def test_the_map_of_cases_is_that_of_its_pixels():
    lab = noise(2, 3, 9, 11, scale=1.2).round()
    lab[:, :, :, 6:] = 0  # flat
    lab[1, :, :, 0] = 80  # hidden
    offsets = disk_offsets(2)
    cases = viz.case_map(lab, (0, 1), offsets)
    assert cases.dtype == torch.uint8
    for y in range(9):
        for x in range(11):
            assert CASE_NAMES[cases[y, x]] == viz.look_at(lab, (0, 1), y, x, offsets).case
    assert {"none", "homogeneous"} <= {CASE_NAMES[case] for case in cases.unique()}


@pytest.fixture(scope="module")
def views() -> list:
    lab = rgb_to_lab(frames_of_noise())
    return [
        viz.look_at(lab, (0, 1), y, x, disk_offsets(3), threshold=0.0)  # corners, borders
        for y, x in ((0, 0), (4, 6), (8, 11))
    ]


def test_figures_are_drawn_without_global_state(views):
    frames = frames_of_noise()
    matches = match_patches(rgb_to_lab(frames), [(0, 1)], disk_offsets(3), threshold=0.0)
    cases = viz.case_map(rgb_to_lab(frames), (0, 1), disk_offsets(3), threshold=0.0)
    for figure in (
        viz.window_figure(frames, views[0]),
        viz.patches_figure(frames, views[0], count=5),
        viz.distance_figure(frames, views),
        viz.matches_figure(frames, views),
        viz.matches_figure(frames, views[:1], zoom=5),
        viz.count_figure(matches),
        viz.case_figure(frames, cases, frame=1),
    ):
        picture = png(figure)
        assert picture.std() > 0.05  # not a blank sheet
    assert matplotlib._pylab_helpers.Gcf.get_all_fig_managers() == []


def test_a_pixel_without_any_match_can_be_drawn():
    frames = frames_of_noise()
    view = viz.look_at(rgb_to_lab(frames), (0, 1), 4, 6, disk_offsets(2), threshold=1.0)
    assert view.matches == ()
    for figure in (viz.matches_figure(frames, [view]), viz.distance_figure(frames, [view])):
        assert png(figure).std() > 0.05


def test_one_line_a_match(views):
    lines = viz.matches_figure(frames_of_noise(), views).artists
    assert len(lines) == 2 * sum(len(view.matches) for view in views)  # the line, and its halo
    assert sum(len(view.matches) for view in views) > 3


def test_the_count_figure_shows_the_counts():
    frames = frames_of_noise()
    matches = match_patches(rgb_to_lab(frames), [(0, 1), (1, 2)], disk_offsets(3), threshold=0.0)
    axes = viz.count_figure(matches, pair=1).axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), matches.count()[0, 1])
    assert matches.count()[0, 1].any()


def test_patches_are_the_mean_colours_of_the_map_pixels(views):
    frames = frames_of_noise()
    axes = viz.patches_figure(frames, views[1], count=2).axes[0]  # pixel (4, 6), 3 x 3
    expected = frames[1, :, 4 * 4 : 5 * 4, 6 * 4 : 7 * 4].float().mean((1, 2)) / 255
    assert_close(torch.from_numpy(axes.images[0].get_array()[1, 1]).float(), expected, **TOL["float32 sums"])
