"""The video model as users meet it: any clip, any batch, every preset, half precision, compiled."""

import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import TOL

from maskfree_nb.errors import InputError
from maskfree_nb.model.mask2former import (
    PRESETS,
    ModelConfig,
    Prediction,
    VideoMask2Former,
    model_config,
    normalise_frames,
    pad_to_multiple,
)
from maskfree_nb.model.postprocess import top_instances
from maskfree_nb.model.resnet import ResNet
from maskfree_nb.model.video_decoder import Attention, blocked_keys


@pytest.fixture(scope="module")
def model() -> VideoMask2Former:
    torch.manual_seed(0)
    return VideoMask2Former(model_config("tiny", num_classes=4))


def clips(B: int, T: int, H: int, W: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(B, T, 3, H, W, generator=torch.Generator().manual_seed(0), dtype=dtype)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.sampled_from([2, 4]))
@settings(max_examples=10, deadline=None)
def test_any_batch_and_any_length(B, T, rows, columns, stride):
    model = VideoMask2Former(model_config("tiny", num_classes=2, num_queries=3, mask_stride=stride))
    H, W = 32 * rows, 32 * columns
    predictions = model(clips(B, T, H, W))
    assert len(predictions) == model.config.decoder_layers + 1
    for logits, masks in predictions:
        assert logits.shape == (B, 3, 2 + 1)
        assert masks.shape == (B, 3, T, H // stride, W // stride)
        assert logits.isfinite().all() and masks.isfinite().all()


@pytest.mark.parametrize("stride", [2, 4])
def test_clips_of_a_batch_do_not_see_each_other(stride):
    model = VideoMask2Former(model_config("tiny", num_classes=4, mask_stride=stride)).double()
    batch = clips(3, 2, 64, 96, torch.float64)
    together = model(batch)[-1]
    for clip in range(3):
        alone = model(batch[clip : clip + 1])[-1]
        for ours, theirs in zip(alone, together, strict=True):
            torch.testing.assert_close(ours[0], theirs[clip], **TOL["model, clips apart or together"])


def test_queries_see_all_frames(model):
    """A change in the last frame reaches the classes and, through the queries, the first frame's masks."""
    clip = clips(1, 3, 64, 96)
    changed = clip.clone()
    changed[:, 2] = -changed[:, 2]
    before, after = model(clip), model(changed)
    assert torch.equal(before[0].masks[:, :, 0], after[0].masks[:, :, 0])  # learnt queries know no frame yet
    assert not torch.allclose(before[-1].masks[:, :, 0], after[-1].masks[:, :, 0])
    assert not torch.allclose(before[-1].logits, after[-1].logits)


def test_training_and_evaluation_mode_are_the_same(model):
    clip = clips(1, 2, 32, 64)
    trained = model.train()(clip)[-1].masks
    assert torch.equal(model.eval()(clip)[-1].masks, trained)


@pytest.mark.parametrize("options", [{}, {"mask_stride": 2}, {"norm": "frozen_bn"}])
def test_every_parameter_gets_a_gradient(options):
    torch.manual_seed(0)
    model = VideoMask2Former(model_config("tiny", num_classes=4, **options))
    for name, parameter in model.named_parameters():
        if "sampling_offsets.weight" in name or "attention_weights.weight" in name:
            torch.nn.init.normal_(parameter, std=0.1)  # zero at first: then nothing before them gets one
    sum(p.masks.square().mean() + p.logits.square().mean() for p in model(clips(2, 2, 64, 96))).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_it_learns_one_clip():
    """From nothing, a few steps halve the error of one query's mask of a bright square."""
    torch.manual_seed(0)
    model = VideoMask2Former(model_config("tiny", num_classes=1))
    clip = torch.zeros(1, 2, 3, 64, 64)
    clip[..., 16:48, 8:40] = 2.0
    target = (clip[:, :, 0, ::4, ::4] > 0).float()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        predictions = model(clip)
        loss = sum(
            torch.nn.functional.binary_cross_entropy_with_logits(p.masks[:, 0], target) for p in predictions
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_bfloat16_autocast(model):
    clip = clips(2, 2, 64, 96)
    full = model(clip)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(clip)
    assert all(prediction.masks.dtype == torch.float32 for prediction in half)
    torch.testing.assert_close(half[0].masks, full[0].masks, **TOL["model, bfloat16"])
    loss = sum(p.masks.square().mean() + p.logits.float().square().mean() for p in half)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_compiles_as_one_graph(model):
    """No control flow depends on the data."""
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    clip = clips(1, 2, 32, 64)
    torch.testing.assert_close(compiled(clip)[-1].masks, model(clip)[-1].masks)


@pytest.mark.parametrize(
    ("preset", "low", "high"), [("tiny", 0.9e6, 2e6), ("small", 4e6, 8e6), ("r50", 40e6, 45e6)]
)
def test_presets(preset, low, high):
    with torch.device("meta"):
        model = VideoMask2Former(model_config(preset, num_classes=4))
    assert low < sum(parameter.numel() for parameter in model.parameters()) < high


def test_odd_widths_find_their_groups():
    config = model_config(
        "tiny", num_classes=4, stem_width=12, width=20, hidden_dim=68, mask_dim=30, mask_stride=2
    )
    assert VideoMask2Former(config)(clips(1, 1, 32, 32))[-1].masks.shape == (1, 10, 1, 16, 16)


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
@pytest.mark.parametrize("norm", ["frozen_bn", "gn"])
def test_resnets(depth, norm):
    resnet = ResNet(depth, stem_width=8, width=8, norm=norm)
    convolutions = [m for m in resnet.modules() if isinstance(m, torch.nn.Conv2d)]
    shortcuts = [name for name in resnet.state_dict() if name.endswith("shortcut.weight")]
    assert len(convolutions) - len(shortcuts) + 1 == depth  # the last of the layers counted is the classifier
    maps = resnet(torch.randn(2, 3, 64, 96))
    for stride, name in zip((2, 4, 8, 16, 32), ("stem", "res2", "res3", "res4", "res5"), strict=True):
        assert maps[name].shape == (2, resnet.channels[name], 64 // stride, 96 // stride)
    has_buffers = any(True for _ in resnet.buffers())
    assert has_buffers == (norm == "frozen_bn")


@pytest.mark.parametrize("preset", PRESETS)
def test_configurations_survive_json(preset):
    config = model_config(preset, num_classes=7, decoder_layers=2)
    assert ModelConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config
    assert (config.num_classes, config.decoder_layers) == (7, 2)


@pytest.mark.parametrize(
    ("preset", "options", "message"),
    [
        ("huge", {}, "model preset is 'huge', expected one of tiny, small, r50, r101"),
        ("tiny", {"querys": 3}, "no field querys; fields are num_classes, num_queries"),
        ("tiny", {"depth": 20}, r"depth is 20, expected one of \(18, 34, 50, 101\)"),
        ("tiny", {"norm": "bn"}, "norm is 'bn', expected one of"),
        ("tiny", {"mask_stride": 8}, "mask_stride is 8, expected one of"),
        ("tiny", {"hidden_dim": 66}, "hidden_dim is 66, expected a multiple of 4 and of heads, which is 4"),
    ],
)
def test_bad_configurations(preset, options, message):
    with pytest.raises(InputError, match=message):
        model_config(preset, num_classes=4, **options)


@pytest.mark.parametrize("shape", [(1, 2, 3, 64, 90), (1, 2, 3, 60, 96), (2, 3, 64, 96), (1, 3, 2, 64, 96)])
def test_bad_frames(model, shape):
    with pytest.raises(InputError, match=r"frames have the shape .*, expected \[B, T, 3, H, W\]"):
        model(torch.zeros(shape))


def test_frames_are_padded_with_the_mean():
    frames = pad_to_multiple(torch.randint(1, 255, (2, 3, 3, 20, 40), dtype=torch.uint8))
    assert frames.shape == (2, 3, 3, 32, 64)
    assert not frames[..., 20:, :].any() and not frames[..., 40:].any()
    normal = normalise_frames(frames, [(20, 40), (10, 30)])
    assert normal.dtype == torch.float32
    assert not normal[0, ..., 20:, :].any() and not normal[0, ..., 40:].any()
    assert not normal[1, ..., 10:, :].any() and not normal[1, ..., 30:].any()
    assert torch.equal(normal[0, ..., :20, :40], normalise_frames(frames[0, ..., :20, :40]))


def test_blocked_attention_reads_only_the_rest():
    torch.manual_seed(0)
    attention = Attention(8, heads=2)
    query, memory = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    blocked = torch.zeros(1, 3, 5, dtype=torch.bool)
    blocked[0, 1, [0, 3]] = True
    out = attention(query, memory, memory, blocked)
    rest = memory[:, [1, 2, 4]]
    torch.testing.assert_close(out[:, 1], attention(query, rest, rest)[:, 1])
    torch.testing.assert_close(out[:, 0], attention(query, memory, memory)[:, 0])


def test_keys_are_blocked_where_the_resized_mask_is_negative():
    masks = torch.tensor([[3.0, -1.0], [-2.0, -2.0]]).view(1, 1, 2, 1, 2)  # [B, Q, T, h, w]
    assert blocked_keys(masks, (1, 2)).tolist() == [[[False, True, True, True]]]
    assert blocked_keys(masks, (1, 1)).tolist() == [[[False, True]]]
    assert not blocked_keys(torch.zeros(1, 1, 1, 2, 2), (2, 2)).any()  # zero is not below zero


def test_top_instances():
    logits = torch.tensor([[0.0, 3.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 9.0]])[None]
    masks = torch.full((1, 3, 2, 8, 8), -1.0)
    masks[0, 1, 0, :4] = 1.0
    found = top_instances(Prediction(logits, masks), (24, 32), (48, 64), (32, 32), k=2)
    assert list(zip(found.queries.tolist(), found.labels.tolist(), strict=True)) == [(0, 1), (1, 0)]
    assert found.scores.tolist() == pytest.approx([0.9094, 0.7870], abs=1e-4)
    assert found.masks.shape == (2, 2, 48, 64) and found.masks.dtype == torch.bool
    assert not found.masks[0].any() and not found.masks[1, 1].any()
    assert found.masks[1, 0, :32].all() and not found.masks[1, 0, 32:].any()


def test_top_instances_are_redrawn_along_the_colours_that_they_nearly_follow():
    """A blob around a bright square: with the colours of the frame the mask is the square itself."""
    lab = torch.zeros(2, 3, 32, 32)
    lab[0, 0, 9:21, 11:23] = 60.0  # not at the borders of the mask's cells
    blob = torch.full((1, 1, 2, 16, 16), -2.0)
    blob[0, 0, 0, 3:12, 4:13] = 1.0
    blob[0, 0, 1] = -1.0  # absent in the other frame
    prediction = Prediction(torch.tensor([[[3.0, 0.0]]]), blob)
    plain = top_instances(prediction, (64, 64), (64, 64), (64, 64))
    redrawn = top_instances(prediction, (64, 64), (64, 64), (64, 64), lab=lab)
    truth = torch.zeros(64, 64, dtype=torch.bool)
    truth[18:42, 22:46] = True
    assert (plain.masks[0, 0] != truth).sum() > 100
    assert (redrawn.masks[0, 0] != truth).sum() <= 4  # corners, where the upsampling is in doubt
    assert not redrawn.masks[0, 1].any()
    assert redrawn.scores.equal(plain.scores)


def test_top_instances_are_redrawn_near_where_they_were():
    """A flat frame has no edge to stop at, but a mask stays within a cell of its box."""
    masks = torch.full((1, 1, 1, 8, 8), -0.1)
    masks[..., 3:5, 3:5] = 9.0
    lab = torch.zeros(1, 3, 16, 16)
    prediction = Prediction(torch.tensor([[[3.0, 0.0]]]), masks)
    redrawn = top_instances(prediction, (32, 32), (32, 32), (32, 32), lab=lab).masks[0, 0]
    rows, columns = redrawn.nonzero().unbind(1)
    assert rows.min() >= 8 and rows.max() < 24 and columns.min() >= 8 and columns.max() < 24


@pytest.mark.parametrize("redrawn", [False, True])
def test_mask_scores_put_the_surer_mask_first(redrawn):
    """A mean over the positive cells of all frames; the frame's padding, right and below, does not count."""
    logits = torch.tensor([[2.0, 0.0], [1.9, 0.0], [1.8, 0.0]])[None]
    masks = torch.full((1, 3, 2, 8, 8), -9.0)
    masks[0, 0, :, 1:4, 1:4] = 0.1  # hardly there
    masks[0, 1, 0, 1:4, 1:4] = 3.0
    masks[0, 1, 1, 1:4, 1:4] = 1.0
    masks[0, :2, :, 6:] = masks[0, :2, :, :, 7:] = 20.0
    prediction, sizes = Prediction(logits, masks), ((24, 28), (24, 28), (32, 32))
    lab = torch.zeros(2, 3, 16, 16) if redrawn else None
    by_class = top_instances(prediction, *sizes, lab=lab)
    found = top_instances(prediction, *sizes, lab=lab, mask_scores=True)
    assert by_class.queries.tolist() == [0, 1, 2] and found.queries.tolist() == [1, 0, 2]
    p, sigmoid = logits[0].softmax(-1)[:, 0], lambda x: 1 / (1 + math.exp(-x))
    expected = [p[1].item() * (sigmoid(3) + sigmoid(1)) / 2, p[0].item() * sigmoid(0.1), 0.0]
    assert found.scores.tolist() == pytest.approx(expected, abs=1e-6)
    assert found.masks.equal(by_class.masks[[1, 0, 2]]) and found.labels.tolist() == [0, 0, 0]


def test_top_instances_of_the_second_clip_and_of_few_pairs():
    logits = torch.randn(2, 2, 2, generator=torch.Generator().manual_seed(0))
    prediction = Prediction(logits, torch.stack([torch.ones(2, 1, 8, 8), -torch.ones(2, 1, 8, 8)]))
    found = top_instances(prediction, (32, 32), (32, 32), (32, 32), k=10, clip=1)
    assert len(found.scores) == 2  # one class, two queries
    assert found.scores[0] >= found.scores[1]
    assert not found.masks.any()
