"""Which way losses pull: sums by hand, a case whose answer is known, the picture, the section of the page."""

import importlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from maskfree_nb.boxloss import box_masks
from maskfree_nb.criterion import Criterion, CriterionConfig
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.errors import InputError
from maskfree_nb.pretrained import pretrained
from maskfree_nb.recipes import DEMO
from maskfree_nb.viz.study import read_study

pytestmark = pytest.mark.usefixtures("benchmarks")


@pytest.fixture
def command():
    return importlib.import_module("pulls")


def test_ious_are_those_of_the_whole_clip(command):
    truth = torch.zeros(1, 2, 3, 4, dtype=torch.bool)
    truth[:, :, :2] = True  # 16 cells
    masks = torch.stack([truth, truth.clone(), ~truth], dim=1)
    masks[0, 1, 1] = False  # missing in the second frame
    assert command.mask_ious(masks, truth).tolist() == [[1, 0.5, 0]]


def test_pulls_are_summed_by_direction_over_wrong_and_right_cells(command):
    def cells(*values, dtype=torch.bool):
        return torch.tensor(values, dtype=dtype).view(1, 1, 1, -1)

    none = cells(0, 0, 0, 0, 0, dtype=torch.float32)
    towards = dict.fromkeys(command.LOSSES, none)
    towards["tk"] = cells(1, -2, 4, -1, 50, dtype=torch.float32)  # the last cell is outside the box
    towards["pairwise"] = cells(5, 0, 0, 7, 50, dtype=torch.float32)
    one = command.Pulls(3, torch.tensor([0]), cells(1, 1, 0, 0, 0), cells(0, 0, 1, 1, 0), none > 0, towards)
    found = command.figures([one, one])
    assert (found["objects"], found["missed"], found["wrong"]) == (2, 6, 50)
    assert [found[f"tk_{kind}"] for kind in ("wrong_to", "wrong_away", "right_to", "right_away")] == [
        5,
        10,
        20,
        5,
    ]
    assert (found["pairwise_wrong_to"], found["pairwise_right_to"], found["fill_wrong_to"]) == (25, 35, 0)


def test_a_hole_is_pulled_up_and_what_is_right_made_surer(command):
    """Frames of one colour: all links are there, so that the few wrong cells give way to the many."""
    frames = torch.full((1, 3, 3, 64, 64), 90, dtype=torch.uint8)
    boxes = box_masks(torch.tensor([[[0.0, 0.0, 64.0, 64.0]] * 3]), (64, 64))
    logits = torch.full_like(boxes, 2.0)
    logits[0, 1, 7:9, 7:9] = -2.0  # a hole
    criterion = Criterion(CriterionConfig(**{**DEMO["criterion"], "supervision": "masks"}))
    pulls = command.gradients(logits, boxes, torch.tensor([0]), frames, criterion)
    assert pulls.keys() == set(command.LOSSES)
    for name in ("tk", "pairwise"):
        assert (pulls[name][0, 1, 7:9, 7:9] < 0).all()  # descent raises them
        assert (pulls[name][0, 0, 3, 3:6] < 0).all()  # and makes what is right surer
    weight = criterion.config.tk_weight
    doubled = Criterion(CriterionConfig(**{**DEMO["criterion"], "tk_weight": 2 * weight}))
    twice = command.gradients(logits, boxes, torch.tensor([0]), frames, doubled)
    assert torch.equal(twice["tk"], 2 * pulls["tk"])


def test_directions_leave_out_what_is_hardly_pulled(command):
    picture = importlib.import_module("pulls_picture")
    wrong = torch.tensor([[1, 1, 1, 0]], dtype=torch.bool)
    pulls = {"pairwise": torch.tensor([[1.0, -1, 0.01, 9]]), "tk": torch.tensor([[0.0, 0.03, -0.5, -9]])}
    mistake = picture.Mistake(1, torch.zeros(3, 4, 16, dtype=torch.uint8), wrong, wrong, pulls)
    found = {
        name: [part.tolist()[0] for part in parts] for name, parts in picture.directions(mistake).items()
    }
    assert found["pairwise"] == [[True, False, False, False], [False, True, False, False]]
    assert found["tk"] == [[False, True, False, False], [False, False, True, False]]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """`tiny_boxes` as every row of a small study."""
    folder = tmp_path_factory.mktemp("study")
    make_embedded(folder / "data", train_videos=8, val_videos=1)
    data = json.loads((folder / "data" / "dataset.json").read_text())
    rows = []
    for name, label in (("boxinst", "without TK"), ("tk", "without pairwise")):
        (folder / name / "seed_3").mkdir(parents=True)
        shutil.copy(pretrained("tiny_boxes"), folder / name / "seed_3" / "model.safetensors")
        run = {"seed": 3, "AP": 40, "AP50": 80, "AP75": 31, "mean_iou": 70.0, "box_fill": 2}
        rows.append({"name": name, "label": label, "seeds": [run]})
    content = {"name": "main", "data": data, "settings": DEMO, "rows": rows}
    (folder / "study.json").write_text(json.dumps(content))
    return folder


@pytest.mark.slow
def test_the_section_of_the_page_has_the_numbers_of_the_file(command, study, tmp_path):
    section = importlib.import_module("pulls_section")
    studies = {"study": read_study(study / "study.json")}
    assert section.pulls_section(tmp_path, studies) == []
    content = command.write_pulls(study, tmp_path, clips=20)
    assert json.loads((tmp_path / "pulls.json").read_text()) == content
    runs = [row["seeds"][0] for row in content["rows"]]
    assert runs[0] == runs[1] and runs[0]["objects"] > 10 and 2 < runs[0]["wrong"] < 30
    shares = [value for name, value in runs[0].items() if name.endswith(("_to", "_away"))]
    assert len(shares) == 16 and min(shares) >= 0 and sum(shares) == pytest.approx(100, abs=0.1)
    assert content["picture"] == {"seed": 3, "count": 6}
    with Image.open(tmp_path / "pulls.png") as image:
        assert image.width == 800
    (text,) = section.pulls_section(tmp_path, studies)
    row = next(line for line in text.splitlines() if line.startswith("| without TK |"))
    assert [float(cell) for cell in row.split("|")[3:5]] == [
        pytest.approx(runs[0][name], abs=0.06) for name in ("wrong", "pairwise_wrong_to")
    ]
    assert "](pulls.png)" in text and "python benchmarks/pulls.py runs/study_main`" in text
    assert text in importlib.import_module("results_page").page(tmp_path, studies)
    content["rows"][1]["seeds"][0]["mean_iou"] += 1
    (tmp_path / "pulls.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"tk, seed 3: mean_iou is .*; run `python benchmarks/pulls"):
        section.pulls_section(tmp_path, studies)


@pytest.mark.slow
def test_composites_are_not_drawn_into_the_repository(command, study, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("measure_study.ROOT", tmp_path)
    monkeypatch.setattr(command, "shows_real_clips", lambda study: True)
    command.write_pulls(study, tmp_path / "results", "pulls_composites", clips=8)
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["pulls_composites.json"]
    assert "clips may not be given away" in capsys.readouterr().out
