"""The kernels of deformable attention, against the torch reference and the golden numbers."""

import importlib

import numpy as np
import pytest
import torch
from conftest import oracle_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_device import DEVICE, KERNELS, kernel_tolerance, no_launch, poison
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.model.ms_deform_attn import ms_deform_attn

GOLDENS = sorted((oracle_folder() / "model").glob("msda_*.npz"))
MODULE = importlib.import_module("maskfree_kernels.ms_deform_attn")
NAMES = ("out", "grad_value", "grad_locations", "grad_weights")


@pytest.fixture(autouse=True)
def poisoned_outputs(monkeypatch):
    poison(monkeypatch, MODULE)


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def draw(N, Lq, M, D, P, shapes, seed, dtype=torch.float32):
    """value, locations (partly outside the maps, none at a kink), weights and the gradient of the output."""
    generator = torch.Generator().manual_seed(seed)
    S, L = sum(h * w for h, w in shapes), len(shapes)
    value = torch.randn(N, S, M, D, generator=generator).to(dtype)
    sizes = torch.tensor([(w, h) for h, w in shapes])[:, None]  # [L, 1, 2]
    cells = torch.floor((torch.rand(N, Lq, M, L, P, 2, generator=generator) * 2 - 0.5) * sizes)
    fractions = torch.randint(1, 8, cells.shape, generator=generator) / 8
    weights = torch.rand(N, Lq, M, L, P, generator=generator)
    grad_out = torch.randn(N, Lq, M * D, generator=generator)
    return value, (cells + fractions + 0.5) / sizes, weights, grad_out


def run(function, shapes, value, locations, weights, grad_out):
    """The output and the three gradients."""
    inputs = [tensor.detach().clone().requires_grad_() for tensor in (value, locations, weights)]
    out = function(inputs[0], shapes, *inputs[1:])
    return out.detach(), *torch.autograd.grad(out, inputs, grad_out.to(out.dtype))


def compare(shapes, *tensors):
    """The kernel against the reference in float64."""
    expected = run(ms_deform_attn, shapes, *(tensor.double() for tensor in tensors))
    results = run(KERNELS.ms_deform_attn, shapes, *(tensor.to(DEVICE) for tensor in tensors))
    value, locations, weights, _ = tensors
    dtypes = (locations.dtype, value.dtype, locations.dtype, weights.dtype)
    for name, dtype, a, b in zip(NAMES, dtypes, results, expected, strict=True):
        assert a.dtype == dtype, name
        scale = b.abs().max().clamp(min=1)  # sums of many terms: an error relative to the largest
        assert_close(
            a.double().cpu() / scale,
            b / scale,
            **TOL[kernel_tolerance(dtype)],
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("path", GOLDENS, ids=[p.stem for p in GOLDENS])
def test_golden(path, dtype):
    z = np.load(path)
    tensors = [torch.from_numpy(z[key]).to(DEVICE, dtype) for key in ("value", "locations", "weights")]
    shapes = [tuple(shape) for shape in z["shapes"].tolist()]
    results = run(KERNELS.ms_deform_attn, shapes, *tensors, torch.from_numpy(z["grad_output"]).to(DEVICE))
    row = TOL[f"oracle deformable attention, {str(dtype).removeprefix('torch.')}"]
    for key, result in zip(("output", *NAMES[1:]), results, strict=True):
        assert_close(
            result.double().cpu(),
            torch.from_numpy(z[key]).view(result.shape),
            **row,
            msg=lambda text, key=key: f"{key}: {text}",
        )


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 2), st.sampled_from([1, 3, 8, 32])),
    P=st.integers(1, 2),
    shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=3),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 9999),
)
def test_equals_the_reference(sizes, P, shapes, dtype, seed):
    compare(shapes, *draw(*sizes, P, shapes, seed, dtype))


def test_several_blocks_of_queries():
    shapes = [(5, 7), (2, 3)]
    compare(shapes, *draw(1, 131, 1, 8, 2, shapes, seed=1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_all_halves(dtype):
    shapes = [(3, 4)]
    compare(shapes, *(tensor.to(dtype) for tensor in draw(1, 5, 2, 8, 2, shapes, seed=2)))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_points_outside_give_nothing():
    shapes = [(3, 4)]
    value, locations, weights, grad_out = draw(1, 5, 2, 8, 2, shapes, seed=3)
    for place in (locations + 3, locations - 3, locations * 1e9):
        results = run(
            KERNELS.ms_deform_attn, shapes, *(t.to(DEVICE) for t in (value, place, weights, grad_out))
        )
        assert not any(result.any() for result in results)


def test_not_contiguous_and_used_twice():
    shapes = [(3, 4), (2, 2)]
    value, locations, weights, grad_out = draw(2, 6, 2, 8, 2, shapes, seed=4)

    def twice(attend):
        def both(value, shapes, locations, weights):
            value = value.transpose(1, 2).contiguous().transpose(1, 2)
            locations = locations.flip(1).mT.contiguous().mT.flip(1)
            return attend(value, shapes, locations, weights) + attend(2 * value, shapes, locations, weights)

        return both

    tensors = (value, locations, weights, grad_out)
    expected = run(twice(ms_deform_attn), shapes, *(tensor.double() for tensor in tensors))
    results = run(twice(KERNELS.ms_deform_attn), shapes, *(tensor.to(DEVICE) for tensor in tensors))
    for name, a, b in zip(NAMES, results, expected, strict=True):
        scale = b.abs().max()
        assert_close(
            a.double().cpu() / scale,
            b / scale,
            **TOL["kernel float32"],
            msg=lambda text, name=name: f"{name}: {text}",
        )


def test_output_and_owned_gradients_are_bitwise_the_same_every_time():
    shapes = [(3, 3)]
    tensors = [tensor.to(DEVICE) for tensor in draw(1, 70, 1, 8, 2, shapes, seed=5)]
    runs = [run(KERNELS.ms_deform_attn, shapes, *tensors) for _ in range(2)]
    for name, a, b in zip(NAMES, *runs, strict=True):
        assert torch.equal(a, b) or name == "grad_value"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_deterministic_mode_is_bitwise_the_same_every_time(deterministic, dtype):
    """Many queries add to nine pixels."""
    shapes = [(3, 3)]
    tensors = draw(1, 70, 1, 8, 2, shapes, seed=6, dtype=dtype)
    compare(shapes, *tensors)
    order = torch.randperm(70, generator=torch.Generator().manual_seed(0))
    shuffled = [tensor.to(DEVICE) for tensor in (tensors[0], *(tensor[:, order] for tensor in tensors[1:]))]
    a = run(KERNELS.ms_deform_attn, shapes, *(tensor.to(DEVICE) for tensor in tensors))
    b = run(KERNELS.ms_deform_attn, shapes, *shuffled)
    assert torch.equal(a[1], b[1])  # even in another order of the queries


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_deterministic_mode_keeps_zero_and_infinity(deterministic):
    shapes = [(3, 3)]
    *tensors, grad_out = (tensor.to(DEVICE) for tensor in draw(1, 4, 1, 8, 1, shapes, seed=7))
    assert not run(KERNELS.ms_deform_attn, shapes, *tensors, torch.zeros_like(grad_out))[1].any()
    grad_out[0, 0] = float("inf")
    assert not run(KERNELS.ms_deform_attn, shapes, *tensors, grad_out)[1].isfinite().all()


@pytest.mark.parametrize("N, Lq", [(0, 3), (2, 0)])
def test_nothing_to_do_launches_nothing(monkeypatch, N, Lq):
    no_launch(monkeypatch, MODULE, "ms_deform_attn_fwd_kernel", "ms_deform_attn_bwd_kernel")
    shapes = [(3, 4)]
    tensors = [tensor.to(DEVICE) for tensor in draw(N, Lq, 2, 8, 2, shapes, seed=8)]
    results = run(KERNELS.ms_deform_attn, shapes, *tensors)
    assert results[0].shape == (N, Lq, 16)
    assert [result.shape for result in results[1:]] == [tensor.shape for tensor in tensors[:3]]
    assert not results[1].any()


def test_under_compile_and_autocast(monkeypatch):
    monkeypatch.undo()  # the compiler cannot trace poisoned tensors
    shapes = [(3, 4), (2, 2)]
    *tensors, grad_out = (tensor.to(DEVICE) for tensor in draw(1, 6, 2, 8, 2, shapes, seed=9))
    linear = torch.nn.Linear(8, 8, device=DEVICE)

    def step(value, shapes, locations, weights):
        with torch.autocast(DEVICE, torch.bfloat16):
            return KERNELS.ms_deform_attn(linear(value), shapes, locations, weights * 2).relu()

    eager = run(step, shapes, *tensors, grad_out)
    compiled = run(torch.compile(step, backend="aot_eager", fullgraph=True), shapes, *tensors, grad_out)
    for name, a, b in zip(NAMES, eager, compiled, strict=True):
        row = TOL["kernel bfloat16" if name == "grad_value" else "kernel float32"]
        assert_close(a, b, **row, msg=lambda text, name=name: f"{name}: {text}")


def test_errors_name_what_does_not_fit():
    value, locations, weights, _ = draw(1, 2, 1, 8, 1, [(3, 4)], seed=10)
    with pytest.raises(ValueError, match=r"value \[1, 12, 1, 8\].* do not fit maps of \[\(3, 5\)\]"):
        KERNELS.ms_deform_attn(value, [(3, 5)], locations, weights)


@pytest.mark.skipif(DEVICE == "cpu", reason="more than 2^31 values: 17 GB, on a GPU only")
def test_more_than_2_to_the_31_values():
    M, D, w = 8, 32, 4096
    h = 2**31 // (M * D * w) + 1
    value = torch.zeros(1, h * w, M, D, dtype=torch.bfloat16, device=DEVICE)
    row = torch.randn(w, M, D, device=DEVICE).to(torch.bfloat16)
    value[0, -w:] = row
    locations = torch.rand(1, 64, M, 1, 4, 2, device=DEVICE)
    locations[..., 1] = (h - 0.5) / h  # on the last row
    weights = torch.rand(1, 64, M, 1, 4, device=DEVICE)
    grad_out = torch.randn(1, 64, M * D, device=DEVICE)
    out, grad_value, _, grad_weights = run(
        KERNELS.ms_deform_attn, [(h, w)], value, locations, weights, grad_out
    )
    locations[..., 1] = 0.5
    small = [tensor.double().cpu() for tensor in (row[None], locations, weights, grad_out)]
    expected = run(ms_deform_attn, [(1, w)], *small)
    assert_close(out.double().cpu(), expected[0], **TOL["float32 places, large map"])
    assert_close(grad_weights.double().cpu(), expected[3], **TOL["float32 places, large map"])
    assert grad_value[0, -w:].any() and not grad_value[0, : -2 * w].any()
