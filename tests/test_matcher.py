"""The assignment of queries to objects: golden costs, and the closed form against sampling."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import oracle_folder
from hypothesis import given
from hypothesis import strategies as st
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.matcher import assign, box_dice_cost, class_cost, mask_bounding_boxes, mask_dice_cost


def matching_goldens() -> list[Path]:
    return [
        path
        for path in sorted((oracle_folder() / "tk_loss").glob("*.npz"))
        if "assign_exact" in np.load(path)
    ]


@pytest.fixture(params=matching_goldens(), ids=lambda path: path.stem)
def golden(request) -> dict[str, torch.Tensor]:
    with np.load(request.param) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def test_there_are_goldens():
    assert matching_goldens()


@pytest.mark.oracle
def test_costs_and_assignment(golden):
    pred_boxes = mask_bounding_boxes(golden["pred_masks"] > 0)
    boxes = mask_bounding_boxes(golden["inst_masks"] > 0)
    pred_hw, hw = golden["pred_masks"].shape[-2:], golden["inst_masks"].shape[-2:]
    dice = box_dice_cost(pred_boxes, boxes, pred_hw, hw)
    classes = class_cost(golden["pred_logits"], golden["labels"])
    assert_close(dice, golden["cost_dice_exact"], **TOL["oracle matching cost"])
    assert_close(
        box_dice_cost(pred_boxes, boxes, pred_hw, hw, points=None),
        golden["cost_dice_limit"],
        **TOL["oracle matching cost"],
    )
    assert_close(classes.double(), golden["cost_class"], **TOL["oracle class cost"])
    queries, instances = golden["assign_exact"]
    expected = torch.empty_like(queries)
    expected[instances] = queries
    assert torch.equal(assign(classes, dice), expected)


@pytest.mark.oracle
def test_predicted_boxes(golden):
    boxes = mask_bounding_boxes(golden["pred_masks"] > 0)
    height, width = golden["pred_masks"].shape[-2:]
    y, x = torch.arange(height)[:, None], torch.arange(width)
    x1, y1, x2, y2 = boxes[..., None, None].unbind(2)
    filled = (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
    assert torch.equal(filled.to(torch.uint8), golden["pred_box_masks"])


@pytest.mark.oracle
def test_cost_on_mask_cells(golden):
    logits = golden["pred_box_masks"].double() * 200 - 100
    dice = mask_dice_cost(logits, golden["box_masks"])
    assert_close(dice.double(), golden["cost_dice_maskres"], **TOL["oracle class cost"])
    classes = class_cost(golden["pred_logits"], golden["labels"])
    queries, instances = golden["assign_maskres"]
    assert torch.equal(assign(classes, dice)[instances], queries)


@given(st.integers(0, 10_000))
def test_closed_form_is_the_limit_of_fine_sampling(seed):
    rng = np.random.default_rng(seed)
    h, w, H, W = rng.integers(3, 9, 4).tolist()

    def boxes(count: int, height: int, width: int) -> torch.Tensor:
        ends = np.sort(
            np.stack([rng.integers(0, size + 1, (count, 2, 2)) for size in (width, height)], -1), -2
        )
        return torch.from_numpy(ends.reshape(count, 2, 4)).float()

    pred, target = boxes(3, h, w), boxes(2, H, W)
    steps = 400
    points = (torch.arange(steps) + 0.5) / steps

    def profile(low, high, cells, points):
        cover = ((points * cells + 0.5).minimum(high) - (points * cells - 0.5).maximum(low)).clamp(min=0)
        return cover * (high > low)

    def fill(boxes, height, width):
        x1, y1, x2, y2 = boxes[..., None].unbind(-2)
        return profile(y1, y2, height, points)[..., :, None] * profile(x1, x2, width, points)[..., None, :]

    a, b = fill(pred, h, w).flatten(1), fill(target, H, W).flatten(1)
    sampled = 1 - 2 * (a @ b.T) / (a.sum(1)[:, None] + b.sum(1)[None]).clamp(min=1e-9)
    exact = box_dice_cost(pred, target, (h, w), (H, W), points=None)
    some = (a.sum(1)[:, None] + b.sum(1)[None]) > 0
    assert_close(exact[some], sampled[some].double(), **TOL["sampled integral"])


def test_absent_and_empty_boxes_cost_one():
    nothing = torch.full((1, 2, 4), torch.nan)
    box = torch.tensor([[[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0]]])
    assert box_dice_cost(nothing, box, (4, 4), (4, 4), points=None).item() == 1.0
    assert box_dice_cost(box, box, (4, 4), (4, 4), points=None).item() < 0.1  # blurred edges, so not 0


def test_assign_more_objects_than_queries():
    with pytest.raises(ValueError, match="3 objects but only 2 queries"):
        assign(torch.zeros(2, 3), torch.zeros(2, 3))


def test_assign_without_objects():
    assert assign(torch.zeros(4, 0), torch.zeros(4, 0)).shape == (0,)


def test_bounding_boxes():
    masks = torch.zeros(2, 5, 7, dtype=torch.bool)
    masks[0, 1:3, 2:6] = True
    assert_close(mask_bounding_boxes(masks), torch.tensor([[2.0, 1, 6, 3], [torch.nan] * 4]), equal_nan=True)
