"""The report of an evaluation where there is nothing to score against."""

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
