"""The bytes model is the README's, and the pictures say what was measured and what was not."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from maskfree_nb.viz.listing import SideBySide, excerpt
from maskfree_nb.viz.roofline import (
    ROWS,
    UNMEASURED,
    floor_figure,
    kernel_passes,
    read_measured,
    roofline_figure,
)

README = Path(__file__).parents[1] / "kernels" / "README.md"
SETTINGS = ((96, 160, 4), (96, 160, 20), (120, 216, 40))


def report(rows, benchmark: str = "kernels") -> str:
    """A stored report; rows: (name, seconds)."""
    rows = [
        {
            "name": name,
            "setting": {"setting": "R50"},
            "bytes": 3_000_000,
            "seconds": {"graph": {"p50": seconds}},
        }
        for name, seconds in rows
    ]
    return json.dumps({"benchmark": benchmark, "device": "a chip", "rows": rows})


def table(heading: str) -> list[list[str]]:
    """The cells of the README's table with this head; an empty first cell repeats the one above."""
    lines = README.read_text().split(heading)[1].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    for above, row in pairwise(rows):
        row[0] = row[0] or above[0]
    return rows


def named(cells: list[str]) -> str:
    """How the model calls a row of the README."""
    name = cells[0].replace("`", "")
    if name.startswith("knn_match"):
        return name
    direction = re.match("forward|backward", cells[1])
    return f"{name.split(',')[0]}, {direction[0]}" if direction else name.split(",")[0]


def test_the_model_is_that_of_the_readme():
    rows = table("| op | pass | bytes | operations a byte | R50, 96x160, N=4 |")
    for column, setting in enumerate(SETTINGS, start=4):
        model = {each.name: each for each in kernel_passes(*setting)}
        for cells in rows:
            micro = cells[column].removesuffix(" us")
            digits = 1 if "." in micro else 0
            assert f"{1e6 * model[named(cells)].floor():.{digits}f}" == micro, cells
            assert float(cells[3].split()[0].strip(",")) == model[named(cells)].intensity, cells
    assert {named(cells) for cells in rows} == {name for name in model if "deform" not in name}

    model = {each.name: each for each in kernel_passes(120, 216)}
    for cells in table("| op | pass | bytes | operations a byte | R50, 480 x 864, 5 frames |"):
        megabytes, micro = re.match(r"(\d+) MB, (\d+) us", cells[4]).groups()
        each = model[named(cells)]
        assert (f"{each.bytes / 1e6:.0f}", f"{1e6 * each.floor():.0f}") == (megabytes, micro)
        assert each.intensity == float(cells[3])


def test_rows_of_the_benchmark_name_passes_of_the_model():
    names = {each.name for each in kernel_passes()}
    assert {name for passes in ROWS.values() for name in passes} <= names


def test_stored_results_are_read(tmp_path):
    (tmp_path / "cpu.json").write_text(json.dumps({"benchmark": "tkloss", "cases": []}))
    (tmp_path / "study.json").write_text(json.dumps({"name": "main", "rows": []}))  # not a benchmark at all
    assert read_measured(tmp_path) == []
    rows = [("pairwise", 2e-6), ("pairwise", 9e-6), ("projection", 4e-6), ("something new", 1e-6)]
    (tmp_path / "kernels.json").write_text(report(rows))
    first, projection = read_measured(tmp_path)
    assert (first.name, first.seconds, first.intensity) == ("pairwise", 2e-6, 45)  # of two rows the first
    assert (first.device, first.setting, first.bytes) == ("a chip", "R50", 3_000_000)
    assert projection.intensity == pytest.approx(2)  # forward 3, backward 1, of the same bytes


def test_without_results_the_picture_says_so(tmp_path):
    axes = roofline_figure(kernel_passes()).axes[0]
    assert axes.get_title(loc="left").startswith(UNMEASURED)
    (tmp_path / "kernels.json").write_text(report([("pairwise", 2e-6)]))
    axes = roofline_figure(kernel_passes(), read_measured(tmp_path)).axes[0]
    assert axes.get_title(loc="left") == "hollow: the roof; filled: measured, a chip"
    point = next(line for line in axes.lines if line.get_marker() == "s")
    assert (point.get_xdata()[0], point.get_ydata()[0]) == pytest.approx((45, 45 * 1.5e12))


def test_the_roof_bends_where_arithmetic_takes_longer():
    roof, *points = roofline_figure(kernel_passes(), bandwidth=1e12, peak=2e13).axes[0].lines
    assert roof.get_ydata().max() == 2e13
    drawn = {point.get_xdata()[0]: point.get_ydata()[0] for point in points}
    assert drawn == {each.intensity: min(1e12 * each.intensity, 2e13) for each in kernel_passes()}


def test_floors_are_bars():
    passes = kernel_passes()
    figure = floor_figure(passes, bandwidth=1e12)
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([each.bytes / 1e6 for each in passes])
    assert [label.get_text() for label in axes.get_yticklabels()] == [each.name for each in passes]
    assert "1.0 TB/s" in axes.get_title(loc="left")


def test_listings_stand_side_by_side():
    assert excerpt(named, "name =", "name =") == 'name = cells[0].replace("`", "")'
    with pytest.raises(ValueError, match="no lines from 'no such' to 'line'"):
        excerpt(named, "no such", "line")
    shown = SideBySide(("left", "right"), ("a < b", "c"))
    assert "<pre" in shown._repr_html_() and "a &lt; b" in shown._repr_html_()
    assert repr(shown) == "# left\na < b\n\n# right\nc"
