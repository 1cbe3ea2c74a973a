"""The benchmark of the kernels: what is wrong, or left unwritten, is red."""

import importlib
import json
from pathlib import Path

import pytest
import torch

from maskfree_nb.viz.roofline import kernel_passes

FOLDER = Path(__file__).parents[1] / "benchmarks"
KERNELS = FOLDER.parent / "kernels" / "maskfree_kernels"


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
    with pytest.raises(load("contenders").Disagreement):
        case(gpu, ours).differences()
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_wrong_baseline_is_red(load):
    def wrong():
        return {"loss": torch.tensor([1.0, 2.1])}

    gpu = load("gpu")
    right = case(gpu, None).reference
    with pytest.raises(load("contenders").Disagreement, match="the baseline, toy, has another loss"):
        case(gpu, right, wrong).differences()


@pytest.fixture
def stored(load, monkeypatch, tmp_path, capsys):
    """Run the benchmark of the kernels with this folder of reports; the lines of its table, by kernel."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU to measure on")
    module = load("run_kernels")

    def run(*arguments):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
        assert module.main([*arguments]) == 0
        note, *lines = capsys.readouterr().out.splitlines()
        assert note == "no GPU here: nothing is measured"
        assert lines[-1].endswith(module.COMMAND)
        return {line[:34].strip(): line[34:] for line in lines[3:-2]}

    return run


def test_without_a_gpu_every_kernel_is_listed_as_not_yet_measured(stored, tmp_path):
    table = stored("--json", str(tmp_path / "report.json"))
    assert not list(tmp_path.iterdir())
    assert list(table) == [each.name for each in kernel_passes()]
    assert all("  not yet measured" in line for line in table.values())
    modules = {path.stem for path in KERNELS.glob("*.py") if "aot_cases" in path.read_text()}
    listed = {name.split(",")[0].removesuffix("_loss") for name in table}
    assert listed == modules - {"reverse_matches", "pair_sums"}  # parts of tube_consistency


def test_without_a_gpu_stored_times_are_shown(stored, tmp_path):
    row = {
        "name": "projection",
        "setting": {"setting": "R50"},
        "bytes": 1,
        "seconds": {"graph": {"p50": 9e-6}},
    }
    report = {"benchmark": "kernels", "device": "a chip", "rows": [row]}
    (tmp_path / "kernels.json").write_text(json.dumps(report))
    table = stored()
    shown = {name for name, line in table.items() if line.endswith("  9.00 us (projection, R50, a chip)")}
    assert shown == {"projection_loss, forward", "projection_loss, backward"}
    assert all("not yet measured" in table[name] for name in table.keys() - shown)
