"""The fill loss: nothing for masks that fill enough of their boxes, a pull for those that do not."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.boxloss import fill_loss
from maskfree_nb.errors import InputError

BOX = torch.zeros(1, 1, 6, 8)
BOX[..., 1:5, 2:7] = 1  # 20 pixels


def filled(columns: int) -> torch.Tensor:
    """Logits of a mask of that many of the box's five columns."""
    logits = torch.full((1, 1, 1, 6, 8), -60.0, dtype=torch.float64)
    logits[..., 1:5, 2 : 2 + columns] = 60.0
    return logits


@pytest.mark.parametrize("columns", range(1, 6))
def test_the_loss_is_the_logarithm_of_what_lacks(columns):
    share = columns / 5
    expected = max(0.0, math.log(0.5) - math.log(share))
    found = fill_loss(filled(columns), BOX, 0.5)
    assert_close(found, torch.tensor([expected], dtype=torch.float64), **TOL["float64"])


def test_what_is_outside_the_box_does_not_count():
    logits = filled(1)
    logits[..., 0, :] = logits[..., :, 0] = 60.0
    assert_close(fill_loss(logits, BOX, 0.5), fill_loss(filled(1), BOX, 0.5), **TOL["float64"])


def test_a_mask_that_fills_enough_has_no_gradient_and_another_is_pulled_inside_its_box_alone():
    enough = filled(3).clamp(-2, 2).requires_grad_()
    fill_loss(enough, BOX, 0.4).sum().backward()
    assert not enough.grad.any()
    lacking = filled(1).clamp(-2, 2).requires_grad_()
    fill_loss(lacking, BOX, 0.9).sum().backward()
    assert (lacking.grad[0, BOX > 0] < 0).all() and not lacking.grad[0, BOX == 0].any()


def test_a_mask_that_fills_just_enough_has_no_gradient():
    logits = torch.zeros(1, 1, 1, 6, 8, requires_grad=True)  # 0.5 everywhere
    loss = fill_loss(logits, BOX, 0.5)
    loss.sum().backward()
    assert loss.tolist() == [0] and not logits.grad.any()


def test_the_gradient_is_that_of_the_definition():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    boxes = (torch.rand(3, 2, 5, 4, dtype=torch.float64) * 2).clamp(max=1)
    torch.autograd.gradcheck(lambda x: fill_loss(x - 1, boxes, 0.7), logits)


def test_absent_boxes_do_not_count_and_no_instance_gives_zero():
    boxes = torch.cat([BOX, torch.zeros_like(BOX)])  # the second object is absent
    logits = torch.cat([filled(1), filled(2)], dim=1)
    assert_close(fill_loss(logits, boxes, 0.5), fill_loss(filled(1), BOX, 0.5), **TOL["float64"])
    nobody = torch.zeros(3, 0, 2, 4, 4, requires_grad=True)
    loss = fill_loss(nobody, torch.zeros(0, 2, 4, 4), 0.5)
    assert loss.tolist() == [0, 0, 0]
    loss.sum().backward()
    absent = torch.zeros(1, 1, 1, 6, 8, requires_grad=True)
    fill_loss(absent, torch.zeros_like(BOX), 0.5).sum().backward()
    assert not absent.grad.any()


@given(st.floats(-40, 40), st.floats(0.05, 1.0))
def test_any_logit_gives_a_finite_loss_and_gradient(value, floor):
    logits = torch.full((1, 1, 1, 6, 8), value, requires_grad=True)
    loss = fill_loss(logits, BOX, floor)
    loss.sum().backward()
    assert torch.isfinite(loss).all() and (loss >= 0).all() and torch.isfinite(logits.grad).all()


def test_halves_are_computed_in_float32():
    logits = filled(1).clamp(-3, 3).bfloat16()
    found = fill_loss(logits, BOX, 0.5)
    assert_close(found, fill_loss(logits.float(), BOX, 0.5), **TOL["exact"])


@pytest.mark.parametrize("floor", [0.0, -0.1, 1.1])
def test_a_floor_that_is_no_share_is_refused(floor):
    with pytest.raises(InputError, match=r"floor is .*, expected a share of the box"):
        fill_loss(filled(1), BOX, floor)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"expected \[L, N, T, h, w\] and \[N, T, h, w\]"):
        fill_loss(filled(1), BOX[:, :, :4], 0.5)
