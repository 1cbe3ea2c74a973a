"""The kernel from frames to Lab maps, against the torch reference and the golden numbers."""

import importlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_checks import golden_clips
from kernel_device import DEVICE, KERNELS, no_launch, poison
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb import tkloss

MODULE = importlib.import_module("maskfree_kernels.rgb_to_lab")
CLIPS = golden_clips("lab_rgb")
FRAMES = 1 if DEVICE == "cpu" else None  # of a golden clip: the interpreter is slow


@pytest.fixture(autouse=True)
def poisoned_outputs(monkeypatch):
    poison(monkeypatch, MODULE)


@pytest.mark.oracle
@pytest.mark.parametrize("path", CLIPS, ids=[p.stem for p in CLIPS])
@pytest.mark.parametrize(
    "name, options",
    [
        ("lab_official", {"channel_order": "bgr"}),
        ("lab_rgb", {}),
        ("lab_rgb_noquant", {"quantise": False}),
    ],
)
def test_golden(path, name, options):
    z = np.load(path)
    frames = torch.from_numpy(z["frames"][:FRAMES]).to(DEVICE)
    expected = torch.from_numpy(z[name][:FRAMES])
    assert_close(KERNELS.rgb_to_lab(frames, **options).cpu(), expected, **TOL["oracle Lab"])


@settings(max_examples=15, deadline=None)
@given(
    leading=st.lists(st.integers(1, 2), max_size=2),
    height=st.integers(1, 36),
    width=st.integers(1, 70),
    stride=st.sampled_from([1, 2, 3, 4, 5, 8, 16]),
    dtype=st.sampled_from([torch.uint8, torch.float32, torch.bfloat16, torch.float16, torch.float64]),
    channel_order=st.sampled_from(["rgb", "bgr"]),
    quantise=st.booleans(),
    seed=st.integers(0, 9999),
)
def test_equals_the_reference(leading, height, width, stride, dtype, channel_order, quantise, seed):
    generator = torch.Generator().manual_seed(seed)
    height, width = max(height, stride), max(width, stride)
    frames = torch.randint(0, 256, (*leading, 3, height, width), generator=generator).to(dtype)
    options = {"channel_order": channel_order, "quantise": quantise}
    expected = tkloss.rgb_to_lab(frames, stride, **options)
    assert_close(
        KERNELS.rgb_to_lab(frames.to(DEVICE), stride, **options).cpu(), expected, **TOL["oracle Lab"]
    )


def test_every_byte_and_both_branches_of_the_curves():
    grey = torch.arange(256, dtype=torch.uint8).expand(3, 4, 256)
    for frames in (grey, grey * torch.tensor([1, 0, 0], dtype=torch.uint8)[:, None, None]):
        expected = tkloss.rgb_to_lab(frames, 1)
        assert_close(KERNELS.rgb_to_lab(frames.to(DEVICE), 1).cpu(), expected, **TOL["oracle Lab"])


def test_not_contiguous():
    frames = torch.randint(0, 256, (2, 17, 33, 3), dtype=torch.uint8).movedim(-1, 1)  # as a decoder gives it
    assert_close(KERNELS.rgb_to_lab(frames.to(DEVICE)).cpu(), tkloss.rgb_to_lab(frames), **TOL["oracle Lab"])


def test_no_frames_launch_nothing(monkeypatch):
    no_launch(monkeypatch, MODULE, "rgb_to_lab_fwd_kernel")
    frames = torch.zeros(2, 0, 3, 8, 12, dtype=torch.uint8, device=DEVICE)
    assert KERNELS.rgb_to_lab(frames).shape == (2, 0, 3, 2, 3)


def test_under_compile():
    frames = torch.randint(0, 256, (2, 3, 9, 12), dtype=torch.uint8, device=DEVICE)

    def step(frames):
        return KERNELS.rgb_to_lab(frames, channel_order="bgr") + 1

    assert torch.equal(torch.compile(step, backend="aot_eager", fullgraph=True)(frames), step(frames))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"frames": torch.zeros(2, 4, 4)}, r"frames are torch.float32 \[2, 4, 4\]"),
        ({"frames": torch.zeros(3, 4, 4, dtype=torch.int64)}, "frames are torch.int64"),
        ({"stride": 0}, "stride is 0, expected an integer >= 1"),
        ({"channel_order": "gbr"}, "channel_order is 'gbr'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        KERNELS.rgb_to_lab(**{"frames": torch.zeros(3, 4, 4), **arguments})
