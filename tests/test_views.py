"""Views: boxes and masks go with the pixels through crop, resize and mirroring."""

import drawn_videos
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from maskfree_nb.data.views import View


@st.composite
def rectangles_in_views(draw, resized):
    """A frame's mask [1, 1, H, W] of one rectangle, its box, and a view of the frame."""
    height, width = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    x0, x1 = sorted(draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True)))
    left, right = sorted(draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True)))
    h, w = bottom - top, right - left
    out_h, out_w = (draw(st.integers(1, 60)), draw(st.integers(1, 60))) if resized else (h, w)
    mask = torch.zeros(1, 1, height, width, dtype=torch.bool)
    mask[..., y0:y1, x0:x1] = True
    box = torch.tensor([[[x0, y0, x1, y1]]], dtype=torch.float32)
    return mask, box, View(top, left, h, w, out_h, out_w, draw(st.booleans()))


@settings(deadline=None)
@given(rectangles_in_views(resized=False))
def test_cropped_and_mirrored_boxes_are_tight(case):
    mask, box, view = case
    seen = view.frames((mask * 255).to(torch.uint8).expand(-1, 3, -1, -1))
    assert seen.shape == (1, 3, view.height, view.width)
    expected = drawn_videos.tight_boxes(seen[None, :, 0] > 127)
    assert_close(view.boxes(box), expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(view.masks(mask)[0, 0], seen[0, 0] > 127)


def centres_to_box(size, low, high):
    """Signed distance of each pixel's centre to the interval [low, high], positive inside."""
    centres = torch.arange(size, dtype=torch.float64) + 0.5
    return torch.minimum(centres - low, high - centres)


@settings(deadline=None)
@given(rectangles_in_views(resized=True))
def test_resized_boxes_are_tight(case):
    mask, box, view = case
    seen = view.frames((mask * 255).to(torch.uint8).expand(-1, 3, -1, -1))[0, 0]
    seen_mask = view.masks(mask)[0, 0]
    x0, y0, x1, y1 = view.boxes(box)[0, 0].tolist()
    assert seen.shape == seen_mask.shape == (view.out_height, view.out_width)
    if np.isnan(x0):
        assert not seen_mask.any() and not seen.any()
        return
    assert 0 <= x0 < x1 <= view.out_width and 0 <= y0 < y1 <= view.out_height
    columns, rows = centres_to_box(view.out_width, x0, x1), centres_to_box(view.out_height, y0, y1)
    inside = torch.minimum(rows[:, None], columns)
    clear = inside.abs() > 1e-3  # elsewhere rounding decides on which side of the edge the centre is
    assert torch.equal(seen_mask[clear], inside[clear] > 0)

    # the filter reaches one pixel far, of the frame or of the clip, whichever is the larger
    reach_x, reach_y = max(view.out_width / view.width, 1), max(view.out_height / view.height, 1)
    at_left, at_right = (x0 == 0, x1 == view.out_width)  # no edge is seen at the border of the view
    at_top, at_bottom = (y0 == 0, y1 == view.out_height)
    edge_x = centres_to_box(view.out_width, -torch.inf if at_left else x0, torch.inf if at_right else x1)
    edge_y = centres_to_box(view.out_height, -torch.inf if at_top else y0, torch.inf if at_bottom else y1)
    whole = (edge_y[:, None] > reach_y + 1e-3) & (edge_x > reach_x + 1e-3)
    assert (seen[whole] == 255).all()
    outside = (edge_y[:, None] < -reach_y - 1e-3) | (edge_x < -reach_x - 1e-3)
    assert (seen[outside] == 0).all()


def test_absent_and_small_boxes():
    view = View(0, 0, 10, 20, 5, 10, mirrored=True)
    boxes = torch.tensor([[[torch.nan] * 4, [2, 2, 6, 8]], [[0, 0, 1, 9], [0, 0, 2, 9]]])
    nan = [torch.nan] * 4
    assert_close(
        view.boxes(boxes, min_size=1),
        torch.tensor([[nan, [7, 1, 9, 4]], [nan, [9, 0, 10, 4.5]]]),
        rtol=0,
        atol=0,
        equal_nan=True,
    )
    assert view.boxes(torch.zeros(0, 2, 4)).shape == (0, 2, 4)
    assert view.masks(torch.zeros(0, 2, 10, 20, dtype=torch.bool)).shape[:2] == (0, 2)
