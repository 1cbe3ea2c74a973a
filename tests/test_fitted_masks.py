"""Masks drawn into boxes that are known."""

import torch

from maskfree_nb.fitted_masks import LEAST_SPAN, LIFTS, fit_to_boxes, span
from maskfree_nb.temporal_links import temporal_links

SIZE = (32, 32)


def filled(*corners: tuple[int, int, int, int]) -> torch.Tensor:
    """Boxes x1 y1 x2 y2 as bool [N, 32, 32]."""
    masks = torch.zeros(len(corners), *SIZE, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, corners, strict=True):
        mask[y1:y2, x1:x2] = True
    return masks


def fitted(logits: torch.Tensor, inside: torch.Tensor, lab: torch.Tensor | None = None):
    """Fit masks at the size of the frame, over a frame of one colour unless another is given."""
    lab = torch.zeros(3, *SIZE) if lab is None else lab
    masks, spans = fit_to_boxes(logits[:, None], lab[None], inside[:, None], inside[:, None], SIZE, SIZE)
    return masks[:, 0], spans[:, 0]


def test_span_is_the_lesser_share_of_rows_and_columns():
    box = filled((4, 4, 20, 12))  # 16 wide, 8 high
    assert span(filled((4, 4, 20, 12)), box).item() == 1
    assert span(filled((4, 4, 8, 12)), box).item() == 4 / 16
    assert span(filled((4, 4, 20, 6)), box).item() == 2 / 8
    assert span(filled((0, 0, 8, 32)), box).item() == 4 / 16, "what lies outside of the box counts nothing"
    assert span(box, torch.zeros_like(box)).isnan().all()


def test_a_mask_that_fills_its_box_is_left_as_it_is():
    inside = filled((6, 6, 26, 22))
    masks, spans = fitted(torch.where(inside, 3.0, -3.0), inside)
    assert masks.equal(inside) and spans.item() == 1


def test_a_mask_that_is_too_small_grows_to_the_sides_of_its_box_along_the_colours():
    inside = filled((4, 4, 28, 28))
    whole = filled((8, 4, 24, 28), (4, 8, 28, 24)).any(0, keepdim=True)  # a cross that touches all four sides
    lab = torch.where(whole, 80.0, 20.0).expand(3, *SIZE)
    core = filled((12, 12, 20, 20))
    masks, spans = fitted(torch.where(core, 4.0, torch.where(whole, -1.5, -9.0)), inside, lab)
    assert spans.item() < LEAST_SPAN, "as the network drew it, it was too small"
    assert span(masks, inside).item() >= LEAST_SPAN
    assert masks.equal(whole)


def test_a_mask_that_never_reaches_its_sides_keeps_the_most_that_it_was_raised_to():
    inside = filled((4, 4, 28, 28))
    masks, spans = fitted(torch.full((1, *SIZE), -20.0), inside)
    assert not masks.any() and spans.item() == 0
    assert LIFTS[0] == 0 and list(LIFTS) == sorted(LIFTS)


def test_a_small_mask_does_not_vanish_where_all_around_looks_alike():
    inside = filled((10, 10, 13, 13))
    masks, spans = fitted(torch.where(inside, 6.0, -6.0), inside)
    assert masks.equal(inside), "the field alone would leave nothing of it"
    assert spans.item() == 0


def test_nothing_is_raised_where_no_span_is_asked_for():
    inside = filled((4, 4, 28, 28))
    core = torch.where(filled((12, 12, 20, 20)), 4.0, -1.5)
    given = (core[None], torch.zeros(1, 3, *SIZE), inside[None], inside[None], SIZE, SIZE)
    plain, spans = fit_to_boxes(*given, least_span=0)
    raised, same = fit_to_boxes(*given, least_span=1)
    assert plain.sum() < raised.sum() and spans.equal(same)


def test_objects_do_not_disturb_each_other_and_absent_ones_have_nothing():
    inside = torch.cat(
        [filled((2, 2, 14, 14)), torch.zeros(1, *SIZE, dtype=torch.bool), filled((16, 4, 30, 30))]
    )
    logits = torch.where(inside, 2.0, -2.0)
    logits[2, :, 20:] = -2.0  # the third reaches a part of its columns alone
    masks, spans = fitted(logits, inside)
    assert spans[0] == 1 and spans[1].isnan() and spans[2] < LEAST_SPAN
    assert not masks[1].any() and not (masks & ~inside).any()
    for number in (0, 2):
        alone, span_alone = fitted(logits[number : number + 1], inside[number : number + 1])
        assert masks[number].equal(alone[0]) and spans[number] == span_alone[0]


def test_the_video_may_be_of_another_size_than_the_frame_seen():
    inside = filled((4, 4, 28, 28)).repeat_interleave(2, 1).repeat_interleave(2, 2)  # 64 x 64
    cells = filled((4, 4, 28, 28))[:, ::2, ::2]  # the colour map: 16 x 16
    logits = torch.where(filled((4, 4, 28, 28))[:, ::4, ::4], 5.0, -5.0)  # the mask map: 8 x 8
    colours = torch.zeros(1, 3, 16, 16)
    masks, spans = fit_to_boxes(logits[None], colours, cells[None], inside[None], SIZE, SIZE)
    assert masks.shape == (1, 1, 64, 64) and spans.item() >= LEAST_SPAN
    assert (masks & inside).sum() / inside.sum() > 0.9


def two_frames() -> tuple[torch.Tensor, ...]:
    """Two objects over two frames, the second absent in the first: logits, colours and filled boxes."""
    inside = torch.stack([filled((4, 4, 28, 28), (2, 2, 2, 2)), filled((4, 4, 28, 28), (1, 20, 13, 31))], 1)
    logits = torch.where(inside, 3.0, -3.0)
    logits[0, 1, :, 16:] = -1.5  # in its second frame the first object is seen by half
    texture = 8 * torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
    return logits, texture + 40 * inside[0].unsqueeze(1), inside


def test_frames_drawn_together_without_links_are_the_frames_drawn_one_by_one():
    logits, lab, inside = two_frames()
    masks, spans = fit_to_boxes(logits, lab, inside, inside, SIZE, SIZE, least_span=0.9)
    for t in range(2):
        one = slice(t, t + 1)
        alone = fit_to_boxes(
            logits[:, one], lab[one], inside[:, one], inside[:, one], SIZE, SIZE, least_span=0.9
        )
        assert masks[:, one].equal(alone[0])
        assert spans[:, one].nan_to_num(-1).equal(alone[1].nan_to_num(-1))


def test_along_links_one_frame_mends_the_other():
    logits, lab, inside = two_frames()
    given = (logits, lab, inside, inside, SIZE, SIZE)
    _, alone = fit_to_boxes(*given)
    masks, spans = fit_to_boxes(*given, links=temporal_links(lab))
    assert alone[0, 1] < 0.6 < 0.95 < spans[0, 1], "what the first frame saw is drawn in the second"
    assert masks[0].equal(inside[0]) and not (masks & ~inside).any()
    assert spans[1, 0].isnan() and not masks[1, 0].any()
