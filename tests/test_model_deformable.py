"""Deformable attention: golden numbers, its definition in loops, gradients, borders."""

import numpy as np
import pytest
import torch
from conftest import oracle_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import TOL

from maskfree_nb.model.ms_deform_attn import MSDeformAttn, level_sizes, ms_deform_attn

GOLDENS = sorted(path.name for path in (oracle_folder() / "model").glob("msda_*.npz"))


def random_input(N, M, D, shapes, Lq, P, seed, spread=1.5):
    """Draw values, locations (partly outside the maps) and weights in float64."""
    generator = torch.Generator().manual_seed(seed)
    S, L = sum(h * w for h, w in shapes), len(shapes)
    value = torch.randn(N, S, M, D, generator=generator, dtype=torch.float64)
    locations = torch.rand(N, Lq, M, L, P, 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(N, Lq, M, L, P, generator=generator, dtype=torch.float64)
    return value, (locations - 0.5) * spread + 0.5, weights


def in_loops(value, shapes, locations, weights):
    """The definition, one sample at a time."""
    N, Lq, M, L, P, _ = locations.shape
    out = torch.zeros(N, Lq, M, value.shape[-1], dtype=value.dtype)
    starts = np.cumsum([0] + [h * w for h, w in shapes])
    for n, q, m, level, p in np.ndindex(N, Lq, M, L, P):
        h, w = shapes[level]
        x, y = (locations[n, q, m, level, p] * torch.tensor([w, h]) - 0.5).tolist()
        for j in (int(np.floor(y)), int(np.floor(y)) + 1):
            for i in (int(np.floor(x)), int(np.floor(x)) + 1):
                if 0 <= j < h and 0 <= i < w:
                    share = (1 - abs(y - j)) * (1 - abs(x - i)) * weights[n, q, m, level, p]
                    out[n, q, m] += share * value[n, starts[level] + j * w + i, m]
    return out.flatten(2)


@pytest.mark.oracle
def test_there_are_goldens():
    assert GOLDENS


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", GOLDENS)
def test_golden_values_and_gradients(oracle, name, dtype):
    golden = np.load(oracle / "model" / name)
    inputs = [torch.tensor(golden[key], dtype=dtype) for key in ("value", "locations", "weights")]
    value, locations, weights = (tensor.requires_grad_() for tensor in inputs)
    out = ms_deform_attn(value, [tuple(shape) for shape in golden["shapes"].tolist()], locations, weights)
    scalar = (out * torch.tensor(golden["grad_output"])).sum()
    scalar = (out * torch.tensor(golden["grad_output"])).sum()
    gradients = torch.autograd.grad(scalar, (value, locations, weights))
    row = TOL[f"oracle deformable attention, {str(dtype).removeprefix('torch.')}"]
    torch.testing.assert_close(out.double(), torch.from_numpy(golden["output"]), **row)
    for key, gradient in zip(("grad_value", "grad_locations", "grad_weights"), gradients, strict=True):
        torch.testing.assert_close(gradient.double(), torch.from_numpy(golden[key]), **row)


sizes = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=3)


@given(sizes, st.integers(1, 2), st.integers(1, 2), st.integers(1, 2), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_equals_its_definition(shapes, N, M, D, P, seed):
    value, locations, weights = random_input(N, M, D, shapes, 2, P, seed)
    expected = in_loops(value, shapes, locations, weights)
    torch.testing.assert_close(ms_deform_attn(value, shapes, locations, weights), expected, **TOL["float64"])


def test_samples_on_pixel_centres_return_the_pixels():
    shapes = [(3, 5)]
    value, _, _ = random_input(1, 1, 2, shapes, 15, 1, seed=0)
    y, x = torch.meshgrid((torch.arange(3) + 0.5) / 3, (torch.arange(5) + 0.5) / 5, indexing="ij")
    locations = torch.stack([x, y], -1).double().view(1, 15, 1, 1, 1, 2)
    out = ms_deform_attn(value, shapes, locations, torch.ones(1, 15, 1, 1, 1, dtype=torch.float64))
    torch.testing.assert_close(out, value[:, :, 0], **TOL["float32 grid"])


def test_far_outside_is_zero():
    value, locations, weights = random_input(2, 2, 3, [(4, 5)], 3, 2, seed=0)
    assert not ms_deform_attn(value, [(4, 5)], locations + 3, weights).any()


def test_no_queries():
    value, locations, weights = random_input(2, 2, 3, [(4, 5)], 0, 2, seed=0)
    assert ms_deform_attn(value, [(4, 5)], locations, weights).shape == (2, 0, 6)


def test_gradients_by_finite_differences():
    shapes = [(3, 4), (2, 2)]
    inputs = [tensor.requires_grad_() for tensor in random_input(1, 2, 2, shapes, 2, 2, seed=1)]
    assert torch.autograd.gradcheck(lambda v, xy, a: ms_deform_attn(v, shapes, xy, a), inputs)


def test_the_module_starts_as_a_star():
    """At first each head looks 1, 2, .. pixels along its own direction with equal weights."""
    attention = MSDeformAttn(8, levels=2, heads=4, points=3)
    offsets = attention.sampling_offsets(torch.randn(1, 8)).view(4, 2, 3, 2)
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    expected = directions[:, None, None] * torch.tensor([1.0, 2.0, 3.0])[:, None]
    torch.testing.assert_close(offsets, expected.expand(4, 2, 3, 2))
    constant = torch.ones(1, 7 * 7, 8)
    attention = MSDeformAttn(8, levels=1, heads=4, points=3)
    out = attention(torch.randn(1, 1, 8), torch.tensor([[0.5, 0.5]]), constant, [(7, 7)])
    expected = attention.output_proj(attention.value_proj(constant[:, :1]))
    torch.testing.assert_close(out, expected)


def test_sizes_of_the_levels():
    shapes = [(3, 5), (6, 10), (12, 20)]
    sizes = level_sizes(shapes, torch.device("cpu"))
    assert torch.equal(sizes, torch.tensor([(w, h) for h, w in shapes])[:, None])
    attention = MSDeformAttn(8, levels=3, heads=2, points=2)
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(size, generator=generator) for size in ((2, 4, 8), (4, 2), (2, 315, 8))]
    assert torch.equal(attention(*tensors, shapes), attention(*tensors, shapes, sizes=sizes))
