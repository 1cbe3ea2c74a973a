"""The report of an evaluation: nothing to score against, and digits."""

import json
from dataclasses import replace

from maskfree_nb.evaluation.report import Report
from maskfree_nb.evaluation.video_ap import evaluate_videos, mean_track_iou


def test_without_truth_figures_are_missing_and_not_minus_a_hundred(tmp_path):
    truth = {
        "videos": [{"id": 1, "width": 4, "height": 4, "length": 1, "file_names": ["a/0.jpg"]}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [],
    }
    ap = evaluate_videos(truth, [])
    report = Report(results=[], ap=ap, box_fill_ap=ap, mean_iou=mean_track_iou(truth, []))
    assert set(report.metrics().values()) == {None}
    assert report.text().splitlines()[-2:] == [
        "masks replaced by their boxes: AP -",
        "mean IoU of true tracks with the best track of their class: -",
    ]
    report.write(tmp_path)
    assert '"AP": null' in (tmp_path / "metrics.json").read_text()


def test_figures_stored_and_shown_with_one_digit_are_those_of_the_table(tmp_path):
    """52.0503, stored as 52.05, would be shown as 52.0 beside a table that says 52.1."""
    truth = {"videos": [], "categories": [{"id": 1, "name": "dog"}], "annotations": []}
    ap = evaluate_videos(truth, [])
    ap = replace(ap, stats=dict.fromkeys(ap.stats, 0.520503))
    report = Report(results=[], ap=ap, box_fill_ap=ap, mean_iou=0.520503)
    assert ap.table().splitlines()[3].split()[1] == "52.1"
    report.write(tmp_path)
    stored = json.loads((tmp_path / "metrics.json").read_text())
    assert {f"{value:.1f}" for name, value in stored.items() if name != "classes"} == {"52.1"}
