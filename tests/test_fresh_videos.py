"""Models of a study scored on other videos: which videos, which models, and what the page says of them."""

import importlib
import json
from pathlib import Path

import pytest

from maskfree_nb.errors import InputError
from maskfree_nb.recipes import DEMO
from maskfree_nb.viz.study import read_study

FOLDER = Path(__file__).parents[1] / "benchmarks"
DATA = {
    "version": 3, "seed": 0, "width": 64, "height": 48, "train_videos": 4, "train_frames": 3,
    "val_videos": 2, "val_frames": 2, "sha256": "ab" * 32,
}  # fmt: skip
FIGURES = {"AP50": 80.0, "AP75": 30.0, "AR10": 40.0, "mean_iou": 70.0, "box_fill": 2.0}


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("fresh_videos")


@pytest.fixture
def folder(tmp_path) -> Path:
    rows = [
        {
            "name": name,
            "label": name,
            "seeds": [{"seed": seed, "AP": 10.0, **FIGURES, "seconds": 60} for seed in (0, 2)],
        }
        for name in ("masks", "boxes")
    ]
    for name in ("masks", "boxes"):
        for seed in (0, 2):
            path = tmp_path / name / f"seed_{seed}" / "model.safetensors"
            path.parent.mkdir(parents=True)
            path.write_text("")
    content = {"name": "main", "question": "q", "data": DATA, "settings": DEMO, "rows": rows}
    (tmp_path / "study.json").write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize(("suffix", "flag"), [("", ""), ("_redrawn", "refine"), ("_temporal", "temporal")])
def test_every_model_is_scored_on_the_other_videos_and_the_page_says_so(
    fresh, folder, monkeypatch, suffix, flag
):
    asked = []
    name, flags = f"fresh{suffix}", {flag: True} if flag else {}

    def evaluated(model, data, out, *, refine, temporal):
        asked.append(model.relative_to(folder).as_posix())
        videos = json.loads((data / "val.json").read_text())["videos"]
        assert len(videos) == 3 and out == model.parent / name
        assert (refine, temporal) == (flag == "refine", flag == "temporal")
        return {"AP": 40.0 if "masks" in asked[-1] else 30.0, **FIGURES}

    monkeypatch.setattr(fresh, "evaluated", evaluated)
    results = folder / "results"
    results.mkdir()
    fresh.fresh_videos(folder, results / f"study_{name}.json", videos=3, **flags)
    assert asked == [f"{row}/seed_{seed}/model.safetensors" for row in ("masks", "boxes") for seed in (0, 2)]
    study = read_study(results / f"study_{name}.json")
    assert study.share_of_oracle() == 0.75 and study.data["sha256"] == DATA["sha256"]
    assert study.data["fresh"]["val_videos"] == 3 and study.data["fresh"]["sha256"] != DATA["sha256"]

    page_of = importlib.import_module("results_page")
    page = page_of.page(results, page_of.read_studies(results))
    assert "**Scored on 3 other videos**, of seed 1" in page
    assert f"python benchmarks/fresh_videos.py runs/study_main{f' --{flag}' * bool(flag)}\n" in page
    assert ("all masks redrawn along the colours" in page) == bool(flag)
    assert ("of the frames and the matches between them." in page) == (flag == "temporal")
    assert "share of the oracle's AP" in page


def test_the_study_s_own_videos_and_a_run_without_its_model_are_refused(fresh, folder):
    with pytest.raises(InputError, match="seed 0 makes the videos that the study was scored on"):
        fresh.fresh_videos(folder, folder / "out.json", seed=0)
    (folder / "masks/seed_0/model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: no such model; run the study again"):
        fresh.fresh_videos(folder, folder / "out.json", videos=1)
    assert not (folder / "out.json").exists()
