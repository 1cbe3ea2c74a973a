"""What TK-Loss adds: differences of stored rows, and the figure that shows them."""

import importlib
import json
import math
from pathlib import Path

import pytest

from maskfree_nb.viz.study import Study, StudyRow, read_study

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gains_of(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("tk_gains")


def row(name: str, *aps: float) -> StudyRow:
    seeds = ({"seed": n, "AP": ap, "mean_iou": ap + 30, "AP50": 0, "AP75": 0} for n, ap in enumerate(aps))
    return StudyRow(name, name, tuple(seeds))


def test_a_gain_is_the_difference_of_the_means_with_its_standard_error(gains_of):
    rows = (row("boxes", 40, 42, 44), row("boxinst", 40, 40.5), row("tk", 30, 31), row("projection", 29))
    gains = gains_of.tk_gains({"study_steps": Study({}, rows), "study_clips": Study({}, rows[:1])})
    assert [(each.to, each.where) for each in gains] == [
        ("projection + pairwise", "embedded set, the 50")
    ]  # one seed of projection tells no error, and the clips here have no row without TK-Loss
    (text,) = gains_of.gain_section(gains)
    error = math.hypot(2 / math.sqrt(3), 0.25)  # sample deviations 2 of three seeds, 0.354 of two
    assert f"| +1.8 ± {error:.1f} | +1.8 ± {error:.1f} | 3 and 2 |" in text


def test_nothing_stored_is_no_section(gains_of):
    assert gains_of.gain_section(gains_of.tk_gains({})) == []


def test_every_setting_is_one_of_the_stored_studies(gains_of):
    studies = {path.stem: read_study(path) for path in (FOLDER / "results").glob("study*.json")}
    assert len(gains_of.tk_gains(studies)) == sum(len(each) for each in gains_of.SETTINGS.values())


def test_the_rows_of_a_setting_differ_in_tk_loss_alone(gains_of):
    contents = {path.stem: json.loads(path.read_text()) for path in (FOLDER / "results").glob("study*.json")}
    for settings in gains_of.SETTINGS.values():
        for _, *pair in settings:
            one, other = (contents[place.split("/")[0]] for place in pair)
            assert one["settings"] == other["settings"], pair
            for content in (one, other):
                content["data"].pop("rows", None)
            assert one["data"] == other["data"], pair


def test_the_figure_shows_each_gain_at_its_place(gains_of):
    rows = tuple(
        row(*each)
        for each in (("boxes", 41, 43), ("boxinst", 44, 46), ("tk", 30, 32), ("projection", 28, 28))
    )
    studies = {stem: Study({}, rows) for stem in ("study", "study_fresh", "study_clips")}
    gains = gains_of.tk_gains(studies)
    figure = gains_of.gain_figure(gains)
    for panel in figure.axes:
        ((dots, _, _),) = panel.containers
        assert dots.get_xdata() == pytest.approx([-3] * 3 + [3] * 2)  # the row of class shapes is not there
        assert list(dots.get_ydata()) == [0, 1, 2, 4, 5]  # a place is left between the two bases
        low, high = panel.get_xlim()
        assert low == -high and high >= 3 + math.sqrt(2)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [each.where for each in gains]
    notes = [note.get_text() for note in figure.axes[0].texts]
    assert notes == ["added to projection + pairwise", "added to projection"]
