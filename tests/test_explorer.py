"""The explorer without a browser: what it answers is what the library says, whatever is set."""

import base64
import importlib
import math
import sys

import pytest
import torch
from tolerances import TOL

from maskfree_nb.errors import InputError
from maskfree_nb.tkloss import TKLoss, match_patches, pair_term
from maskfree_nb.viz import explore
from maskfree_nb.viz.lookup import Lookup, Settings


@pytest.fixture
def frames() -> torch.Tensor:
    """Four frames of smooth noise that moves by (4, 8) image pixels a frame: one and two map pixels."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(1, 3, 12, 16, generator=generator) * 255
    scene = torch.nn.functional.interpolate(noise, size=(84, 124), mode="bicubic").clamp(0, 255)[0]
    return torch.stack([scene[:, 4 * t : 4 * t + 62, 8 * t : 8 * t + 94] for t in range(4)]).to(torch.uint8)


@pytest.fixture
def masks() -> dict:
    """Two instances: logits on the map of 15 x 23, true masks and boxes on the image of 62 x 94."""
    true_masks = torch.zeros(2, 4, 62, 94, dtype=torch.bool)
    boxes = torch.full((2, 4, 4), math.nan)
    for t in range(4):
        true_masks[0, t, 20 - 4 * t : 40 - 4 * t, 40 - 8 * t : 64 - 8 * t] = True
        boxes[0, t] = torch.tensor([40 - 8 * t, 20 - 4 * t, 64 - 8 * t, 40 - 4 * t])
    logits = torch.randn(2, 4, 15, 23, generator=torch.Generator().manual_seed(5)) * 3
    return {"mask_logits": logits, "true_masks": true_masks, "boxes": boxes}


def shown(explorer) -> list[tuple[int, int, float]]:
    return [(match["y"], match["x"], match["distance"]) for match in explorer.answer["matches"]]


def expected(frames, loss: TKLoss, pair: int, y: int, x: int) -> list[tuple[int, int, float]]:
    return loss.match(frames, return_index=True).neighbours(pair, y, x)


def assert_same_matches(one: list, other: list) -> None:
    assert [place[:2] for place in one] == [place[:2] for place in other]
    torch.testing.assert_close(
        torch.tensor([place[2] for place in one]),
        torch.tensor([place[2] for place in other]),
        **TOL["patch distance"],
    )


@pytest.mark.parametrize("y, x", [(7, 11), (0, 0), (14, 22), (3, 20)])
def test_the_answer_is_the_librarys_own(frames, y, x):
    explorer = explore(frames, pixel=(y, x))
    assert_same_matches(shown(explorer), expected(frames, TKLoss.paper(), 0, y, x))
    assert explorer.answer["frames"] == [0, 1] and explorer.answer["pixel"] == [y, x]
    inside = [d for d in explorer.answer["distances"] if d is not None]
    offsets = TKLoss.paper().offsets
    assert len(inside) == sum(0 <= y + dy < 15 and 0 <= x + dx < 23 for dy, dx in offsets)
    assert explorer.answer["limit"] == pytest.approx(5.9915, abs=1e-4)


def test_every_option_is_answered_at_once(frames):
    explorer = explore(frames, pixel=(7, 11), threshold=0.001)
    changes = [
        {"k": 9},
        {"radius": 3},
        {"patch_size": 5},
        {"threshold": 0.0},
        {"pair": 3, "y": 5},
        {"x": 3, "k": 1},
    ]
    options = {"threshold": 0.001}
    for change in changes:
        seq = explorer.seq
        with explorer.hold_trait_notifications():
            for name, value in change.items():
                setattr(explorer, name, value)
        assert explorer.seq == seq + 1  # one question, one answer
        options |= {name: value for name, value in change.items() if name not in ("pair", "y", "x")}
        own = expected(frames, TKLoss.paper(**options), explorer.pair, explorer.y, explorer.x)
        assert_same_matches(shown(explorer), own)
        assert len(own) > 0


def test_a_message_from_the_browser_is_answered_once(frames):
    explorer = explore(frames)
    explorer.set_state({"y": 3, "x": 4, "radius": 3})
    assert explorer.seq == 2
    assert_same_matches(shown(explorer), expected(frames, TKLoss.paper(radius=3), 0, 3, 4))


def test_the_switch_sets_what_was_published(frames):
    explorer = explore(frames, pixel=(1, 1), k=9, threshold=0.2)
    explorer.version = "official"
    assert (explorer.radius, explorer.k, explorer.threshold, explorer.patch_size) == (1, 5, 0.05, 3)
    assert explorer.seq == 2
    assert_same_matches(shown(explorer), expected(frames, TKLoss.official(), 0, 1, 1))
    explorer.version = "paper"
    assert explorer.radius == 5
    assert explore(frames, version="official").radius == 1


def test_true_masks_judge_matches_and_change_none(frames, masks):
    plain, judged = explore(frames, pixel=(4, 9)), explore(frames, pixel=(4, 9), **masks)
    assert shown(plain) == shown(judged) != []
    inside = torch.nn.functional.avg_pool2d(masks["true_masks"].float(), 4)[0] >= 0.5
    for match in judged.answer["matches"]:
        assert match["right"] == bool(inside[0, match["y"], match["x"]] == inside[1, 4, 9])
    assert plain.answer["matches"][0]["right"] is None


@pytest.mark.parametrize("version", ["paper", "official"])
@pytest.mark.parametrize("instance", [0, 1])
def test_the_loss_map_sums_to_the_librarys_loss(frames, masks, version, instance):
    explorer = explore(frames, view="loss", version=version, pixel=(4, 9), instance=instance, **masks)
    settings, logits = explorer.settings, masks["mask_logits"][instance]
    loss_map, pair_loss = explorer.lookup.consistency(settings, instance)
    assert explorer.loss_map == loss_map.numpy().tobytes() and explorer.answer["pair_loss"] == pair_loss
    region = explorer.lookup.region(settings, instance)
    count = (explorer.matches().count()[0, 0] * region).sum().clamp(min=1)
    divisor = 15 * 23 if version == "paper" else count / 0.1  # official: per match, times the weight 0.1
    torch.testing.assert_close(float(loss_map.sum() / divisor), pair_loss, **TOL["float32 sums"])
    assert not loss_map[~region].any()
    terms = [
        float(pair_term(logits[0, match["y"], match["x"]], logits[1, 4, 9]))
        for match in explorer.answer["matches"]
    ]
    assert [match["term"] for match in explorer.answer["matches"]] == terms
    if region[4, 9]:
        assert explorer.answer["pixel_loss"] == pytest.approx(sum(terms), rel=1e-5)


def test_the_first_pixel_has_a_match(frames):
    explorer = explore(frames)
    matched = explorer.matches().count()[0, 0].nonzero() - torch.tensor([7, 11])
    distance = torch.tensor([explorer.y - 7.0, explorer.x - 11.0]).norm()
    assert shown(explorer) and distance == matched.float().norm(dim=1).min()
    noise = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    lonely = explore(noise, stride=1)
    assert (lonely.y, lonely.x) == (16, 16) and not shown(lonely)


def test_matches_are_found_once_per_setting(frames, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "maskfree_nb.viz.lookup.match_patches", lambda *a, **o: calls.append(1) or match_patches(*a, **o)
    )
    explorer = explore(frames)
    for x in range(5):
        explorer.x = x
    assert len(calls) == 1
    lookup = Lookup(frames)
    for k in range(1, 11):
        for radius in (1, 2, 3):
            lookup.matches(Settings(k=k, radius=radius))
    assert len(lookup._matches) < 30  # old ones are let go


@pytest.mark.parametrize(
    "options, message",
    [
        ({"radius": 8}, r"radius is 8, expected 1\.\.7"),
        ({"k": 0}, r"k is 0, expected 1\.\.10"),
        ({"threshold": 1.5}, r"threshold is 1\.5, expected 0\.0\.\.1\.0"),
        ({"patch_size": 4}, r"patch_size is 4, expected an odd number in 1\.\.7"),
        ({"pair": 4}, r"pair is 4, expected 0\.\.3"),
        ({"pixel": (15, 0)}, r"y is 15, expected 0\.\.14"),
        ({"pixel": (0, -1)}, r"x is -1, expected 0\.\.22"),
        ({"version": "offical"}, r"version is 'offical', expected one of paper, official"),
        ({"view": "loss"}, r"view is 'loss'.*needs mask_logits"),
        ({"colour": 3}, r"no option colour; it has version, pair"),
        ({"mask_logits": torch.zeros(1, 4, 16, 23)}, r"mask_logits: \[1, 4, 16, 23\].*\[N, 4, 15, 23\]"),
        ({"true_masks": torch.zeros(4, 62, 94)}, r"true_masks: \[4, 62, 94\].*\[N, 4, 62, 94\]"),
        (
            {"boxes": torch.zeros(2, 4, 4), "mask_logits": torch.zeros(1, 4, 15, 23)},
            r"differ in number: \{'mask_logits': 1, 'boxes': 2\}",
        ),
    ],
)
def test_bad_input_is_named(frames, options, message):
    with pytest.raises(InputError, match=message):
        explore(frames, **options)


def test_bad_frames_are_named(frames):
    with pytest.raises(InputError, match=r"frames: \[4, 62, 94, 3\]"):
        explore(frames.permute(0, 2, 3, 1))
    with pytest.raises(InputError, match="a tube of 1 frame"):
        explore(frames[:1])
    with pytest.raises(InputError, match="smaller than one stride of 128"):
        explore(frames, stride=128)


def test_an_option_out_of_range_leaves_the_widget_as_it_was(frames):
    explorer = explore(frames)
    with pytest.raises(InputError, match="radius is 12"):
        explorer.radius = 12
    assert explorer.radius == 5 and explorer.seq == 1


def test_a_still_picture_stands_in_for_the_widget(frames, masks):
    data, _ = explore(frames, pixel=(7, 11), **masks)._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert "application/vnd.jupyter.widget-view+json" in data
    assert (
        data["text/plain"] == "Explorer(4 frames, 15 x 23 map, version='paper', pair=(0, 1), pixel=(7, 11))"
    )


def test_the_still_picture_is_an_output_of_its_own(frames, monkeypatch):
    shown = []
    monkeypatch.setattr("maskfree_nb.viz.explorer.display", lambda data, raw: shown.append(sorted(data)))
    explore(frames)._ipython_display_()
    assert shown == [
        ["image/png", "text/plain"],
        ["application/vnd.jupyter.widget-view+json", "text/plain"],
    ]


def test_the_browser_gets_all_it_needs_once(frames, masks):
    clip = explore(frames, **masks).clip
    assert clip["size"] == [4, 15, 23] and len(clip["images"]) == 4
    assert len(clip["cells"]) == 4 * 15 * 23 * 3
    assert len(clip["levels"]) == len(clip["truth"]) == 2 * 4 * 15 * 23
    assert clip["boxes"][0][1] == [32.0, 16.0, 56.0, 36.0] and clip["boxes"][1] == [None] * 4


def test_the_browser_side_needs_no_network():
    script = explore(torch.zeros(2, 3, 8, 8))._esm
    assert "import " not in script.replace("No import, no network", "") and "http" not in script


def test_without_anywidget_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "maskfree_nb.viz.explorer", raising=False)
    with pytest.raises(InputError, match=r"pip install 'maskfree-nb\[notebooks\]'"):
        importlib.import_module("maskfree_nb.viz").explore  # noqa: B018
