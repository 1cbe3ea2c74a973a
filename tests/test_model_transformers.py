"""The model equals Hugging Face's Mask2Former on one frame, and takes all of its tensors."""

import pytest
import torch
from tolerances import TOL
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig

from maskfree_nb.model.checkpoints import load_official, save_model
from maskfree_nb.model.huggingface import official_names
from maskfree_nb.model.mask2former import VideoMask2Former, model_config

STAGES = ["stage1", "stage2", "stage3", "stage4"]
LAYERS = {"encoder_layers": 2, "decoder_layers": 4}  # of ours; transformers counts one more decoder layer


def reference(resnet: ResNetConfig, *, classes: int, queries: int, encoder_layers: int, decoder_layers: int):
    return Mask2FormerForUniversalSegmentation(
        Mask2FormerConfig(
            backbone_config=resnet,
            num_labels=classes,
            num_queries=queries,
            encoder_layers=encoder_layers,
            decoder_layers=decoder_layers + 1,
            output_auxiliary_logits=True,
        )
    )


@pytest.fixture(scope="module")
def theirs():
    """A small model of random weights, all of which matter; in float64, so that no rounding flips a mask."""
    torch.manual_seed(0)
    resnet = ResNetConfig(
        hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic", out_features=STAGES
    )
    model = reference(resnet, classes=7, queries=20, **LAYERS).double().eval()
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bias", "sampling_offsets.weight", "attention_weights.weight")):
            tensor.add_(0.1 * torch.randn_like(tensor))
    return model


@pytest.fixture
def ours() -> VideoMask2Former:
    return VideoMask2Former(model_config("r50", num_classes=7, num_queries=20, depth=18, **LAYERS))


def test_equal_on_one_frame(theirs, ours):
    ours.double().load_state_dict(official_names(theirs.state_dict()), strict=True)
    images = torch.randn(2, 3, 96, 160, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        expected, predictions = theirs(images), ours(images[:, None])
    layers = [*expected.auxiliary_logits, expected]
    assert len(layers) == len(predictions) == LAYERS["decoder_layers"] + 1
    for layer, (logits, masks) in zip(layers, predictions, strict=True):
        torch.testing.assert_close(masks[:, :, 0], layer["masks_queries_logits"], **TOL["transformers"])
        torch.testing.assert_close(logits, layer["class_queries_logits"], **TOL["transformers"])


@pytest.mark.parametrize(("preset", "depths"), [("r50", [3, 4, 6, 3]), ("r101", [3, 4, 23, 3])])
def test_every_tensor_has_its_place(preset, depths):
    with torch.device("meta"):
        theirs = reference(
            ResNetConfig(depths=depths, out_features=STAGES),
            classes=40, queries=100, encoder_layers=6, decoder_layers=9,
        )  # fmt: skip
        ours = VideoMask2Former(model_config(preset, num_classes=40))
    mapped = {name: tensor.shape for name, tensor in official_names(theirs.state_dict()).items()}
    assert mapped == {name: tensor.shape for name, tensor in ours.state_dict().items()}


def test_its_files_load(theirs, ours, tmp_path):
    theirs.save_pretrained(tmp_path)
    load_official(ours, tmp_path / "model.safetensors")
    for name, tensor in official_names(theirs.state_dict()).items():
        assert torch.equal(ours.state_dict()[name], tensor.float()), name
    save_model(tmp_path / "ours.safetensors", ours)
    again = VideoMask2Former(ours.config)
    load_official(again, tmp_path / "ours.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), ours.parameters(), strict=True))
