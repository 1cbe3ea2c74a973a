"""Small figures of the course: the map of its notebooks, the table of assignment costs."""

import itertools

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from maskfree_nb.matcher import assign
from maskfree_nb.viz.assignment import FRAME, cost_figure
from maskfree_nb.viz.course_map import ARROWS, HEIGHT, STATIONS, WIDTH, course_map


def test_the_map_shows_every_notebook_once():
    texts = [text.get_text() for text in course_map().axes[0].texts]
    for number in range(1, 11):
        assert sum(text.startswith(f"{number:02d} ") for text in texts) == 1


def test_all_ways_on_the_map_start_at_the_data():
    pairs = [pair.split("-") for way in ARROWS.values() for pair in way.split()]
    reached = {"data"}
    for _ in STATIONS:
        reached |= {end for start, end in pairs if start in reached}
    assert reached == STATIONS.keys()


def test_boxes_of_the_map_hold_their_text_and_lie_apart():
    for (one, (x, y)), (other, (x2, y2)) in itertools.combinations(
        {name: place for name, (place, _, _) in STATIONS.items()}.items(), 2
    ):
        assert abs(x - x2) > WIDTH or abs(y - y2) > HEIGHT, (one, other)
    figure = course_map()
    renderer = FigureCanvasAgg(figure).get_renderer()
    [axis] = figure.axes
    boxes = [patch.get_window_extent(renderer) for patch in axis.patches[: len(STATIONS)]]
    for box, text in zip(boxes, axis.texts, strict=False):
        extent = text.get_window_extent(renderer)
        assert box.x0 < extent.x0 < extent.x1 < box.x1 and box.y0 < extent.y0 < extent.y1 < box.y1


@pytest.mark.parametrize("queries, objects", [(5, 2), (3, 3), (4, 1)])
def test_cost_table(queries, objects):
    generator = torch.Generator().manual_seed(0)
    classes, dice = torch.rand(2, queries, objects, generator=generator)
    query = assign(classes, dice)
    names = [f"object {n}" for n in range(objects)]
    figure = cost_figure({"class": classes, "Dice": dice}, query, names)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["class", "Dice"]
    for axis, cost in zip(figure.axes, (classes, dice), strict=True):
        written = {(int(text.get_position()[0]), int(text.get_position()[1])): text for text in axis.texts}
        for q in range(queries):
            for n in range(objects):
                assert written[q, n].get_text() == f"{cost[q, n]:.2f}"
        framed = [(round(patch.get_x() + 0.46), round(patch.get_y() + 0.44)) for patch in axis.patches]
        assert framed == [(q, n) for n, q in enumerate(query.tolist())]
        assert all(patch.get_edgecolor()[:3] == FRAME for patch in axis.patches)
        assert [label.get_text() for label in axis.get_yticklabels()] == names
