"""A stored study: what is read, what its table says, what is drawn."""

import json
import math

import pytest
from numpy.testing import assert_allclose
from tolerances import TOL

from maskfree_nb.errors import InputError
from maskfree_nb.viz.study import DRAWN, LEAST_SPAN, read_study, study_figure


def seed(number: int, ap: float) -> dict:
    return {"seed": number, "AP": ap, "AP50": 60.0, "AP75": 30.0, "mean_iou": 65.0, "box_fill": 0.4}


def content() -> dict:
    return {
        "data": {"version": 3},
        "rows": [
            {"name": "boxes", "label": "boxes (ours)", "seeds": [seed(0, 40.0), seed(1, 44.0)]},
            {"name": "boxinst", "label": "boxinst", "seeds": [seed(0, 35.0)]},
            {"name": "masks", "label": "oracle", "seeds": [seed(0, 50.0), seed(1, 50.0), seed(2, 53.0)]},
        ],
    }


def stored(folder, study: dict):
    path = folder / "study.json"
    path.write_text(json.dumps(study))
    return path


def test_means_spreads_and_the_share_of_the_oracle(tmp_path):
    study = read_study(stored(tmp_path, content()))
    assert study.data == {"version": 3}
    assert_allclose(study.row("boxes").mean("AP"), 42.0, **TOL["float64"])
    assert_allclose(study.row("boxes").spread("AP"), 8**0.5, **TOL["float64"])
    assert math.isnan(study.row("boxinst").spread("AP"))
    assert_allclose(study.share_of_oracle(), 42 / 51, **TOL["float64"])
    assert_allclose(study.share_of_oracle("boxinst"), 35 / 51, **TOL["float64"])


def test_the_table_has_a_line_a_row_and_no_spread_of_one_seed(tmp_path):
    header, *lines = read_study(stored(tmp_path, content())).table().splitlines()
    assert "AP75" in header and len(lines) == 3
    assert "42.0 ± 2.8" in lines[0] and "0.4 ± 0.0" in lines[0] and lines[0].endswith(" 2")
    assert "35.0" in lines[1] and "±" not in lines[1]


def test_every_row_has_a_bar_a_whisker_and_its_seeds(tmp_path):
    figure = study_figure(read_study(stored(tmp_path, content())))
    assert len(figure.axes) == len(DRAWN)
    panel = figure.axes[0]
    assert_allclose([bar.get_width() for bar in panel.patches], [42, 35, 51], **TOL["float64"])
    assert len(panel.containers) == 5  # three bars, and two whiskers: a single seed has none
    dots = [line for line in panel.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [2, 1, 3]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["boxes (ours)", "boxinst", "oracle"]
    (oracle,) = (line for line in panel.lines if line.get_linestyle() == "--")
    assert_allclose(oracle.get_xdata()[0], 51, **TOL["float64"])
    figure.draw_without_rendering()


def test_rows_with_numbers_are_drawn_along_them(tmp_path):
    rows = [
        {"name": "r5", "label": "R = 5", "seeds": [seed(0, 42.0), seed(1, 43.0)]},
        {"name": "grid", "label": "3 x 3 grid, 3 apart", "seeds": [seed(0, 39.0)]},
        {"name": "r1", "label": "R = 1", "seeds": [seed(0, 41.0)]},
    ]
    figure = study_figure(read_study(stored(tmp_path, {"rows": rows})))
    panel = figure.axes[0]
    ticks = [tick.get_text() for tick in panel.get_xticklabels()]
    assert ticks == ["R = 1", "R = 5", "3 x 3 grid,\n3 apart"]
    line, apart = (bars.lines[0] for bars in panel.containers)
    assert_allclose(line.get_xydata(), [[0, 41], [1, 42.5]], **TOL["float64"])
    assert_allclose(apart.get_xydata(), [[2, 39]], **TOL["float64"])
    low, high = panel.get_ylim()
    assert high - low >= LEAST_SPAN - 1e-9 and panel.get_legend() is None
    figure.draw_without_rendering()


def test_rows_of_different_names_are_bars_though_they_end_in_numbers(tmp_path):
    rows = [
        {"name": name, "label": name, "seeds": [seed(0, 40.0)]} for name in ("masks", "tk_1", "pairwise_1")
    ]
    panel = study_figure(read_study(stored(tmp_path, {"rows": rows}))).axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["masks", "tk_1", "pairwise_1"]


def test_two_series_share_their_ticks_and_have_a_legend(tmp_path):
    rows = [
        {"name": f"{series}_{share}", "label": f"{series}, {share} %", "seeds": [seed(0, ap)]}
        for share, ap in ((100, 44.0), (5, 20.0))
        for series in ("boxes", "boxinst")
    ]
    panel = study_figure(read_study(stored(tmp_path, {"rows": rows[:3]}))).axes[0]
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["5 %", "100 %"]
    assert [entry.get_text() for entry in panel.get_legend().get_texts()] == ["boxes", "boxinst"]
    boxes, boxinst = (bars.lines[0].get_xydata() for bars in panel.containers)
    assert_allclose(boxes, [[0, 20], [1, 44]], **TOL["float64"])
    assert len(boxinst) == 1 and 1 < boxinst[0, 0] < 1.5


def test_a_study_without_an_oracle_is_drawn_and_has_no_share(tmp_path):
    rows = content()["rows"][:2]
    study = read_study(stored(tmp_path, {"rows": rows}))
    assert not any(line.get_linestyle() == "--" for line in study_figure(study).axes[0].lines)
    with pytest.raises(InputError, match="no row 'masks'; it has boxes, boxinst"):
        study.share_of_oracle()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda study: study["rows"].clear(), "has no rows; `maskfree study main`"),
        (lambda study: study["rows"][1].update(seeds=[]), r"rows\[1\]: expected an object with name, label"),
        (lambda study: study["rows"][0]["seeds"][1].pop("AP75"), r"rows\[0\] \(boxes\): a seed lacks AP75"),
    ],
)
def test_what_is_missing_is_named(tmp_path, change, message):
    study = content()
    change(study)
    with pytest.raises(InputError, match=message):
        read_study(stored(tmp_path, study))


def test_a_study_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_study(tmp_path / "study.json")


@pytest.mark.parametrize("seeds", [3, [3], {"AP": 1}])
def test_seeds_of_another_kind_are_refused(tmp_path, seeds):
    path = tmp_path / "study.json"
    path.write_text(json.dumps({"rows": [{"name": "boxes", "label": "boxes", "seeds": seeds}]}))
    with pytest.raises(InputError, match=r"rows\[0\] \(boxes\): expected seeds to be a list of objects"):
        read_study(path)
