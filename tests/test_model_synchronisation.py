"""A forward pass copies nothing from the host: such a copy would make it wait for the GPU."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from maskfree_nb.model.mask2former import VideoMask2Former, model_config, normalise_frames


class Recorder(TorchDispatchMode):
    """The names of all operations; `lift_fresh` is that of `torch.tensor`."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.names.add(function.name())
        return function(*arguments, **(options or {}))


def test_torch_tensor_is_seen():
    with Recorder() as recorder:
        torch.tensor([1, 2])
    assert "aten::lift_fresh" in recorder.names


@pytest.mark.parametrize("mask_stride", [4, 2])
def test_forward_copies_nothing_from_the_host(mask_stride):
    model = VideoMask2Former(model_config("tiny", num_classes=4, mask_stride=mask_stride))
    frames = torch.zeros(1, 2, 3, 64, 96, dtype=torch.uint8)
    with Recorder() as recorder:
        model(normalise_frames(frames))
    assert "aten::convolution" in recorder.names
    assert not {"aten::lift_fresh", "aten::item", "aten::_local_scalar_dense"} & recorder.names


def test_normalised_frames_are_what_a_table_gives():
    frames = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    mean, std = (
        torch.tensor(numbers).view(3, 1, 1)
        for numbers in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    )
    assert torch.equal(normalise_frames(frames), (frames - mean) / std)
