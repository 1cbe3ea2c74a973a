"""The mean field against its definition, what it is good for, and what it may not do."""

import math

import pytest
import torch
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.mean_field import NEIGHBOURS, OWN, REACH, ROUNDS, TOLERANCE, mean_field


def by_definition(own: torch.Tensor, lab: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """The mean field of one mask, pixel by pixel: [H, W], [3, H, W], [H, W] -> [H, W] in -1..1."""
    height, width = own.shape
    own = own.clamp(-OWN, OWN)
    expected = [
        [math.tanh(own[y, x] / 2) if inside[y, x] else -1.0 for x in range(width)] for y in range(height)
    ]
    for _ in range(ROUNDS):
        after = [row[:] for row in expected]
        for y in range(height):
            for x in range(width):
                if not inside[y, x]:
                    continue
                heard = total = 0.0
                for v in range(max(0, y - REACH), min(height, y + REACH + 1)):
                    for u in range(max(0, x - REACH), min(width, x + REACH + 1)):
                        if (v, u) != (y, x):
                            squared = float((lab[:, y, x] - lab[:, v, u]).square().sum())
                            weight = math.exp(-squared / (2 * TOLERANCE**2))
                            heard, total = heard + weight * expected[v][u], total + weight
                after[y][x] = math.tanh((own[y, x] + NEIGHBOURS * heard / max(total, 1)) / 2)
        expected = after
    return torch.tensor(expected)


def example(height: int = 8, width: int = 9, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Three masks of two images; the second image is of nearly one colour, the third mask has no place."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(3, height, width, generator=generator)
    lab = torch.tensor([12.0, 1.0]).view(2, 1, 1, 1) * torch.rand(2, 3, height, width, generator=generator)
    inside = torch.zeros(3, height, width, dtype=torch.bool)
    inside[0, 2:, 1:-2] = inside[1] = True
    return logits, lab, inside, torch.tensor([0, 1, 1])


@pytest.mark.parametrize("size", [(8, 9), (2, 9), (1, 1)])
def test_it_is_the_mean_field_of_the_definition(size):
    logits, lab, inside, images = example(*size)
    found = mean_field(logits, lab, inside, images)
    for n in range(3):
        assert_close(found[n], by_definition(logits[n], lab[images[n]], inside[n]), **TOL["float32 sums"])


def test_nothing_is_drawn_where_a_mask_may_not_be_and_no_gradient_flows():
    logits, lab, inside, images = example()
    found = mean_field((logits + 9).requires_grad_(), lab, inside, images)
    assert not found.requires_grad
    assert (found[~inside] == -1).all() and found[inside].max() > 0.9


def test_blurred_masks_come_back_to_the_edges_of_the_image():
    """An L of another colour than its ground, held for a blob: after it the blob is the L."""
    truth = torch.zeros(24, 24)
    truth[4:20, 4:10] = truth[14:20, 4:20] = 1.0
    lab = torch.stack([30 + 40 * truth, 5 * truth, -5 * truth])[None]
    blob = torch.nn.functional.avg_pool2d(truth[None], 7, 1, 3)
    logits = 6 * (blob - 0.3)
    everywhere = torch.ones(1, 24, 24, dtype=torch.bool)
    assert ((logits > 0) != (truth > 0)).sum() > 40
    found = mean_field(logits, lab, everywhere, torch.zeros(1, dtype=torch.int64))
    assert ((found > 0) == (truth > 0)).all()


def test_in_one_colour_a_sure_mask_keeps_its_place():
    logits = torch.full((1, 24, 24), -4.0)
    logits[:, 4:20, 4:20] = 4.0
    everywhere = torch.ones(1, 24, 24, dtype=torch.bool)
    found = mean_field(logits, torch.zeros(1, 3, 24, 24), everywhere, torch.zeros(1, dtype=torch.int64))
    assert ((found > 0) == (logits > 0)).float().mean() > 0.95  # corners are rounded


def test_masks_do_not_hear_each_other_and_no_mask_is_fine():
    logits, lab, inside, images = example()
    together = mean_field(logits, lab, inside, images)
    for n in range(3):
        alone = mean_field(logits[n : n + 1], lab, inside[n : n + 1], images[n : n + 1])
        assert_close(together[n], alone[0], **TOL["exact"])
    assert mean_field(logits[:0], lab, inside[:0], images[:0]).shape == (0, 8, 9)
