"""The one command, shortened: everything it promises to leave is there."""

import importlib
import json
from pathlib import Path

import pytest

from maskfree_nb import demo
from maskfree_nb.data.video import read_frames
from maskfree_nb.recipes import DEMO

pytestmark = pytest.mark.slow


def test_the_demo_leaves_metrics_curves_and_films(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "DEMO_DATA", {"train_videos": 4, "train_frames": 5, "val_videos": 3})
    metrics = demo.run_demo(tmp_path / "demo", seed=3, processes=1, steps=12)
    out = tmp_path / "demo"
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert {"AP", "AP50", "AP75", "AR10", "box_fill_AP", "seconds", "seed"} <= metrics.keys()
    assert {"AP", "AP50", "AP75", "mean_IoU"} <= metrics["refined"].keys() == metrics["temporal"].keys()
    assert metrics["seed"] == 3 and 0 <= metrics["AP"] <= 100
    assert (out / "curves.png").stat().st_size > 10_000
    frames, _, _ = read_frames(out / "overlay.mp4")
    length = json.loads((out / "data" / "dataset.json").read_text())["val_frames"]
    assert len(frames) == 3 * length and (out / "overlay.gif").exists()
    printed = capsys.readouterr().out
    assert "AP50" in printed and f"AP {metrics['AP']:.1f} in" in printed
    assert json.loads((out / "train" / "config.json").read_text())["preset"] == DEMO["preset"]

    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    ship_model = importlib.import_module("ship_model")
    monkeypatch.setattr(ship_model, "WEIGHTS", tmp_path / "weights")
    ship_model.ship(out)
    record = json.loads((tmp_path / "weights" / "tiny_boxes.json").read_text())
    assert record["metrics"] == metrics and record["config"]["annotations"] == "data/train.json"
    assert [line["step"] for line in record["log"]] == [0, 11]
    shipped = (tmp_path / "weights" / "tiny_boxes.safetensors").read_bytes()
    assert shipped == (out / "train" / "model.safetensors").read_bytes()

    again = demo.run_demo(out, seed=3, processes=1, steps=12)
    assert again["AP"] == metrics["AP"]
