"""The search over launch configurations: what is tried, checked and printed; without a GPU it says so."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def tuning(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("tuning")


def toy(tuning, configs, results):
    """A kernel that takes BLOCK microseconds."""
    return tuning.Sweep(
        "a kernel",
        tuning.choices(tuning.into(configs, "gpu"), BLOCK=(2, 1, 3)),
        results=lambda: results(configs["gpu"]["BLOCK"]),
        check=torch.testing.assert_close,
        seconds=lambda: {"us": 1e-6 * configs["gpu"]["BLOCK"]},
    )


def test_the_fastest_comes_last_and_stays(tuning, capsys):
    configs = {"gpu": {"BLOCK": 7, "num_warps": 4}, "interpreter": {"BLOCK": 9}}
    tuning.try_all(toy(tuning, configs, lambda block: [torch.ones(3)]))
    title, head, *rows = capsys.readouterr().out.strip().splitlines()
    assert (title, head.split()) == ("a kernel", ["us"])
    assert [row.split() for row in rows] == [["BLOCK", f"{n}", f"{n}.00"] for n in (3, 2, 1)]
    assert configs == {"gpu": {"BLOCK": 1, "num_warps": 4}, "interpreter": {"BLOCK": 9}}


def test_other_results_are_an_error(tuning):
    with pytest.raises(AssertionError, match="not close"):
        tuning.try_all(toy(tuning, {"gpu": {}}, lambda block: [torch.full((3,), 1.0 if block > 1 else 2.0)]))


def test_what_does_not_compile_is_left_out(tuning, capsys):
    def results(block):
        if block == 1:
            raise RuntimeError("too much\nfor this chip")
        return [torch.ones(3)]

    configs = {"gpu": {}}
    tuning.try_all(toy(tuning, configs, results))
    printed = capsys.readouterr().out.splitlines()
    assert printed[2].split(maxsplit=2) == ["BLOCK", "1", "RuntimeError: too much"]
    assert printed[-1].split() == ["BLOCK", "2", "2.00"]
    assert configs == {"gpu": {"BLOCK": 2}}


def test_every_combination(tuning):
    found = []
    for label, put_in_place in tuning.choices(found.append, A=(1, 2), B=(3, 4)):
        put_in_place()
        assert label == ", ".join(f"{name} {value}" for name, value in found[-1].items())
    assert found == [{"A": a, "B": b} for a in (1, 2) for b in (3, 4)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure on")
@pytest.mark.parametrize(
    "script, names", [("sweep", ["ms_deform_attn", "pairwise", "projection"]), ("sweep_tk", [])]
)
def test_without_a_gpu_it_says_so(tuning, monkeypatch, capsys, script, names):
    module = importlib.import_module(script)
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *names])
    assert module.main(module.__doc__, module.SWEEPS) is None
    assert capsys.readouterr().out == "no GPU here: nothing is measured\n"
