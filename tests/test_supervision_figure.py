"""The picture of what a model is trained with."""

import torch
from numpy.testing import assert_allclose
from tolerances import TOL

from maskfree_nb.data.clips import Clip
from maskfree_nb.viz.supervision import supervision_figure


def test_each_frame_has_the_boxes_of_the_objects_that_are_present():
    boxes = torch.tensor([[[2.0, 3.0, 10.0, 9.0], [torch.nan] * 4], [[5.0, 1.0, 8.0, 4.0]] * 2])
    frames = torch.zeros(2, 3, 24, 32, dtype=torch.uint8)
    figure = supervision_figure(Clip(frames, boxes, torch.tensor([1, 0]), None, 7, (4, 6)), ["disc", "star"])
    assert [panel.get_title() for panel in figure.axes] == ["frame 4", "frame 6"]
    first, second = figure.axes
    assert [text.get_text() for text in first.texts] == ["star", "disc"]
    assert [text.get_text() for text in second.texts] == ["disc"]
    assert_allclose(first.patches[0].get_bbox().bounds, (1.5, 2.5, 8, 6), **TOL["exact"])
    figure.draw_without_rendering()
