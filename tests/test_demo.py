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
    for way in ("first", "refined", "temporal", "scored"):
        assert {"AP", "AP50", "AP75", "mean_IoU"} <= metrics[way].keys()
    assert metrics["seed"] == 3 and 0 <= metrics["AP"] <= 100
    for curves in ("curves.png", "curves_first.png"):
        assert (out / curves).stat().st_size > 10_000
    frames, _, _ = read_frames(out / "overlay.mp4")
    length = json.loads((out / "data" / "dataset.json").read_text())["val_frames"]
    assert len(frames) == 3 * length and (out / "overlay.gif").exists()
    printed = capsys.readouterr().out
    assert "AP50" in printed and f"AP {metrics['AP']:.1f} in" in printed
    first, second = (json.loads((out / name / "config.json").read_text()) for name in ("first", "second"))
    assert first["preset"] == second["preset"] == DEMO["preset"]
    assert first["criterion"] == DEMO["criterion"] and first["batch_size"] == 4
    assert second["criterion"] == {**DEMO["criterion"], "supervision": "masks"}
    assert first["annotations"].endswith("data/train.json") and first["seed"] == second["seed"] == 3
    assert second["annotations"] == str(out / "masks.json") and second["batch_size"] == 4
    assert (first["clips"]["num_frames"], second["clips"]["num_frames"]) == (3, 2)
    assert first["init"] is None and second["init"] is None
    drawn = json.loads((out / "masks.json").read_text())["annotations"]
    assert drawn and all(any(track["segmentations"]) for track in drawn)

    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    ship_model = importlib.import_module("ship_model")
    monkeypatch.setattr(ship_model, "WEIGHTS", tmp_path / "weights")
    ship_model.ship(out)
    record = json.loads((tmp_path / "weights" / "tiny_shapes.json").read_text())
    assert record["metrics"] == metrics and record["config"] == {
        **second,
        "annotations": "masks.json",
        "images": "data/train/JPEGImages",
    }
    assert record["first"]["config"]["annotations"] == "data/train.json"
    for log in (record["log"], record["first"]["log"]):
        assert [line["step"] for line in log] == [0, 11]
    shipped = (tmp_path / "weights" / "tiny_shapes.safetensors").read_bytes()
    assert shipped == (out / "second" / "model.safetensors").read_bytes()

    drawn_at = (out / "masks.json").stat().st_mtime_ns
    again = demo.run_demo(out, seed=3, processes=1, steps=12)
    assert again["AP"] == metrics["AP"]
    assert (out / "masks.json").stat().st_mtime_ns == drawn_at  # what is done is not done again
