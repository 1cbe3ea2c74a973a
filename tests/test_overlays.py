"""Overlays: what is coloured, what stays as it was, tags that do not cover each other, contact sheets."""

import numpy as np
import pytest
import torch
from PIL import ImageDraw
from scipy.ndimage import binary_dilation
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.model.postprocess import Instances
from maskfree_nb.viz.colours import PALETTE, text_colour, track_colour
from maskfree_nb.viz.overlays import FILL, contact_sheet, draw_instances
from maskfree_nb.viz.tracks import distinct_tracks, draw_tracks

H, W = 150, 500


def photographs(num_frames: int = 2, height: int = H, width: int = W) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num_frames, 3, height, width), dtype=torch.uint8, generator=generator)


def block(frames: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
    """One mask [T, H, W], the same rectangle in every frame."""
    mask = torch.zeros(len(frames), *frames.shape[-2:], dtype=torch.bool)
    mask[:, rows, columns] = True
    return mask


def changed(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    return (before != after).any(-3)  # [..., H, W]


@pytest.fixture
def tags(monkeypatch) -> list[tuple]:
    """The places (left, top, right, bottom) and colours of all tags that are drawn."""
    drawn = []
    original = ImageDraw.ImageDraw.rounded_rectangle

    def recording(self, place, *arguments, **options):
        drawn.append((tuple(place), options["fill"]))
        return original(self, place, *arguments, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "rounded_rectangle", recording)
    return drawn


def test_without_instances_frames_stay_as_they_are():
    frames = photographs()
    nothing = torch.zeros(0, 2, H, W, dtype=torch.bool)
    assert_close(draw_instances(frames, nothing, []), frames, **TOL["exact"])
    absent = torch.zeros(1, 2, H, W, dtype=torch.bool)
    assert_close(draw_instances(frames, absent, ["cat"], [0.5]), frames, **TOL["exact"])


@pytest.mark.parametrize(
    "size, expected", [((96, 128), (384, 512)), ((31, 65), (248, 520)), ((9, 480), (9, 480))]
)
def test_small_frames_are_enlarged(size, expected):
    frames = photographs(1, *size)
    drawn = draw_instances(frames, torch.ones(1, 1, *size, dtype=torch.bool), ["cat"])
    assert drawn.shape == (1, 3, *expected)
    assert drawn.dtype == torch.uint8


def test_a_mask_is_tinted_and_the_rest_is_not(tags):
    frames = photographs()
    mask = block(frames, slice(60, 120), slice(200, 300))
    mask[1] = False  # absent in the second frame
    drawn = draw_instances(frames, mask[None], ["cat"], track_ids=[4])
    inside = (slice(None), slice(70, 110), slice(210, 290))
    colour = torch.tensor(track_colour(4)).view(3, 1, 1)
    tinted = (1 - FILL) * frames[0][inside].float() + FILL * colour
    assert_close(drawn[0][inside].float(), tinted, **TOL["rounded grey level"])
    assert_close(drawn[1], frames[1], **TOL["exact"])
    near = torch.from_numpy(binary_dilation(mask[0].numpy(), iterations=8))
    [((left, top, right, bottom), fill)] = tags
    assert fill == track_colour(4)
    near[top : bottom + 1, left : right + 1] = True
    assert not (changed(frames[0], drawn[0]) & ~near).any()
    on_border = drawn[0][:, 90, 198:203].float()  # the outline has the full colour
    assert (on_border - colour[:, 0]).abs().sum(0).min() < 30


def test_the_first_instance_is_on_top():
    frames = torch.full((1, 3, H, W), 128, dtype=torch.uint8)
    mask = block(frames, slice(30, 140), slice(100, 300))
    both = draw_instances(frames, torch.stack([mask, mask]), ["cat", "dog"], track_ids=[1, 2])[0, :, 100, 200]
    assert_close(
        both.float(),
        (1 - FILL) * ((1 - FILL) * 128 + FILL * torch.tensor(track_colour(2)))
        + FILL * torch.tensor(track_colour(1)),
        **TOL["rounded grey level"],
    )


def test_a_single_enlarged_pixel_is_seen():
    frames = photographs(1, 48, 64)
    mask = torch.zeros(1, 1, 48, 64, dtype=torch.bool)
    mask[0, 0, 40, 50] = True
    before, after = draw_instances(frames, mask & False, [""]), draw_instances(frames, mask, [""])
    assert changed(before, after)[0, 40 * 8 + 3 : 40 * 8 + 5, 50 * 8 + 3 : 50 * 8 + 5].all()


def test_tags_lie_within_the_frame_and_apart(tags):
    frames = photographs(1)
    masks = torch.stack(
        [
            block(frames, slice(40, 110), slice(200, 320)),
            block(frames, slice(42, 112), slice(210, 330)),  # nearly the same place
            block(frames, slice(0, 60), slice(0, 40)),  # at the upper border
            block(frames, slice(100, 150), slice(480, 500)),  # at the right border
        ]
    )
    draw_instances(frames, masks, ["cat", "dog", "aeroplane", "motorcycle"], [0.9, 0.8, 1.0, 0.123])
    assert len(tags) == 4
    for number, ((left, top, right, bottom), _) in enumerate(tags):
        assert 0 <= left < right <= W
        assert 0 <= top < bottom <= H
        for other_left, other_top, other_right, other_bottom in (place for place, _ in tags[:number]):
            assert left >= other_right or right <= other_left or top >= other_bottom or bottom <= other_top


def test_without_tags_only_the_mask_is_drawn(tags):
    frames = photographs()
    mask = block(frames, slice(60, 120), slice(200, 300))
    drawn = draw_instances(frames, mask[None], ["cat"], [0.9], tags=False)
    assert tags == []
    near = torch.from_numpy(binary_dilation(mask.numpy(), np.ones((1, 3, 3)), iterations=8))
    assert changed(frames, drawn)[mask].any()
    assert not changed(frames, drawn)[~near].any()


def test_tag_texts(monkeypatch):
    texts = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, place, text, **options: texts.append(text))
    frames = photographs(1)
    masks = block(frames, slice(40, 110), slice(200, 320)).expand(2, -1, -1, -1)
    draw_instances(frames, masks, ["cat", "dog"], torch.tensor([0.957, 0.5]), torch.tensor([7, 3]))
    draw_instances(frames, masks, ["cat", "dog"])
    assert texts == ["#7 cat 96%", "#3 dog 50%", "#1 cat", "#2 dog"]


def test_boxes():
    frames = photographs(2, 60, 240)
    boxes = torch.tensor([[[10.0, 20.0, 50.0, 40.0], [float("nan")] * 4]])
    drawn = draw_instances(frames, torch.zeros(1, 2, 60, 240, dtype=torch.bool), ["cat"], boxes=boxes)
    plain = draw_instances(frames, torch.zeros(1, 2, 60, 240, dtype=torch.bool), ["cat"])
    assert_close(drawn[1], plain[1], **TOL["exact"])
    rows, columns = changed(plain[0], drawn[0]).nonzero().unbind(1)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (
        40,
        80,
        20,
        100,
    )  # enlarged twice
    assert_close(drawn[0, :, 40, 60], torch.tensor(track_colour(1), dtype=torch.uint8), **TOL["exact"])


def test_masks_that_do_not_fit_are_named():
    frames = photographs()
    with pytest.raises(
        ValueError, match=r"masks are \[1, 2, 150, 499\] with 1 names, expected .*\[N, 2, 150, 500\]"
    ):
        draw_instances(frames, torch.zeros(1, 2, H, W - 1, dtype=torch.bool), ["cat"])
    with pytest.raises(ValueError, match=r"with 2 names, expected N names"):
        draw_instances(frames, torch.zeros(1, 2, H, W, dtype=torch.bool), ["cat", "dog"])


def test_colours():
    assert len(set(PALETTE)) == len(PALETTE)
    assert track_colour(len(PALETTE) + 2) == track_colour(2)
    for background in PALETTE:  # WCAG's contrast of at least 4.5
        light, dark = sorted((luminance(background), luminance(text_colour(background))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 4.5


def luminance(colour: tuple) -> float:
    return sum(
        weight * (level / 255) ** 2.2 for weight, level in zip((0.2126, 0.7152, 0.0722), colour, strict=True)
    )


@pytest.mark.parametrize("columns, rows", [(2, 3), (5, 1), (9, 1)])
def test_contact_sheet(columns, rows):
    frames = photographs(5, 9, 20).clamp(max=200)
    sheet = contact_sheet(frames, columns, gap=3)
    assert sheet.shape == (3, 3 + rows * 12, 3 + min(columns, 5) * 23)
    for number, frame in enumerate(frames):
        row, column = divmod(number, columns)
        top, left = 3 + row * 12, 3 + column * 23
        assert_close(sheet[:, top : top + 9, left : left + 20], frame, **TOL["exact"])
    assert (sheet == 255).all(0).sum() == sheet[0].numel() - frames[:, 0].numel()  # white between them


def test_of_two_tracks_of_one_object_only_the_surer_is_drawn():
    frames = torch.zeros(2, 3, 40, 40, dtype=torch.uint8)
    masks = torch.zeros(4, 2, 40, 40, dtype=torch.bool)
    masks[0, :, :20] = True
    masks[1, :, :25] = True  # IoU 0.8 with the first
    masks[2, 0, :20] = masks[2, 1, 20:] = True  # IoU 1/3: alike in one frame alone
    masks[3, :, 36:] = True  # too unsure
    tracks = Instances(torch.tensor([0.9, 0.8, 0.7, 0.1]), torch.tensor([0, 1, 1, 0]), torch.arange(4), masks)
    assert distinct_tracks(tracks, 0.3).tolist() == [0, 2] and distinct_tracks(tracks).tolist() == [0, 2, 3]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    drawn = draw_tracks(frames, tracks, categories, min_score=0.3)
    expected = draw_instances(frames, masks[[0, 2]], ["cat", "dog"], tracks.scores[[0, 2]].tolist())
    assert_close(drawn, expected, **TOL["exact"])
    assert distinct_tracks(Instances(*(x[:0] for x in tracks))).tolist() == []
