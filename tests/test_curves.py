"""The curves of a training run: what a log may look like, and what is drawn of it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from tolerances import TOL

from maskfree_nb.errors import InputError
from maskfree_nb.viz.curves import SHADE, plot_training, read_log, running_mean, training_figure


def write_log(path, entries) -> None:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def run_log(num_steps: int = 40) -> list[dict]:
    """A run whose first half is warm-up, with the terms that each half has."""
    entries = []
    for step in range(num_steps):
        warmup = float(step < num_steps // 2)
        entry = {"step": step, "lr": 1e-4, "loss": 5 / (step + 1), "box_warmup": warmup, "box_fill": 0.5}
        entry |= {"loss_dice": 0.5} if warmup else {"loss_tk": 0.2, "matches_per_pixel": 0.6}
        entries.append(entry)
    return entries


def titles(figure) -> list[str]:
    return [panel.get_title(loc="left") for panel in figure.axes]


def test_missing_keys_become_gaps(tmp_path):
    write_log(tmp_path / "log.jsonl", run_log(4))
    log = read_log(tmp_path / "log.jsonl")
    assert_array_equal(log["step"], [0, 1, 2, 3])
    assert_array_equal(log["loss_tk"], [np.nan, np.nan, 0.2, 0.2])


def test_a_killed_and_resumed_run(tmp_path):
    entries = [
        {"step": 0, "loss": 3.0},
        {"step": 1, "loss": 9.0},
        {"step": 1, "loss": 2.0},
        {"step": 2, "loss": 1.0},
    ]
    write_log(tmp_path / "log.jsonl", entries)
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 3, "lo')
    log = read_log(tmp_path / "log.jsonl")
    assert_array_equal(log["loss"], [3.0, 2.0, 1.0])


def test_numbers_that_are_none_become_gaps(tmp_path):
    (tmp_path / "log.jsonl").write_text(
        '{"step": 0, "loss": NaN, "note": "x"}\n{"step": 1, "loss": Infinity}\n'
    )
    log = read_log(tmp_path / "log.jsonl")
    assert np.isnan(log["loss"]).all()
    assert np.isnan(log["note"]).all()
    with pytest.raises(InputError, match=r"log\.jsonl: holds none of loss, loss_class"):
        plot_training(tmp_path / "log.jsonl", tmp_path / "curves.png")


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"step": 0}\n{"loss": 1}\n{"step": 2}\n', "line 2 is not a JSON object with a step"),
        ('{"step": 0}\n[1]\n{"step": 2}\n', "line 2 is not a JSON object with a step"),
        ("step loss\n0 1\n1 2\n", "line 1 is not a JSON object with a step: 'step loss'"),
        ("", "holds no step yet"),
    ],
)
def test_bad_logs_are_named_and_leave_the_old_picture(tmp_path, content, message):
    (tmp_path / "log.jsonl").write_text(content)
    (tmp_path / "curves.png").write_bytes(b"old")
    with pytest.raises(InputError, match=message):
        plot_training(tmp_path / "log.jsonl", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes() == b"old"
    with pytest.raises(InputError, match=r"nowhere\.jsonl: cannot be read"):
        plot_training(tmp_path / "nowhere.jsonl", tmp_path / "curves.png")


def test_every_figure_has_a_panel(tmp_path):
    write_log(tmp_path / "log.jsonl", [{**entry, "loss_new": 1.0} for entry in run_log()])
    log = read_log(tmp_path / "log.jsonl")
    figure = training_figure(log)
    expected = ["total loss", "new", "mask Dice", "TK-Loss", "matches a pixel"]
    assert titles(figure) == [*expected, "box fill of the masks (1 = rectangles)", "learning rate"]
    tk_loss = figure.axes[3]
    raw, mean = tk_loss.lines
    assert_array_equal(raw.get_ydata(), log["loss_tk"])
    assert np.isfinite(mean.get_ydata()).sum() == 20
    assert tk_loss.get_title(loc="right") == "0.2"


def test_the_warm_up_is_shaded(tmp_path):
    write_log(tmp_path / "log.jsonl", run_log())
    log = read_log(tmp_path / "log.jsonl")
    for panel in training_figure(log).axes:
        [span] = [path for shade in panel.collections for path in shade.get_paths()]
        assert (span.vertices[:, 0].min(), span.vertices[:, 0].max()) == (0, 19)
        assert panel.collections[0].get_facecolor()[0, 0] == float(SHADE)
    del log["box_warmup"]
    assert not any(panel.collections for panel in training_figure(log).axes)


@pytest.mark.parametrize("entries", [run_log(), run_log(1), [{"step": 7, "loss": 0.0}]], ids=len)
def test_a_picture_is_written(tmp_path, entries):
    write_log(tmp_path / "log.jsonl", entries)
    plot_training(tmp_path / "log.jsonl", tmp_path / "new" / "curves.png")
    with Image.open(tmp_path / "new" / "curves.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert min(pixels.shape[:2]) > 250
    assert pixels.std() > 5


@given(st.lists(st.one_of(st.floats(-9, 9), st.just(np.nan)), min_size=1, max_size=12), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_running_mean(values, reach):
    values = np.array(values)
    around = [values[max(i - reach, 0) : i + reach + 1] for i in range(len(values))]
    finite = [part[np.isfinite(part)] for part in around]
    expected = [part.mean() if len(part) else np.nan for part in finite]
    assert_allclose(running_mean(values, 2 * reach + 1), expected, **TOL["float64"])
