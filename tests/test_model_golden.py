"""The model equals the official one: names, shapes and numbers, under weights made by rule."""

import json

import numpy as np
import pytest
import torch
from conftest import oracle_folder
from golden_weights import golden_weight
from tolerances import TOL

from maskfree_nb.model.mask2former import VideoMask2Former, model_config, normalise_frames, pad_to_multiple
from maskfree_nb.model.pixel_decoder import resize
from maskfree_nb.model.position import position_2d, position_3d
from maskfree_nb.model.postprocess import top_instances
from maskfree_nb.model.video_decoder import blocked_keys

pytestmark = pytest.mark.oracle
FOLDER = oracle_folder() / "model"
OUTPUTS = sorted(path.name for path in FOLDER.glob("outputs_*.npz"))
NAMES = json.loads((FOLDER / "names.json").read_text())
RESNETS = [name for name in NAMES if name in ("r50", "r101")]


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    return {entry["name"]: tuple(entry["shape"]) for entry in NAMES[name]["entries"]}


def config_of(name: str):
    shapes = shapes_of(name)
    classes = shapes["sem_seg_head.predictor.class_embed.bias"][0] - 1
    queries = shapes["sem_seg_head.predictor.query_feat.weight"][0]
    return model_config(name, num_classes=classes, num_queries=queries)


def check(actual: torch.Tensor, golden: np.ndarray, row: str) -> None:
    torch.testing.assert_close(actual.double(), torch.from_numpy(golden).double(), **TOL[row])


def sampled(maps: torch.Tensor, golden: np.ndarray) -> torch.Tensor:
    """Keep every n-th channel, as the golden arrays do."""
    return maps[:, :: maps.shape[1] // golden.shape[1]]


@pytest.fixture(scope="module")
def video() -> dict[str, np.ndarray]:
    return dict(np.load(FOLDER / "input.npz"))


@pytest.fixture(scope="module")
def model(video) -> VideoMask2Former:
    with torch.device("meta"):
        model = VideoMask2Former(config_of("r50"))
    seed, shapes = int(video["seed"]), shapes_of("r50")
    weights = {name: golden_weight(name, shape, seed) for name, shape in shapes.items()}
    model.load_state_dict(weights, strict=True, assign=True)
    return model.eval()


@pytest.fixture(scope="module", params=OUTPUTS)
def run(request, model, video):
    """Golden arrays of one clip, our features and our predictions."""
    golden = dict(np.load(FOLDER / request.param))
    clip = torch.from_numpy(video["clip"][: golden["pred_masks"].shape[1]])
    with torch.no_grad():
        features = model.features(clip[None])
        predictions = model.sem_seg_head["predictor"](features.levels, features.mask_features)
    return golden, features, predictions


def test_there_are_goldens():
    assert OUTPUTS and RESNETS


@pytest.mark.parametrize("name", RESNETS)
def test_names_shapes_and_kinds(name):
    with torch.device("meta"):
        model = VideoMask2Former(config_of(name))
    kinds = {n: (p, "parameter") for n, p in model.named_parameters()}
    kinds |= {n: (b, "buffer") for n, b in model.named_buffers()}
    ours = {n: (tuple(t.shape), str(t.dtype).removeprefix("torch."), kind) for n, (t, kind) in kinds.items()}
    golden = {e["name"]: (tuple(e["shape"]), e["dtype"], e["kind"]) for e in NAMES[name]["entries"]}
    assert ours == golden
    assert len(ours) == NAMES[name]["count"]
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == NAMES[name]["elements"]


def test_golden_weights_are_the_golden_weights(model):
    golden = json.loads((FOLDER / "fill_check.json").read_text())
    weights = model.state_dict()
    for name, values in golden["first_values"].items():
        torch.testing.assert_close(weights[name].flatten()[:6], torch.tensor(values), rtol=0, atol=0)
    assert golden["sum_float64"].keys() == weights.keys()
    for name, total in golden["sum_float64"].items():
        assert weights[name].double().sum().item() == pytest.approx(total, **TOL["golden weight sums"])


def test_normalised_frames(video):
    frames = pad_to_multiple(normalise_frames(torch.from_numpy(video["clip_u8"])))
    check(frames, video["clip"], "oracle model, other")
    padded = pad_to_multiple(torch.from_numpy(video["clip_u8"]))[None]
    torch.testing.assert_close(normalise_frames(padded, [tuple(video["valid_hw"])])[0], frames)


def test_backbone(run):
    golden, features, _ = run
    for name in ("res2", "res3", "res4", "res5"):
        expected = golden[f"backbone_{name}"]
        check(sampled(features.backbone[name][0], expected), expected, "oracle backbone")


def test_pixel_decoder(run):
    golden, features, _ = run
    maps = dict(zip(("pixel_s32", "pixel_s16", "pixel_s8"), features.levels, strict=True))
    maps["mask_features"] = features.mask_features
    for name, ours in maps.items():
        check(sampled(ours[0], golden[name]), golden[name], "oracle model, other")


def test_predictions(run):
    golden, _, predictions = run
    check(predictions[-1].logits[0], golden["pred_logits"], "oracle pred_logits")
    check(predictions[-1].masks[0], golden["pred_masks"], "oracle pred_masks")
    check(predictions[0].logits[0], golden["aux0_pred_logits"], "oracle pred_logits")
    check(predictions[0].masks[0], golden["aux0_pred_masks"], "oracle pred_masks")


def test_every_layer(run):
    golden, _, predictions = run
    masks = torch.stack([prediction.masks[0] for prediction in predictions[:-1]]).double()
    logits = torch.stack([prediction.logits[0] for prediction in predictions[:-1]])
    check(logits, golden["aux_logits"], "oracle pred_logits")
    check(masks.mean((-2, -1)), golden["aux_mask_mean"], "oracle model, other")
    check(masks.std((-2, -1), correction=0), golden["aux_mask_std"], "oracle model, other")


def test_blocked_keys(run):
    golden, features, predictions = run
    for layer, expected in enumerate(golden["blocked_count"]):
        level = features.levels[layer % len(features.levels)]
        count = blocked_keys(predictions[layer].masks, level.shape[-2:])[0].sum(-1)
        assert count.tolist() == expected.tolist(), f"layer {layer}"


def test_inference(run, video):
    golden, _, predictions = run
    output_hw, k = tuple(video["output_hw"].tolist()), len(golden["inf_scores"])
    padded_hw = video["clip"].shape[-2:]
    found = top_instances(predictions[-1], tuple(video["valid_hw"].tolist()), output_hw, padded_hw, k)
    check(found.scores, golden["inf_scores"], "oracle model, other")
    assert found.labels.tolist() == golden["inf_labels"].tolist()
    assert found.queries.tolist() == golden["inf_query"].tolist()
    bits = np.unpackbits(golden["inf_masks_packed"], axis=1)[:, : found.masks[0].numel()]
    flipped = found.masks.numpy() != bits.reshape(found.masks.shape)
    height, width = video["valid_hw"].tolist()
    padded = resize(predictions[-1].masks[0][found.queries].flatten(0, 1)[:, None].float(), padded_hw)
    logits = resize(padded[..., :height, :width], output_hw)[:, 0].view(found.masks.shape)
    assert (found.masks == (logits > 0)).all()
    # on another processor a pixel on the threshold may flip, and no other
    assert (logits.abs().numpy()[flipped] < TOL["oracle pred_masks"]["atol"]).all() and flipped.mean() < 1e-4


def test_position():
    golden = np.load(FOLDER / "position.npz")
    T, C, h, w = golden["pos3d"].shape
    check(position_3d(T, h, w, C), golden["pos3d"], "oracle model, other")
    C, h, w = golden["pos2d"].shape
    check(position_2d(h, w, C), golden["pos2d"], "oracle model, other")
