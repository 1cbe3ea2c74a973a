"""The benchmark: its baseline computes the same loss, and it reports nothing where the two disagree."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.tkloss import TKLoss, frame_pairs

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """Import a file of the benchmarks folder, which is no package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def case(contenders, **changes):
    tensors = dict(loss=torch.tensor([1.0, 2.0]), gradient=torch.ones(3))
    return contenders.Case(
        **{"name": "toy", "setting": {}, "ours": lambda: tensors, "baseline": lambda: tensors, **changes}
    )


@pytest.mark.parametrize("frames, size", [(2, (9, 13)), (5, (16, 24))])
def test_the_baseline_is_the_official_loss(load, frames, size):
    naive_tk_loss = load("naive").naive_tk_loss
    generator = torch.Generator().manual_seed(0)
    coarse = 40 * torch.rand(1, 3, *size, generator=generator)
    lab = coarse + torch.randn(frames, 3, *size, generator=generator) / 2
    logits = torch.randn(2, 3, frames, *size, generator=generator)
    region = torch.rand(3, *size, generator=generator) > 0.5
    ours, naive = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = TKLoss.official(warmup_calls=0)
    value = loss(ours, loss.match_lab(lab), region)
    expected = naive_tk_loss(naive, lab, region, frame_pairs(frames))
    assert (expected > 0).all()
    assert_close(value, expected, **TOL["float32 sums"])
    value.sum().backward()
    expected.sum().backward()
    assert_close(1e3 * ours.grad, 1e3 * naive.grad, **TOL["float32 sums"])


def test_the_scene_moves_inside_its_boxes(load):
    clip, boxes = load("scene").moving_scene(3, 64, 96, 4)
    assert clip.shape == (3, 3, 64, 96) and clip.dtype == torch.uint8
    assert boxes.shape == (4, 3, 4)
    assert (boxes[..., :2] >= 0).all() and (boxes[..., 2] <= 96).all() and (boxes[..., 3] <= 64).all()
    assert not torch.equal(clip[0], clip[1])


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(loss=torch.tensor([1.0, 2.1]), gradient=torch.ones(3)), "loss differs by 4.8e-02"),
        (
            dict(loss=torch.tensor([1.0, 2.0]), gradient=torch.full((3,), torch.nan)),
            "gradient differs by nan",
        ),
        (dict(loss=torch.tensor([1.0, 2.0]), gradient=torch.ones(4)), r"gradient is \[3\] against \[4\]"),
        (dict(loss=torch.tensor([1.0, 2.0])), r"results \['gradient', 'loss'\] against \['loss'\]"),
    ],
)
def test_disagreement_is_red(load, wrong, message):
    contenders = load("contenders")
    with pytest.raises(contenders.Disagreement, match=message):
        contenders.agreement(case(contenders, baseline=lambda: wrong))


def test_turns_are_taken_by_both(load):
    harness = load("harness")
    order = []
    toy = case(
        load("contenders"), ours=lambda: order.append("ours"), baseline=lambda: order.append("baseline")
    )
    harness.ROUND_SECONDS = 0.0
    seconds = harness.measure(toy, torch.device("cpu"), rounds=3)
    assert order == ["ours", "baseline"] * 4  # once to see how long each takes
    assert [len(taken) for taken in seconds.values()] == [3, 3]


def test_quantiles(load):
    quantiles = load("harness").quantiles
    assert quantiles([3.0]) == dict(p20=3.0, p50=3.0, p80=3.0)
    assert quantiles([float(v) for v in range(11)]) == dict(p20=2.0, p50=5.0, p80=8.0)


@pytest.mark.slow
def test_report_of_a_small_run(load, tmp_path, capsys):
    file = tmp_path / "deep" / "report.json"
    status = load("run").main(["tkloss", "--small", "--rounds", "1", "--threads", "1", "--json", str(file)])
    printed = capsys.readouterr().out
    report = json.loads(file.read_text())
    assert {"commit", "device", "threads", "torch", "python", "load_average", "date"} <= report.keys()
    moving, worst = report["cases"]
    assert moving["bar"] == 20 and worst["bar"] is None and report["ratio"] == moving["ratio"]
    assert status == (moving["ratio"] < 20)  # at this size the bar need not be met
    for result in report["cases"]:
        for contender in ("ours", "baseline"):
            times = result[contender]["seconds"]
            assert 0 < times["p20"] <= times["p50"] <= times["p80"]
            assert result[contender]["peak_bytes"] > 0
        expected = result["baseline"]["seconds"]["p50"] / result["ours"]["seconds"]["p50"]
        assert result["ratio"] == expected
        assert f"ratio {expected:.1f}" in printed
    assert moving["ours"]["peak_bytes"] < moving["baseline"]["peak_bytes"]


def test_a_red_run_reports_nothing(load, monkeypatch, tmp_path, capsys):
    run_module, contenders = load("run"), load("contenders")
    other = dict(loss=torch.tensor([1.0, 2.5]), gradient=torch.ones(3))
    red = type(sys)("cases.tkloss", "A toy.")
    red.cases = lambda device, small: [case(contenders, baseline=lambda: other)]
    monkeypatch.setitem(sys.modules, "cases.tkloss", red)
    assert run_module.main(["tkloss", "--json", str(tmp_path / "report.json")]) == 1
    assert "red: toy: loss differs" in capsys.readouterr().err
    assert not (tmp_path / "report.json").exists()


def test_unknown_benchmarks_are_named(load, capsys):
    with pytest.raises(SystemExit, match="2"):
        load("run").main(["speed"])
    error = capsys.readouterr().err
    assert "invalid choice: 'speed'" in error and "tkloss" in error
