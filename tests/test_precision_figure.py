"""The pictures of average precision."""

import numpy as np
from numpy.testing import assert_allclose
from tolerances import TOL

from maskfree_nb.viz.precision import (
    interpolated_precision,
    precision_recall_figure,
    threshold_figure,
    tracks_figure,
)


def test_the_interpolated_precision_is_the_best_at_or_beyond_each_recall():
    recall, precision = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 2 / 3])
    expected = [max(precision[recall >= level], default=0) for level in np.linspace(0, 1, 101)]
    assert_allclose(interpolated_precision(recall, precision), expected, **TOL["exact"])


def test_without_results_it_is_zero():
    assert_allclose(interpolated_precision(np.zeros(0), np.zeros(0)), np.zeros(101), **TOL["exact"])


def test_each_curve_has_a_panel_with_its_ap():
    curves = {"IoU 0.5": (np.array([0.5, 1.0]), np.ones(2)), "IoU 0.75": (np.zeros(2), np.zeros(2))}
    figure = precision_recall_figure(curves)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["IoU 0.5: AP 100.0", "IoU 0.75: AP 0.0"]
    figure.draw_without_rendering()


def test_each_predicted_track_has_a_row_and_an_absent_frame_no_outline():
    truths = np.zeros((2, 3, 9, 12), dtype=bool)
    truths[0, :, 2:5, 2:6] = True
    predictions = truths[:1].repeat(2, axis=0)
    predictions[1, 2] = False
    figure = tracks_figure(truths, predictions, ["one", "two"])
    assert len(figure.axes) == 2 * 3
    assert [panel.get_title(loc="left") for panel in figure.axes[::3]] == ["one", "two"]
    outlines = [len(panel.collections) for panel in figure.axes]
    assert outlines == [1, 1, 1, 1, 1, 0]
    shade = np.asarray(figure.axes[0].images[0].get_array())
    assert (shade[truths[0, 0]] < 1).all() and (shade[~truths[0, 0]] == 1).all()
    figure.draw_without_rendering()


def test_ap_over_the_threshold_has_a_line_for_each_title():
    panel = threshold_figure([0.5, 0.95], {"masks": [40.0, 10.0], "boxes": [9.0, 0.0]}).axes[0]
    lines = {line.get_label(): line.get_ydata() for line in panel.lines}
    assert_allclose(lines["masks"], [40, 10], **TOL["exact"])
    assert_allclose(lines["boxes"], [9, 0], **TOL["exact"])
