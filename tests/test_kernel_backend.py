"""Who runs the kernels, a GPU or the interpreter, is decided once a process; a refusal leaves no trace."""

import importlib
import os
import subprocess
import sys

import pytest
import torch
from kernel_device import DEVICE

from maskfree_nb import backend
from maskfree_nb.model.ms_deform_attn import MSDeformAttn

ASK = """
import importlib, os, torch
from torch._subclasses import FakeTensorMode
from maskfree_nb.backend import kernels, resolve
from maskfree_nb.errors import InputError

def ask(backend, tensor):
    try:
        return resolve(backend, tensor)
    except InputError as error:
        return f"InputError: {error}"

def on_a_gpu():
    with FakeTensorMode():
        return torch.empty(1, device="cuda")
"""


def printed(program: str, interpret: str | None = None) -> list[str]:
    """What a fresh process prints, with TRITON_INTERPRET set to `interpret`."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    if interpret is not None:
        environment["TRITON_INTERPRET"] = interpret
    command = [sys.executable, "-c", ASK + program]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_a_refused_call_does_not_spoil_a_process_that_compiles():
    refused, variable, answer, interpreted, *configs = printed(
        "import triton\n"
        "print(ask('triton', torch.zeros(1)))\n"
        "print('TRITON_INTERPRET' in os.environ)\n"
        "print(ask('auto', on_a_gpu()))\n"
        "print(kernels().INTERPRETED)\n"
        "os.environ['TRITON_INTERPRET'] = '1'\n"  # whoever sets it later
        "for name, sizes in (('tube_consistency', (10,)), ('knn_match', (1, 5))):\n"
        "    module = importlib.import_module(f'maskfree_kernels.{name}')\n"
        "    print(module.config(*sizes) in list(module.CONFIGS.values()), 'interpreter' in module.CONFIGS\n"
        "          and module.config(*sizes) == module.CONFIGS['interpreter'])\n"
    )
    assert "set TRITON_INTERPRET=1 before starting Python" in refused
    assert (variable, answer, interpreted) == ("False", "triton", "False")
    assert configs == ["True False"] * 2


def test_a_tensor_on_a_gpu_does_not_run_in_the_interpreter_unnoticed():
    answers = printed(
        "print(ask('triton', torch.zeros(1)))\n"
        "tensor = on_a_gpu()\n"
        "for backend in ('auto', 'triton', 'torch'):\n"
        "    print(ask(backend, tensor))\n"
    )
    assert answers[0] == "triton"
    assert all("InputError: a tensor is on a GPU, but" in answer for answer in answers[1:3])
    assert answers[3] == "torch"


def test_who_sets_the_variable_may_interpret_on_a_gpu():
    """To check the kernels themselves, on a machine that has a GPU."""
    assert printed("print(ask('triton', torch.zeros(1)), ask('auto', on_a_gpu()))", "1") == ["triton triton"]


def test_the_variable_set_to_0_is_left_alone():
    refused, variable = printed(
        "print(ask('triton', torch.zeros(1)))\nprint(os.environ['TRITON_INTERPRET'])\n", "0"
    )
    assert refused.startswith("InputError")
    assert variable == "0"


@pytest.mark.parametrize("through", ["kernels", "resolve"])
def test_attention_on_triton_compiles_without_a_break(monkeypatch, through):
    resolve = backend.resolve
    answers = {"kernels": lambda *_: "triton", "resolve": lambda _, tensor: resolve("triton", tensor)}
    monkeypatch.setattr(backend, "resolve", answers[through])
    generator = torch.Generator().manual_seed(0)
    attention = MSDeformAttn(8, levels=2, heads=2, points=3).to(DEVICE)
    shapes = [(3, 4), (2, 2)]
    query, reference, maps = (
        torch.rand(size, generator=generator).to(DEVICE) for size in ((1, 5, 8), (5, 2), (1, 16, 8))
    )
    torch.compiler.reset()
    compiled = torch.compile(attention, backend="eager", fullgraph=True)
    with torch.no_grad():
        expected = attention(query, reference, maps, shapes)
        torch.testing.assert_close(compiled(query, reference, maps, shapes), expected)


@pytest.mark.parametrize("op", ["knn_match", "tube_consistency", "ms_deform_attn", "ms_deform_attn_backward"])
def test_ops_that_may_copy_a_table_stay_out_of_cuda_graphs(op):
    assert torch.Tag.cudagraph_unsafe in getattr(torch.ops.maskfree, op).default.tags


@pytest.mark.parametrize(
    "op", ["rgb_to_lab", "colour_affinity", "pairwise", "projection", "projection_backward"]
)
def test_ops_without_tables_may_be_in_cuda_graphs(op):
    assert torch.Tag.cudagraph_unsafe not in getattr(torch.ops.maskfree, op).default.tags


def test_a_table_stays_where_it_is():
    """A CUDA graph reads it there, however many others come."""
    device_table = importlib.import_module("maskfree_kernels.tables").device_table
    first = device_table((1, 2, 3), torch.device("cpu"))
    for n in range(1000):
        device_table((4, n), torch.device("cpu"))
    assert device_table((1, 2, 3), torch.device("cpu")) is first
