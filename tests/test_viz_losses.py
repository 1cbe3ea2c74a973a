"""Figures of the losses: what is drawn, and that what is drawn is right."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from numpy.testing import assert_allclose
from tolerances import TOL

from maskfree_nb.boxloss import colour_affinity, neighbour_offsets
from maskfree_nb.viz.colours import PALETTE
from maskfree_nb.viz.losses import (
    affinity_figure,
    bar_figure,
    curve_figure,
    descent_figure,
    picture_grid,
    shadow_figure,
    surface_figure,
)


@pytest.fixture(autouse=True)
def leaves_no_pyplot_state():
    yield
    assert not plt.get_fignums()


def drawn(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def links(figure) -> tuple[set, set]:
    """The links of an affinity figure: within a side of the mask, and across."""
    parts = [part for part in figure.axes[1].collections if type(part) is LineCollection]
    return tuple({tuple(map(tuple, s.astype(int).tolist())) for s in part.get_segments()} for part in parts)


def test_grid_shows_frames_masks_boxes_outlines():
    frame = torch.randint(0, 256, (3, 12, 16), dtype=torch.uint8)
    mask = torch.zeros(12, 16)
    mask[3:9, 4:12] = 1
    boxes = torch.full((2, 2, 4), torch.nan)
    boxes[0, 0] = torch.tensor([4.0, 3.0, 12.0, 9.0])
    outlines = torch.zeros(2, 2, 12, 16, dtype=torch.bool)
    outlines[1, 0] = mask > 0.5
    figure = picture_grid(
        [[frame, mask], [mask, mask]], ["one", "two"], ["above", "below"], boxes=boxes, outlines=outlines
    )
    drawn(figure)
    first, second, third, fourth = figure.axes
    assert [panel.get_title() for panel in figure.axes] == ["one", "two", "", ""]
    assert [first.get_ylabel(), third.get_ylabel()] == ["above", "below"]
    assert_allclose(first.images[0].get_array(), frame.permute(1, 2, 0))
    assert_allclose(second.images[0].get_array(), mask)
    assert second.images[0].get_clim() == (0, 1)  # a dim mask stays dim
    assert first.patches[0].get_bbox().bounds == (3.5, 2.5, 8, 6)  # the edges of pixels, not their centres
    assert [len(panel.collections) for panel in figure.axes] == [0, 0, 1, 0]
    assert len(fourth.images) == 1


def test_grid_with_a_title_for_every_picture():
    figure = picture_grid([[torch.rand(4, 4)] * 2] * 2, ["a", "b", "c", "d"])
    assert [panel.get_title() for panel in figure.axes] == ["a", "b", "c", "d"]


def test_bars_have_the_length_of_their_values():
    figure = bar_figure({"mask": 79.2, "box": 7.0}, "seconds", " s", highlight="box")
    assert drawn(figure).std() > 0
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [79.2, 7.0]
    assert [text.get_text() for text in axes.texts] == [" 79.2 s", " 7 s"]
    assert_allclose(
        [bar.get_facecolor()[:3] for bar in axes.patches], np.array([PALETTE[6], PALETTE[0]]) / 255
    )


def test_shadows_are_the_maxima():
    mask, box = torch.rand(5, 7), torch.zeros(5, 7)
    box[1:4, 2:6] = 1
    figure = shadow_figure(mask, box)
    drawn(figure)
    _, over, beside = figure.axes
    assert_allclose(over.patches[0].get_data().values, [0, 0, 1, 1, 1, 1, 0])
    assert_allclose(over.patches[1].get_data().values, mask.amax(0))
    assert_allclose(beside.patches[1].get_data().values, mask.amax(1))
    assert beside.patches[1].get_data().edges[0] == -0.5


@pytest.mark.parametrize("dilation", [1, 2])
def test_links_join_alike_neighbours_and_those_across_the_border_are_apart(dilation):
    torch.manual_seed(0)
    lab = torch.randint(0, 2, (1, 1, 3, 9, 11)).float() * 3
    mask = torch.zeros(9, 11, dtype=torch.bool)
    mask[:, 5:] = True
    affinity = colour_affinity(lab, dilation=dilation)[
        0, 0
    ]  # border "zero": bits that point outside the frame
    figure = affinity_figure(torch.rand(3, 9, 11) * 255, affinity, mask, (0, 0), dilation)
    drawn(figure)
    expected = (set(), set())
    for y in range(9):
        for x in range(11):
            for k, (dy, dx) in enumerate(neighbour_offsets(dilation)):
                v, u = y + dy, x + dx
                if affinity[y, x] >> k & 1 and 0 <= v < 9 and 0 <= u < 11:
                    expected[int(mask[y, x] != mask[v, u])].add(((x, y), (u, v)))
    assert expected[0] and expected[1]
    assert links(figure) == expected
    counts = figure.axes[0].images[0].get_array()
    assert counts[4, 5] == bin(int(affinity[4, 5])).count("1")


def test_no_link_at_all_is_drawn_too():
    figure = affinity_figure(
        torch.zeros(3, 4, 4), torch.zeros(4, 4, dtype=torch.int32), torch.ones(4, 4) > 0, (0, 0)
    )
    drawn(figure)
    assert links(figure) == (set(), set())


def test_surface_is_drawn():
    figure = surface_figure()
    assert drawn(figure).std() > 0
    assert {text.get_text() for text in figure.axes[0].texts} >= {"they disagree"}


def test_arrows_point_downhill_and_paths_keep_their_ends():
    path = torch.tensor([[0.5, -2.0], [0.1, -2.1], [-0.4, -2.3]])
    figure = descent_figure([path])
    drawn(figure)
    axes = figure.axes[0]
    quiver = next(part for part in axes.collections if hasattr(part, "U"))
    x, y = torch.tensor(quiver.XY, dtype=torch.float64).T.requires_grad_()
    loss = -(x.sigmoid() * y.sigmoid() + (-x).sigmoid() * (-y).sigmoid()).log()
    gradient = torch.autograd.grad(loss.sum(), (x, y))
    assert_allclose(quiver.U, -gradient[0], **TOL["float32 sums"])
    assert_allclose(quiver.V, -gradient[1], **TOL["float32 sums"])
    line, start, end = axes.lines[:3]
    assert_allclose(line.get_xydata(), path)
    assert_allclose(start.get_xydata()[0], path[0])
    assert_allclose(end.get_xydata()[0], path[-1])


def test_curves_on_a_logarithmic_axis():
    figure = curve_figure([0.1, 1, 10], {"one": [1, 2, 3], "two": [3, 2, 1]}, "title", "start", log_x=True)
    drawn(figure)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "start"
    assert_allclose(axes.lines[1].get_xydata(), [[0.1, 3], [1, 2], [10, 1]])
    assert axes.lines[0].get_linestyle() != axes.lines[1].get_linestyle()
