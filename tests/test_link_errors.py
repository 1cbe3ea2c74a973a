"""What links object to in finished masks: cells counted by hand, the picture, the section of the page."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from stored_study import DATA, SOURCE, TRUTHS, changed, store, track

from maskfree_nb.errors import InputError
from maskfree_nb.viz.study import read_study

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def command():
    return importlib.import_module("link_errors")


def bools(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.bool)


def test_a_link_contradicts_both_its_ends_where_they_differ(command):
    links = torch.tensor([[0, 1, 3], [1, 2, 4]])
    linked, contradicted = command.linked_and_contradicted(bools(1, 1, 0, 0, 0, 1), links)
    assert linked.tolist() == [True] * 5 + [False]
    assert contradicted.tolist() == [False, True, True, False, False, False]


def test_cells_are_wrong_inside_the_box_where_half_of_one_is(command):
    truth, box, mask = np.zeros((3, 7, 8, 12), dtype=bool)
    truth[:, :, :4], box[:, :, :8] = True, True
    mask[:, 4:, :4] = True  # the upper left cell is missing
    mask[:, :2, 4:8] = True  # half of the upper middle one is extra
    mask[:, 6:, 4:7] = True  # less than half of the lower middle one
    mask[:, :, 8:] = True  # outside the box
    found = command.cells(SimpleNamespace(mask=truth, box=box), mask)
    frames = command.FRAMES
    assert found.wrong.tolist() == [True, True, False, False, False, False] * frames
    assert found.right.tolist() == [False, False, False, True, True, False] * frames
    assert found.label.tolist() == [False, True, True, True, False, True] * frames


def test_figures_are_of_the_cells_of_all_tracks(command):
    links = {name: torch.zeros(2, 0, dtype=torch.int64) for name in command.LINKS}
    links["neighbours"] = torch.tensor([[0, 2], [1, 3]])
    links["matches"] = torch.tensor([[0], [3]])
    first = command.Cells(bools(1, 1, 0, 0), bools(0, 0, 1, 1), bools(1, 1, 1, 0))
    second = command.Cells(bools(1, 1, 0, 0), bools(0, 0, 1, 0), bools(0, 0, 0, 0))
    found = [(SimpleNamespace(track=SimpleNamespace(video_id=7)), cells) for cells in (first, second)]
    got = command.figures(found, {7: links})
    assert got["wrong"] == 57.14  # 4 of 7
    # neighbours: all four wrong cells are linked, to their like; two right cells differ from each other
    assert [got[f"neighbours_{kind}"] for kind in ("linked", "contradicted", "right")] == [100, 0, 50]
    # the match leads from a wrong cell to a right one: they differ in the first track alone
    assert [got[f"matches_{kind}"] for kind in ("linked", "contradicted", "right")] == [50, 25, 25]
    assert got["matches_0.005_linked"] == 0


def results(place=(0, slice(8, 24), slice(8, 14))) -> list[dict]:
    """The large object lacks a block of 4 x 1 cells and a half in its first frame."""
    masks = {**TRUTHS, 3: changed(TRUTHS[3], place, False)}
    return [track(*each) for each in masks.items()]


def test_a_hole_in_one_colour_is_contradicted_and_drawn(command, tmp_path):
    folder = store(tmp_path / "study", {"boxinst": results()}, seeds=(2,))
    content = command.write_link_errors(folder, tmp_path / "out")
    (run,) = content["rows"][0]["seeds"]
    assert run["seed"] == 2 and run["tracks"] == 3
    assert run["mean_iou"] == read_study(folder / "study.json").row("boxinst").seeds[0]["mean_iou"]
    # neighbours two cells away and matches in the other frames, all of the same colour, are inside the mask
    assert run["neighbours_contradicted"] == run["matches_contradicted"] == 100
    assert content["picture"]["tracks"][0] == {"track_id": 30, "video_id": 3, "frame": 0}
    with Image.open(tmp_path / "out" / "link_errors.png") as image:
        assert image.width == 800
    assert json.loads((tmp_path / "out" / "link_errors.json").read_text()) == content


def test_a_run_that_finds_nothing_is_one_message(command, tmp_path):
    lost = track(3, changed(TRUTHS[3], (slice(None), slice(None), slice(0, 14)), False))  # IoU 0.3
    folder = store(tmp_path / "study", {"boxinst": [lost]})
    with pytest.raises(InputError, match=r"results\.json: finds no object with a track IoU of 0\.5"):
        command.write_link_errors(folder, tmp_path / "out")


def test_composites_are_not_drawn_into_the_repository(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("residual_errors.ROOT", tmp_path / "repository")
    folder = store(tmp_path / "study", {"boxinst": results()}, data=SOURCE)
    kept = tmp_path / "repository" / "benchmarks" / "results"
    command.main([str(folder), "--out", str(kept)])
    assert [path.name for path in kept.iterdir()] == ["link_errors_composites.json"]
    assert "clips may not be given away" in capsys.readouterr().out


def test_the_section_of_the_page_has_the_numbers_of_the_file(command, tmp_path):
    section = importlib.import_module("link_errors_section")
    found = {"boxinst": results(), "boxes": results((0, slice(8, 16), slice(8, 14)))}
    folder = store(tmp_path / "study", found, data=DATA, seeds=(0, 1))
    studies = {"study": read_study(folder / "study.json")}
    out = tmp_path / "out"
    assert section.link_errors_section(tmp_path, studies) == []
    content = command.write_link_errors(folder, out)
    (text,) = section.link_errors_section(out, studies)
    row = next(line for line in text.splitlines() if line.startswith("| without TK |"))
    wrong = content["rows"][0]["seeds"][0]["wrong"]
    assert wrong > 0 and row.split("|")[2].strip() == f"{wrong:.1f} ± 0.0"
    assert "](link_errors.png)" in text and "python benchmarks/link_errors.py runs/study_main`" in text
    assert text in importlib.import_module("results_page").page(out, studies)
    content["rows"][1]["seeds"][0]["mean_iou"] += 1
    (out / "link_errors.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"boxes, seed 0: mean_iou is .*; run `python benchmarks/link_err"):
        section.link_errors_section(out, studies)
