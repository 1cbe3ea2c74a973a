"""Refined masks: the mean field against its definition, what it may not do, and what it is good for."""

import math

import pytest
import torch
from tolerances import TOL
from torch.nn.functional import avg_pool2d, interpolate
from torch.testing import assert_close

from maskfree_nb.boxloss import refined_masks
from maskfree_nb.errors import InputError
from maskfree_nb.mean_field import NEIGHBOURS, OWN, REACH, ROUNDS, TOLERANCE


def by_definition(own: torch.Tensor, lab: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """The mean field of one frame, pixel by pixel: [H, W], [3, H, W], [H, W] -> [H, W] in 0..1."""
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
    return (torch.tensor(expected) + 1) / 2


def example(scale: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(3, 2, 4, 5, generator=generator)  # [N, T, h, w]
    lab = 12 * torch.rand(2, 2, 3, 4 * scale, 5 * scale, generator=generator)
    boxes = torch.zeros(3, 2, 4, 5)
    boxes[0, :, 1:4, 1:4] = boxes[1, 0, :2, :3] = boxes[2, :, 2:, :] = 1.0
    boxes[0, :, 1] = boxes[0, :, 1] * 0.5  # a box that ends within a pixel
    return logits, lab, boxes, torch.tensor([0, 1, 1])


@pytest.mark.parametrize("scale", [1, 2])
def test_it_is_the_mean_field_of_the_definition(scale):
    logits, lab, boxes, clips = example(scale)
    found = refined_masks(logits, lab, boxes, clip_index=clips)
    own = interpolate(logits, scale_factor=scale, mode="bilinear")
    inside = interpolate(boxes, scale_factor=scale) > 0
    for n in range(3):
        for t in range(2):
            fine = by_definition(own[n, t], lab[clips[n], t], inside[n, t])
            expected = avg_pool2d(fine[None], scale)[0] * boxes[n, t]
            assert_close(found[n, t], expected, **TOL["float32 sums"])


def test_nothing_is_drawn_outside_the_box_and_no_gradient_flows():
    logits, lab, boxes, clips = example(2)
    masks = refined_masks((logits + 9).requires_grad_(), lab, boxes, clip_index=clips)
    assert not masks.requires_grad
    assert (masks <= boxes).all() and (masks >= 0).all() and masks.max() > 0.9


def test_blurred_masks_come_back_to_the_edges_of_the_image():
    """An L of another colour than its ground, held for a blob: after it the blob is the L."""
    truth = torch.zeros(32, 32)
    truth[8:24, 8:14] = truth[18:24, 8:24] = 1.0
    lab = torch.stack([30 + 40 * truth, 5 * truth, -5 * truth])[None, None]
    coarse = avg_pool2d(truth[None, None], 2)
    blob = avg_pool2d(coarse, 3, 1, 1)
    logits = 6 * (blob / blob.max() - 0.3)
    boxes = torch.zeros(1, 1, 16, 16)
    boxes[..., 4:12, 4:12] = 1.0

    def wrong(masks: torch.Tensor) -> int:
        return int(((masks > 0.5) != (coarse > 0.5)).sum())

    assert wrong(logits.sigmoid()) > 10
    assert wrong(refined_masks(logits, lab, boxes)) == 0


def test_without_any_colour_the_network_keeps_its_word_where_it_is_sure():
    """One colour: neighbours smooth the mask, they do not undo it."""
    logits = torch.full((1, 1, 12, 12), -4.0)
    logits[..., 2:10, 2:10] = 4.0
    masks = refined_masks(logits, torch.zeros(1, 1, 3, 24, 24), torch.ones(1, 1, 12, 12))
    assert ((masks > 0.5) == (logits > 0)).float().mean() > 0.95


def test_each_instance_is_drawn_in_its_own_clip():
    logits, lab, boxes, clips = example(2)
    together = refined_masks(logits, lab, boxes, clip_index=clips)
    alone = [refined_masks(logits[n : n + 1], lab[clips[n : n + 1]], boxes[n : n + 1]) for n in range(3)]
    assert_close(together, torch.cat(alone), **TOL["exact"])


def test_absent_objects_and_no_instance():
    logits, lab, boxes, clips = example(2)
    absent = refined_masks(logits, lab, torch.zeros_like(boxes), clip_index=clips)
    assert not absent.any()
    assert refined_masks(logits[:0], lab, boxes[:0], clip_index=clips[:0]).shape == (0, 2, 4, 5)


def test_halves_are_computed_in_float32():
    logits, lab, boxes, clips = example(2)
    found = refined_masks(logits.bfloat16(), lab, boxes, clip_index=clips)
    assert found.dtype == torch.float32
    whole = refined_masks(logits.bfloat16().float(), lab, boxes, clip_index=clips)
    assert_close(found, whole, **TOL["exact"])


def test_arguments_that_do_not_fit_are_refused():
    logits, lab, boxes, clips = example(2)
    for bad in (lab[:, :1], lab[..., :9], lab[:, :, :2]):
        with pytest.raises(InputError, match=r"expected \[N, T, h, w\], \[B, T, 3, s h, s w\] and"):
            refined_masks(logits, bad, boxes, clip_index=clips)
    with pytest.raises(InputError, match="clip_index must name each instance's"):
        refined_masks(logits, lab, boxes)
