"""Attention maps: they are those of the model's own attention, and looking does not change the model."""

import pytest
import torch
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.model.mask2former import VideoMask2Former, model_config
from maskfree_nb.model.video_decoder import Attention, blocked_keys
from maskfree_nb.viz.attention import (
    DIM,
    GREYS,
    OUTLINE,
    attention_weights,
    feature_colours,
    features_figure,
    heat_over,
    trace_decoder,
)


def clip(B: int, T: int, H: int, W: int) -> torch.Tensor:
    return torch.randn(B, T, 3, H, W, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> VideoMask2Former:
    torch.manual_seed(0)
    return VideoMask2Former(model_config("tiny", num_classes=3, num_queries=7, decoder_layers=4)).eval()


@pytest.mark.parametrize("masked", [True, False])
def test_weights_are_those_of_the_fused_attention(masked):
    torch.manual_seed(1)
    attention = Attention(12, heads=3).double()
    query, key, value = (torch.randn(2, n, 12, dtype=torch.float64) for n in (4, 9, 9))
    blocked = torch.rand(2, 4, 9) < 0.5 if masked else None
    if masked:
        blocked[..., 3] = False
    weights = attention_weights(attention, query, key, blocked)  # [B, M, Q, K]
    v = torch.nn.functional.linear(value, attention.in_proj_weight[24:], attention.in_proj_bias[24:])
    read = weights @ v.unflatten(-1, (3, 4)).transpose(1, 2)
    out = attention.out_proj(read.transpose(1, 2).flatten(2))
    assert_close(out, attention(query, key, value, blocked), **TOL["float64"])
    if masked:
        assert (weights.masked_select(blocked[:, None]) == 0).all()


@pytest.mark.parametrize("B, T, H, W", [(2, 3, 64, 96), (1, 1, 32, 64)])
def test_a_trace_is_what_the_model_did(model, B, T, H, W):
    frames = clip(B, T, H, W)
    trace = trace_decoder(model, frames)
    with torch.no_grad():
        predictions = model(frames)
    for traced, plain in zip(trace.predictions, predictions, strict=True):
        assert_close(tuple(traced), tuple(plain), **TOL["exact"])
    assert len(trace.attention) == len(trace.allowed) == 4
    for i, (weights, allowed) in enumerate(zip(trace.attention, trace.allowed, strict=True)):
        stride = (32, 16, 8)[i % 3]
        assert weights.shape == allowed.shape == (B, 7, T, H // stride, W // stride)
        assert_close(weights.sum((2, 3, 4)), torch.ones(B, 7), **TOL["float32 sums"])
        assert (weights[~allowed] == 0).all()
        blocked = blocked_keys(predictions[i].masks, allowed.shape[-2:]).view(allowed.shape)
        somewhere = ~blocked.flatten(2).all(-1)  # a query that is blocked everywhere may look everywhere
        assert_close(allowed[somewhere], ~blocked[somewhere], **TOL["exact"])
        assert allowed[~somewhere].all()


def test_looking_leaves_no_hook(model):
    def hooks() -> int:
        return sum(len(module._forward_hooks) for module in model.modules())

    trace_decoder(model, clip(1, 1, 32, 32))
    assert hooks() == 0
    with pytest.raises(ValueError):
        trace_decoder(model, clip(1, 1, 33, 32))
    assert hooks() == 0


def test_heat_lies_where_it_belongs():
    frames = torch.full((2, 3, 48, 96), 204, dtype=torch.uint8)
    heat = torch.zeros(2, 2, 4)
    heat[1, 0, 3] = 0.5
    drawn = heat_over(frames, heat)
    assert drawn.shape == (2, 3, 96, 192)
    grey = torch.full_like(drawn, round(255 * round(204 / 255 * GREYS) / GREYS * DIM))
    assert_close(drawn[0], grey[0], **TOL["rounded grey level"])
    hot = torch.zeros(2, 96, 192, dtype=torch.bool)
    hot[1, :48, 144:] = True
    assert_close(drawn.movedim(1, -1)[~hot], grey.movedim(1, -1)[~hot], **TOL["rounded grey level"])
    assert (drawn.movedim(1, -1)[hot].float().mean(-1) > 200).all()  # the brightest of the map
    fainter = heat_over(frames, heat, highest=1.0)
    assert (fainter[1, :, 0, 191].float().mean() < drawn[1, :, 0, 191].float().mean()).item()


def test_outline_is_a_border():
    frames = torch.zeros(1, 3, 192, 192, dtype=torch.uint8)
    inside = torch.zeros(1, 12, 12, dtype=torch.bool)
    inside[0, 3:9, 3:9] = True
    drawn = heat_over(frames, torch.zeros(1, 12, 12), outline=inside)[0]
    line = (drawn == torch.tensor(OUTLINE, dtype=torch.uint8).view(3, 1, 1)).all(0)
    expected = torch.zeros(192, 192, dtype=torch.bool)
    expected[48:144, 48:144] = True
    expected[50:142, 50:142] = False
    assert_close(line, expected, **TOL["exact"])


def test_heat_of_nothing():
    frames = torch.zeros(1, 3, 192, 192, dtype=torch.uint8)
    assert (heat_over(frames, torch.zeros(1, 3, 3)) == 0).all()


def test_like_features_have_like_colours():
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randint(0, 4, (2, 5, 7), generator=generator)
    vectors = torch.randn(4, 16, generator=generator)
    colours = feature_colours(vectors[kinds].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # [T, h, w, 3]
    of_kind = [colours[kinds == kind].unique(dim=0) for kind in range(4)]
    assert all(len(found) == 1 for found in of_kind)
    assert len(torch.cat(of_kind).unique(dim=0)) == 4
    assert (feature_colours(torch.ones(1, 5, 2, 2)) == 0).all()  # nothing to tell apart


def test_features_figure_names_its_maps(model):
    frames = torch.zeros(2, 3, 64, 96, dtype=torch.uint8)
    with torch.no_grad():
        features = model.features(clip(1, 2, 64, 96))
    figure = features_figure(frames, features, t=1)
    titles = [axis.get_title() for axis in figure.axes if axis.get_visible()]
    assert titles[0] == "frame 1"
    assert "res2: 16 x 16 x 24" in titles and "mask features: 32 x 16 x 24" in titles
    assert len(titles) == 9
