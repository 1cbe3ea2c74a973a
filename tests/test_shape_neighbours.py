"""K nearest shapes: objects of a class tell each other what they look like."""

import math

import pytest
import torch
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb import shape_neighbours
from maskfree_nb.shape_neighbours import (
    GRID,
    LEAST_SPAN,
    K,
    Shapes,
    crop_to_boxes,
    describe_boxes,
    nearest_shapes,
    spread_over_frames,
)


def shapes_of(maps: torch.Tensor, labels=None, tracks=None, boxes=None) -> Shapes:
    """Shapes in equal boxes away from the frame's edges, each of its own track, if nothing is said."""
    count = len(maps)
    if boxes is None:
        boxes = torch.tensor([4.0, 4.0, 28.0, 28.0]).expand(count, 4)
    labels = torch.zeros(count).long() if labels is None else labels
    tracks = torch.arange(count) if tracks is None else tracks
    return Shapes(maps, labels, tracks, *describe_boxes(boxes, (32, 48)))


def cross(half: int = 4) -> torch.Tensor:
    """A cross that reaches all sides of its box, [GRID, GRID]."""
    arm = (torch.arange(GRID) - (GRID - 1) / 2).abs() < half
    return (arm[:, None] | arm).float()


def test_a_map_is_read_at_the_cells_of_its_box():
    y, x = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(48) + 0.5, indexing="ij")
    boxes = torch.tensor([[4.0, 4.0, 28.0, 28.0], [8.0, 2.0, 20.0, 14.0]])
    cells = (torch.arange(GRID) + 0.5) / GRID
    low, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    for axis, values in enumerate((x, y)):
        cropped = crop_to_boxes(values.expand(2, -1, -1), boxes, (32, 48))
        along = cropped[:, :, 0] if axis else cropped[:, 0]
        assert_close(along, low[:, axis, None] + cells * size[:, axis, None], **TOL["shapes"])


@pytest.mark.parametrize("stride", [1, 2])
def test_a_shape_put_back_into_its_box_is_where_it_was(stride):
    box = torch.tensor([[4.0, 6.0, 28.0, 30.0]])  # a pixel a cell
    spread = spread_over_frames(cross()[None], box, (32, 48), stride)
    assert spread.shape == (1, 32 // stride, 48 // stride)
    if stride == 1:
        assert_close(spread[0, 6:30, 4:28], cross(), **TOL["shapes"])
        assert_close(crop_to_boxes(spread, box, (32, 48))[0], cross(), **TOL["shapes"])
    gone = spread_over_frames(cross()[None], torch.full((1, 4), torch.nan), (32, 48), stride)
    assert gone.eq(0).all()


def test_a_box_is_described_by_its_form_and_by_what_the_frame_cuts_off():
    boxes = torch.tensor([[0.0, 0.0, 20.0, 10.0], [10.0, 22.0, 48.0, 32.0], [1.0, 1.0, 9.0, 9.0]])
    aspects, cut = describe_boxes(boxes, (32, 48))
    assert_close(aspects, torch.tensor([math.log(2), math.log(3.8), 0.0]), **TOL["shapes"])
    assert cut.tolist() == [[True, True, False, False], [False, False, True, True], [False] * 4]


def naive(shapes: Shapes) -> torch.Tensor:
    """The definition, one shape and one cell sum after the other."""
    answers = shapes.maps.clone()
    inside = shapes.maps > 0.5
    whole = [min(m.any(0).sum(), m.any(1).sum()) >= LEAST_SPAN * GRID for m in inside]
    for m in range(len(answers)):
        found = []
        for s in range(len(answers)):
            if shapes.labels[s] != shapes.labels[m] or shapes.tracks[s] == shapes.tracks[m] or not whole[s]:
                continue
            left, top, right, bottom = shapes.cut[s].tolist()
            for asked, cut in (
                (shapes.maps[s], [left, top, right, bottom]),
                (shapes.maps[s].flip(1), [right, top, left, bottom]),
            ):
                given = shapes.maps[m]
                distance = (given * (1 - asked) + 0.8 * (1 - given) * asked).mean()
                distance += 0.1 * (shapes.aspects[m] - shapes.aspects[s]) ** 2
                distance += 0.035 * sum(a != b for a, b in zip(shapes.cut[m].tolist(), cut, strict=True))
                found.append((float(distance), asked))
        if len(found) >= K:
            nearest = sorted(found, key=lambda pair: pair[0])[:K]
            weights = [math.exp(-2 * distance / nearest[0][0]) for distance, _ in nearest]
            answers[m] = sum(w * asked for w, (_, asked) in zip(weights, nearest, strict=True)) / sum(weights)
    return answers


def test_it_is_the_weighted_mean_of_the_definition():
    draws = torch.Generator().manual_seed(0)
    maps = torch.rand(70, GRID, GRID, generator=draws)
    maps[::7, :6] = 0.1  # not whole: not asked, but answered
    corners = torch.rand(70, 2, generator=draws) * 10 - 2
    sizes = 8 + 20 * torch.rand(70, 2, generator=draws)
    boxes = torch.cat([corners.clamp(min=0), corners.clamp(min=0) + sizes], 1)
    labels = (torch.rand(70, generator=draws) < 0.3).long()
    labels[-5:] = 2  # too few to ask
    shapes = shapes_of(maps, labels, torch.arange(70) // 3, boxes)
    assert shapes.cut.any() and not shapes.cut.all()
    answers = nearest_shapes(shapes)
    assert_close(answers, naive(shapes), **TOL["shapes"])
    assert answers[-5:].equal(maps[-5:]) and not answers[0].equal(maps[0])


def test_what_an_object_lost_others_of_its_class_give_back():
    maps = torch.stack([cross(half) for half in (3, 4, 5) for _ in range(10)])
    torn = maps.clone()
    torn[0, :, : GRID // 2] = 0  # a cross of half-width 3 without its left half
    answers = nearest_shapes(shapes_of(torn))
    left = (answers[0] > 0.5)[:, : GRID // 2]
    assert ((left != maps[0, :, : GRID // 2].bool()).float().mean() < 0.1) and left[:, 0].any()
    assert ((answers[1:] > 0.5).float() - maps[1:]).abs().mean() < 0.03  # those that are whole stay


def test_other_frames_of_its_own_track_are_not_asked():
    maps = torch.stack([cross(3)] * 25 + [cross(6)] * 25)
    tracks = torch.cat([torch.zeros(25).long(), torch.arange(1, 26)])
    answers = nearest_shapes(shapes_of(maps, tracks=tracks))
    assert_close(answers[0], cross(6), **TOL["shapes"])
    few = nearest_shapes(shapes_of(maps[:35], tracks=tracks[:35]))  # ten others, each with its mirror image
    assert_close(few[0], cross(6), **TOL["shapes"])
    fewer = nearest_shapes(shapes_of(maps[:34], tracks=tracks[:34]))
    assert fewer[0].equal(maps[0])


def test_mirrored_shapes_are_asked():
    hook = cross(3)
    hook[:6, : GRID // 2] = 1
    hook[0, -1] = 1
    answers = nearest_shapes(shapes_of(torch.stack([hook] * 21 + [hook.flip(1)])))
    assert_close(answers[-1], hook.flip(1), **TOL["shapes"])


def test_of_a_large_class_evenly_spaced_ones_are_asked(monkeypatch):
    monkeypatch.setattr(shape_neighbours, "MOST", 20)
    maps = torch.stack([cross(3), cross(6)] * 30)  # 60 shapes: every third is asked, 3 and 6 by turns
    answers = nearest_shapes(shapes_of(maps))
    assert not answers[1].equal(cross(3)) and (answers[1] > 0.5).equal(cross(6) > 0.5)
    monkeypatch.setattr(shape_neighbours, "MOST", 30)  # every second: none but those of half-width 3
    assert_close(nearest_shapes(shapes_of(maps))[1], cross(3), **TOL["shapes"])
