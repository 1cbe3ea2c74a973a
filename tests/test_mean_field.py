"""The mean field against its definition, what it is good for, and what it may not do."""

import math

import pytest
import torch
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.mean_field import (
    KEPT,
    NEIGHBOURS,
    OTHER_FRAMES,
    OWN,
    REACH,
    ROUNDS,
    ROUNDS_LINKED,
    TOLERANCE,
    mean_field,
)
from maskfree_nb.temporal_links import Links, temporal_links


def by_definition(
    own: torch.Tensor, lab: torch.Tensor, inside: torch.Tensor, links: Links | None = None
) -> torch.Tensor:
    """The mean field of one mask, pixel by pixel: [T, H, W], [T, 3, H, W], [T, H, W] -> [T, H, W]."""
    height, width = own.shape[1:]
    own = own.clamp(-OWN, OWN)
    expected = torch.where(inside, torch.tanh(own / 2), -1.0)
    for _ in range(ROUNDS if links is None else ROUNDS_LINKED):
        after = expected.clone()
        for t, y, x in inside.nonzero().tolist():
            heard = total = 0.0
            for v in range(max(0, y - REACH), min(height, y + REACH + 1)):
                for u in range(max(0, x - REACH), min(width, x + REACH + 1)):
                    if (v, u) != (y, x):
                        squared = float((lab[t, :, y, x] - lab[t, :, v, u]).square().sum())
                        weight = math.exp(-squared / (2 * TOLERANCE**2))
                        heard, total = heard + weight * float(expected[t, v, u]), total + weight
            field = float(own[t, y, x]) + NEIGHBOURS * heard / max(total, 1)
            if links is not None:
                row = (t * height + y) * width + x
                linked = zip(links.places[row].tolist(), links.weights[row].tolist(), strict=True)
                words = [(weight * float(expected.flatten()[place]), weight) for place, weight in linked]
                field += OTHER_FRAMES * sum(w for w, _ in words) / max(sum(w for _, w in words), 1)
            kept = 0 if links is None else KEPT
            after[t, y, x] = kept * expected[t, y, x] + (1 - kept) * math.tanh(field / 2)
        expected = after
    return expected


def example(height: int = 8, width: int = 9, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Two masks over two frames; the second frame is of nearly one colour, one mask has no place in it."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 2, height, width, generator=generator)
    lab = torch.tensor([12.0, 1.0]).view(2, 1, 1, 1) * torch.rand(2, 3, height, width, generator=generator)
    inside = torch.zeros(2, 2, height, width, dtype=torch.bool)
    inside[0, 0, 2:, 1:-2] = inside[1] = True
    return logits, lab, inside


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("size", [(8, 9), (2, 9), (1, 1)])
def test_it_is_the_mean_field_of_the_definition(size, linked):
    logits, lab, inside = example(*size)
    links = temporal_links(lab) if linked else None
    links = links and links._replace(weights=links.weights.double())
    logits, lab = logits.double(), lab.double()  # what is rounded grows from round to round
    found = mean_field(logits, lab, inside, links)
    for n in range(2):
        assert_close(found[n], by_definition(logits[n], lab, inside[n], links), **TOL["float32 sums"])


def test_nothing_is_drawn_where_a_mask_may_not_be_and_no_gradient_flows():
    logits, lab, inside = example()
    for links in (None, temporal_links(lab)):
        found = mean_field((logits + 9).requires_grad_(), lab, inside, links)
        assert not found.requires_grad
        assert (found[~inside] == -1).all() and found[inside].max() > 0.9


def test_blurred_masks_come_back_to_the_edges_of_the_image():
    """An L of another colour than its ground, held for a blob: after it the blob is the L."""
    truth = torch.zeros(24, 24)
    truth[4:20, 4:10] = truth[14:20, 4:20] = 1.0
    lab = torch.stack([30 + 40 * truth, 5 * truth, -5 * truth])[None]
    blob = torch.nn.functional.avg_pool2d(truth[None], 7, 1, 3)
    logits = 6 * (blob - 0.3)[None]
    assert ((logits > 0) != (truth > 0)).sum() > 40
    found = mean_field(logits, lab, torch.ones(1, 1, 24, 24, dtype=torch.bool))
    assert ((found > 0) == (truth > 0)).all()


def test_in_one_colour_a_sure_mask_keeps_its_place():
    logits = torch.full((1, 1, 24, 24), -4.0)
    logits[..., 4:20, 4:20] = 4.0
    found = mean_field(logits, torch.zeros(1, 3, 24, 24), torch.ones(1, 1, 24, 24, dtype=torch.bool))
    assert ((found > 0) == (logits > 0)).float().mean() > 0.95  # corners are rounded


def test_what_one_frame_knows_reaches_the_others_along_links_alone():
    """A textured square that moves by (2, 3) a frame: sure in the outer frames, unseen in the middle one."""
    generator = torch.Generator().manual_seed(1)
    ground, square = (8 * torch.rand(3, 24, 24, generator=generator) + light for light in (20, 60))
    lab, truth = ground.repeat(3, 1, 1, 1), torch.zeros(3, 24, 24, dtype=torch.bool)
    for t in range(3):
        y, x = 4 + 2 * t, 4 + 3 * t
        lab[t, :, y : y + 9, x : x + 9] = square[:, :9, :9]
        truth[t, y : y + 9, x : x + 9] = True
    logits = torch.where(truth, 4.0, -4.0)[None]
    logits[:, 1] = -0.2
    everywhere = torch.ones(1, 3, 24, 24, dtype=torch.bool)
    alone = mean_field(logits, lab, everywhere) > 0
    linked = mean_field(logits, lab, everywhere, temporal_links(lab)) > 0
    assert not alone[0, 1].any()
    assert linked[0].equal(truth)


def test_two_frames_that_contradict_agree_in_the_end():
    """Each pixel is linked to its own place in the other frame: without memory the two swap for ever."""
    lab = (70 * torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0))).repeat(2, 1, 1, 1)
    logits = torch.full((1, 2, 12, 12), 3.0)
    logits[:, 1] = -1.5  # the first is surer
    found = mean_field(logits, lab, torch.ones(1, 2, 12, 12, dtype=torch.bool), temporal_links(lab))
    assert (found > 0.9).all()


def test_masks_do_not_hear_each_other_and_no_mask_is_fine():
    logits, lab, inside = example()
    for links in (None, temporal_links(lab)):
        together = mean_field(logits, lab, inside, links)
        for n in range(2):
            alone = mean_field(logits[n : n + 1], lab, inside[n : n + 1], links)
            assert_close(together[n], alone[0], **TOL["exact"])
        assert mean_field(logits[:0], lab, inside[:0], links).shape == (0, 2, 8, 9)


def test_frames_do_not_hear_each_other_without_links():
    logits, lab, inside = example()
    together = mean_field(logits, lab, inside)
    for t in range(2):
        alone = mean_field(logits[:, t : t + 1], lab[t : t + 1], inside[:, t : t + 1])
        assert_close(together[:, t], alone[:, 0], **TOL["exact"])
