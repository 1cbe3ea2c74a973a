"""Residual errors: pixels counted by hand, the picture, what may not be drawn, the section of the page."""

import importlib
import json

import numpy as np
import pytest
from PIL import Image
from stored_study import (
    DATA,
    ROWS,
    SOURCE,
    SQUARE,
    TRUTHS,
    angle,
    changed,
    empty,
    large,
    square,
    store,
    track,
)

from maskfree_nb.errors import InputError

pytestmark = pytest.mark.usefixtures("benchmarks")


@pytest.fixture
def command():
    return importlib.import_module("residual_errors")


@pytest.mark.parametrize(
    ("id", "place", "value", "pixels"),
    [
        (1, (1, 8, slice(10, 20)), False, [10, 0, 0, 0, 0]),  # a row at the square's edge
        (1, (2, slice(10, 14), slice(14, 16)), False, [0, 8, 0, 0, 0]),  # a hole in the middle
        (1, (2, slice(9, 11), slice(14, 16)), False, [2, 2, 0, 0, 0]),  # row 9 is near, row 10 is far
        (1, (1, slice(22, 26), slice(1, 6)), True, [0, 0, 0, 0, 20]),  # a block elsewhere
        (1, (1, 18, slice(10, 14)), True, [0, 0, 0, 0, 4]),  # touches the square, outside its box
        (1, (0, *SQUARE), True, [0, 0, 0, 0, 100]),  # in a frame without the object
        (2, (0, slice(9, 17), slice(24, 32)), True, [0, 0, 28, 36, 0]),  # 8 x 8, of which 6 x 6 are far
        (3, (0, slice(None), slice(0, 18)), False, [0, 540, 0, 0, 0]),  # the frame's border is no outline
    ],
)
def test_pixels_are_counted_where_they_are(command, tmp_path, id, place, value, pixels):
    masks = {**TRUTHS, id: changed(TRUTHS[id], place, value)}
    folder = store(tmp_path / "study", {"boxes": [track(*each) for each in masks.items()]})
    (run,) = command.write_residuals(folder, tmp_path / "out")["rows"][0]["seeds"]
    shares = [100 * count / TRUTHS[id].sum() / len(TRUTHS) for count in pixels]
    assert [run[name] for name in command.WHERE] == [round(share, 2) for share in shares]
    assert (
        run["mean_iou"] == json.loads((folder / "study.json").read_text())["rows"][0]["seeds"][0]["mean_iou"]
    )


def test_a_missed_track_is_missing_as_a_whole(command, tmp_path):
    elsewhere = np.roll(square(), 15, axis=2)
    tracks = [track(2, angle()), track(3, large()), track(1, square(), category_id=2), track(1, elsewhere)]
    content = command.write_residuals(store(tmp_path / "study", {"boxes": tracks}), tmp_path / "out")
    (run,) = content["rows"][0]["seeds"]
    assert [run[name] for name in command.WHERE] == [
        round(64 / 3, 2),
        12,
        0,
        0,
        0,
    ]  # 6 x 6 of 10 x 10 are far
    assert run["mean_iou"] == run["over_50"] == run["over_85"] == 66.67
    assert (run["iou_small"], run["iou_medium"], run["iou_large"]) == (100, 0, 100)  # 80, 100, 600 pixels
    assert content["size_limits"] == [80, 100] and content["tracks"] == 3


def test_the_best_track_answers_and_ious_are_counted_above_each_limit(command, tmp_path):
    half = changed(square(), 1, False)  # IoU 0.5: not above
    good = changed(large(), (0, slice(0, 24), slice(None)), False)  # 480 of 1800 missing: IoU 0.733
    tracks = [track(1, half), track(2, empty(), score=0.9), track(2, angle(), score=0.1), track(3, good)]
    tracks[0]["segmentations"] = tracks[0]["segmentations"] + [None]  # a longer list is cut
    content = command.write_residuals(store(tmp_path / "study", {"boxes": tracks}), tmp_path / "out")
    (run,) = content["rows"][0]["seeds"]
    assert (run["over_50"], run["over_75"], run["over_85"]) == (66.67, 33.33, 33.33)
    assert run["iou_large"] == 73.33
    assert json.loads((tmp_path / "out" / "residuals.json").read_text()) == content


def two_rows() -> dict[str, list[dict]]:
    """Boxes lose much of the angle in frame 2, less of the square, and gain on the large one."""
    worse = {1: changed(square(), (1, 8), False), 2: changed(angle(), (2, slice(5, 8)), False), 3: large()}
    oracle = {1: square(), 2: angle(), 3: changed(large(), (0, 1), False)}
    found = {"masks": oracle, "boxes": worse}
    return {row: [track(id, mask) for id, mask in masks.items()] for row, masks in found.items()}


def test_the_picture_shows_the_tracks_that_lose_most(command, tmp_path):
    folder = store(tmp_path / "study", two_rows(), seeds=(4, 1))
    content = command.write_residuals(folder, tmp_path / "out")
    assert content["picture"]["seed"] == 4
    assert [(each["track_id"], each["frame"]) for each in content["picture"]["tracks"]] == [(20, 2), (10, 1)]
    assert content["picture"]["tracks"][1]["masks"] == 100 and content["picture"]["tracks"][1]["boxes"] == 95
    picture = tmp_path / "out" / "residuals.png"
    with Image.open(picture) as image:
        assert image.width == 800 and 100 < image.height < 160  # one line of two tracks
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 20
    assert picture.stat().st_size < 250_000


def test_nothing_is_drawn_where_boxes_lose_nothing(command, tmp_path, capsys):
    same = two_rows()["masks"]
    content = command.write_residuals(store(tmp_path / "study", dict.fromkeys(ROWS, same)), tmp_path / "out")
    assert "picture" not in content and not list(tmp_path.glob("out/*.png"))
    assert "no picture" in capsys.readouterr().out


def test_composites_are_not_drawn_into_the_repository(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("measure_study.ROOT", tmp_path / "repository")
    folder = store(tmp_path / "study", two_rows(), data=SOURCE)
    kept = tmp_path / "repository" / "benchmarks" / "results"
    command.main([str(folder), "--out", str(kept)])
    assert [path.name for path in kept.iterdir()] == ["residuals_composites.json"]
    assert "clips may not be given away" in capsys.readouterr().out
    for elsewhere in (tmp_path / "out", tmp_path / "repository" / "runs" / "out"):
        command.write_residuals(folder, elsewhere)
        names = {path.name for path in elsewhere.iterdir()}
        assert names == {"residuals_composites.json", "residuals_composites.png"}


def test_a_missing_run_is_one_message(command, tmp_path):
    folder = store(tmp_path / "study", two_rows())
    (folder / "boxes" / "seed_0" / "results.json").unlink()
    with pytest.raises(SystemExit, match=r"results\.json: cannot be read"):
        command.main([str(folder), "--out", str(tmp_path / "out")])


@pytest.mark.parametrize("data", [DATA, SOURCE])
def test_the_section_of_the_page_has_the_numbers_of_the_file(command, tmp_path, data):
    section = importlib.import_module("residual_section")
    study_of = importlib.import_module("maskfree_nb.viz.study").read_study
    study = study_of(store(tmp_path / "study", two_rows(), data=data, seeds=(0, 1)) / "study.json")
    content = command.write_residuals(tmp_path / "study", tmp_path / "out")
    stem = "study_composites" if data == SOURCE else "study"
    assert section.read_residuals(tmp_path / "out", stem, study) == content
    assert section.read_residuals(tmp_path / "out", "study_k", study) is None
    text = section.residual_section(content, stem, study)
    row = [line for line in text.splitlines() if line.startswith("| losses of boxes |")]
    near = content["rows"][1]["seeds"][0]["missing_near"]
    assert near > 0 and row[0].split("|")[2].strip() == f"{near:.1f} ± 0.0"
    assert "over the 3 true tracks" in text and f"(within {command.NEAR} pixels)" in text
    assert ("](residuals.png)" in text) == (data == DATA)  # composites may not be shown
    page = importlib.import_module("results_page").page(tmp_path / "out", {stem: study})
    assert f"]({stem}.png)" in page.split(text)[0]  # below the study's figure
    content["rows"][1]["seeds"][0]["mean_iou"] += 1
    (tmp_path / "out" / f"{stem.replace('study', 'residuals')}.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"boxes, seed 0: mean_iou is .*; run `python benchmarks/residual"):
        section.read_residuals(tmp_path / "out", stem, study)
