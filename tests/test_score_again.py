"""Models of a study scored again: which videos and models, how, and what the page says of it."""

import importlib
import json
import subprocess
import sys
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
def again(benchmarks):
    return importlib.import_module("score_again")


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


WAYS = [  # flags, on the study's own videos, name of the file, what the page says
    ([], False, "study_fresh", "(sha256 `{sha256}`), nothing being trained anew."),
    (
        ["--refine"],
        False,
        "study_fresh_redrawn",
        "nothing being trained anew, and all masks redrawn along the colours of the frames.",
    ),
    (
        ["--temporal", "--mask-scores"],
        False,
        "study_fresh_temporal_scored",
        "of the frames and the matches between them, and the score of every track multiplied by how sure",
    ),
    (
        ["--mask-scores"],
        True,
        "study_scored",
        " Scored again, the score of every track multiplied by how sure",
    ),
]


@pytest.mark.parametrize(("flags", "held_out", "stem", "said"), WAYS)
def test_every_model_is_scored_again_and_the_page_says_how(
    again, folder, monkeypatch, flags, held_out, stem, said
):
    asked = {}

    def evaluated(model, data, out, asked_flags):
        asked[model.relative_to(folder).as_posix()] = asked_flags
        assert data == folder / ("data" if held_out else "fresh")
        assert held_out or len(json.loads((data / "val.json").read_text())["videos"]) == 3
        assert out.parent == model.parent and out.name.startswith("held_out" if held_out else "fresh")
        return {"AP": 40.0 if "masks" in str(model) else 30.0, **FIGURES}

    monkeypatch.setattr(again, "evaluated", evaluated)
    results = folder / "results"
    results.mkdir()
    again.score_again(folder, results / f"{stem}.json", flags, videos=3, held_out=held_out)
    assert asked == {
        f"{row}/seed_{seed}/model.safetensors": flags for row in ("masks", "boxes") for seed in (0, 2)
    }
    study = read_study(results / f"{stem}.json")
    assert study.share_of_oracle() == 0.75 and study.data["sha256"] == DATA["sha256"]
    assert ("fresh" in study.data) != held_out and study.data.get("flags", []) == flags
    sha256 = DATA["sha256"]
    if not held_out:
        sha256 = study.data["fresh"]["sha256"]
        assert study.data["fresh"]["val_videos"] == 3 and sha256 != DATA["sha256"]

    page_of = importlib.import_module("results_page")
    page = page_of.page(results, page_of.read_studies(results))
    assert ("**Scored on 3 other videos**, of seed 1" in page) != held_out
    given = [*["--held-out"] * held_out, *flags]
    assert f"python {' '.join(['benchmarks/score_again.py runs/study_main', *given])}\n" in page
    assert said.format(sha256=sha256[:16]) in page
    assert "share of the oracle's AP" in page and "**not met**" in page  # the bars are held to it


def test_only_some_rows(again, folder, monkeypatch):
    monkeypatch.setattr(again, "evaluated", lambda *given: {"AP": 30.0, **FIGURES})
    content = again.score_again(folder, folder / "out.json", videos=1, rows=["boxes"], jobs=1)
    assert [row["name"] for row in content["rows"]] == ["boxes"]
    how_scored = importlib.import_module("how_scored")
    command = how_scored.scoring_command("study_fresh", read_study(folder / "out.json"))
    assert command == "python benchmarks/score_again.py runs/study_main --rows boxes"
    assert json.loads((folder / "out.json").read_text()) == content


def test_what_cannot_be_scored_is_refused_before_anything_is(again, folder, monkeypatch):
    monkeypatch.setattr(again, "evaluated", lambda *given: pytest.fail("scored"))
    out = folder / "out.json"
    with pytest.raises(InputError, match="seed 0 makes the videos that the study was scored on"):
        again.score_again(folder, out, seed=0)
    with pytest.raises(InputError, match=r"study\.json has these figures already"):
        again.score_again(folder, out, held_out=True)
    with pytest.raises(InputError, match="has no row 'boxinst'"):
        again.score_again(folder, out, rows=["masks", "boxinst"])
    (folder / "boxes/seed_2/model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: no such model; run the study again"):
        again.score_again(folder, out, videos=1)
    assert not out.exists()


def test_every_stored_file_has_the_name_that_the_command_of_the_page_gives_it(again):
    """So that no command of the page overwrites the results of another."""
    how_scored = importlib.import_module("how_scored")
    found = {}
    for path in (FOLDER / "results").glob("study*.json"):
        if command := how_scored.scoring_command(path.stem, read_study(path)):
            _, _, folder, *words = command.split()
            flags = [word for word in words if word in again.SUFFIXES]
            found[path.stem] = again.stored_as(Path(folder), flags, "--held-out" in words)
    assert len(found) > 5 and all(stem == name for stem, name in found.items())


def test_the_command_line_refuses_what_makes_no_sense(again, folder):
    command = [sys.executable, str(FOLDER / "score_again.py"), str(folder)]
    done = subprocess.run([*command, "--held-out"], capture_output=True, text=True)
    assert done.returncode == 1 and "has these figures already" in done.stderr
    done = subprocess.run([*command, "--refine", "--temporal"], capture_output=True, text=True)
    assert done.returncode == 2 and "not allowed with" in done.stderr
