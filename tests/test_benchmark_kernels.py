"""The benchmark of the kernels: what is wrong, or left unwritten, is red."""

import importlib
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """Import a file of the benchmarks folder, which is no package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def case(gpu, ours, baseline=None):
    def right():
        return {"loss": torch.tensor([1.0, 2.0]), "gradient": torch.ones(3)}

    about = {"setting": "toy", "against": "toy"}
    return gpu.KernelCase("toy", about, ours=ours, baseline=baseline or right, reference=right)


def test_a_right_kernel_passes(load):
    gpu = load("gpu")
    results = {"loss": torch.tensor([1.0, 2.0 + 1e-6]), "gradient": torch.ones(3)}
    differences = case(gpu, lambda: results).differences()
    assert differences["gradient"] == 0 < differences["loss"] < 1e-5


@pytest.mark.parametrize(
    "ours",
    [
        lambda: {"loss": torch.tensor([1.0, 2.1]), "gradient": torch.ones(3)},
        lambda: {"loss": torch.tensor([1.0, 2.0]), "gradient": torch.empty(3)},  # nothing written
        lambda: {"loss": torch.tensor([1.0, 2.0]), "gradient": torch.ones(4)},
    ],
)
def test_a_wrong_kernel_is_red(load, ours):
    gpu = load("gpu")
    with pytest.raises(load("harness").Disagreement):
        case(gpu, ours).differences()
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_wrong_baseline_is_red(load):
    def wrong():
        return {"loss": torch.tensor([1.0, 2.1])}

    gpu = load("gpu")
    right = case(gpu, None).reference
    with pytest.raises(load("harness").Disagreement, match="the baseline, toy, has another loss"):
        case(gpu, right, wrong).differences()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure on")
def test_without_a_gpu_nothing_is_measured(load, capsys, tmp_path):
    assert load("run_kernels").main(["--json", str(tmp_path / "report.json")]) == 0
    assert capsys.readouterr().out == "no GPU here: nothing is measured\n"
    assert not list(tmp_path.iterdir())
