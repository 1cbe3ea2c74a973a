"""What became of each true track, and the pictures of it."""

import drawn_videos
import numpy as np
import pytest
from numpy.testing import assert_allclose
from tolerances import TOL

from maskfree_nb.data import rle
from maskfree_nb.errors import InputError
from maskfree_nb.evaluation import evaluate_videos
from maskfree_nb.evaluation.outcomes import REASONS, count_reasons, explain_tracks, worst_of_each
from maskfree_nb.viz.failures import PREDICTION, failure_gallery, outcome_label, reason_figure


@pytest.fixture
def content(tmp_path) -> dict:
    """Tracks 17 (category 5) and 18 (category 2) of video 3, and track 40 (category 2) of video 8."""
    return drawn_videos.draw(tmp_path)


def result_of(content: dict, id: int, *, shift: int = 0, score: float = 0.9, **changes) -> dict:
    """A prediction: the true masks of a track, moved to the right by `shift` pixels."""
    truth = next(track for track in content["annotations"] if track["id"] == id)
    masks = [np.roll(rle.decode(mask), shift, axis=1) for mask in truth["segmentations"]]
    return {
        "video_id": truth["video_id"],
        "category_id": truth["category_id"],
        "score": score,
        "segmentations": [rle.encode(mask) for mask in masks],
        **changes,
    }


def reasons(content: dict, results: list[dict], **options) -> dict[int, str]:
    return {outcome.track_id: outcome.reason for outcome in explain_tracks(content, results, **options)}


def test_perfect_results_are_all_found(content):
    results = [result_of(content, id) for id in (17, 18, 40)]
    outcomes = explain_tracks(content, results)
    assert {outcome.reason for outcome in outcomes} == {"found"}
    assert_allclose([outcome.iou for outcome in outcomes], 1.0, **TOL["float64"])
    assert {outcome.track_id: outcome.result for outcome in outcomes} == {17: 0, 18: 1, 40: 2}


def test_each_reason(content):
    results = [
        result_of(content, 17, category_id=2),  # well segmented, under another name
        result_of(content, 18, shift=5),  # 9 pixels wide: 4 of 14 columns shared
        result_of(content, 40),
        result_of(content, 40, shift=1, score=0.8),
    ]
    assert reasons(content, results) == {17: "class", 18: "poor mask", 40: "duplicate"}
    assert reasons(content, results[:1]) == {17: "class", 18: "missed", 40: "missed"}
    assert reasons(content, []) == {17: "missed", 18: "missed", 40: "missed"}


def test_the_worst_come_first_and_those_not_found_before_all_found(content):
    results = [
        result_of(content, 17, category_id=2),
        result_of(content, 18, shift=2),
        result_of(content, 40, shift=7),
    ]
    outcomes = explain_tracks(content, results)
    assert [outcome.track_id for outcome in outcomes] == [40, 17, 18]
    assert_allclose(outcomes[0].iou, 5 / 19, **TOL["float64"])
    assert_allclose(outcomes[2].iou, 7 / 11, **TOL["float64"])


def test_the_iou_is_that_of_the_evaluation(content):
    results = [result_of(content, 18, shift=3)]
    (row,) = (row for row in evaluate_videos(content, results).ious if row["results"])
    (found,) = (outcome for outcome in explain_tracks(content, results) if outcome.track_id == 18)
    assert_allclose(found.iou, row["iou"][0][0], **TOL["float64"])


def test_results_of_low_score_and_crowds_do_not_count(content):
    results = [result_of(content, 17, score=0.29), result_of(content, 40, shift=7, score=0.29)]
    assert reasons(content, results) == {17: "unsure", 18: "missed", 40: "missed"}
    assert reasons(content, results, min_score=0.2) == {17: "found", 18: "missed", 40: "poor mask"}
    content["annotations"][0]["iscrowd"] = 1
    assert 17 not in reasons(content, results)


def test_a_result_that_belongs_to_another_object_does_not_answer_for_a_poor_mask(content):
    both = result_of(content, 17)
    other = result_of(content, 18)["segmentations"]
    both["segmentations"] = [
        rle.encode(rle.decode(a) | (rle.decode(b) if frame == 0 else False))
        for frame, (a, b) in enumerate(zip(both["segmentations"], other, strict=True))
    ]
    assert reasons(content, [both]) == {17: "found", 18: "missed", 40: "missed"}


def test_the_gallery_is_offered_every_kind_of_failure(content):
    results = [
        result_of(content, 17, category_id=2),
        result_of(content, 40),
        result_of(content, 40, shift=1, score=0.8),
    ]
    outcomes = explain_tracks(content, results)
    assert [outcome.reason for outcome in worst_of_each(outcomes, 2)] == ["duplicate", "class"]
    assert [outcome.track_id for outcome in worst_of_each(outcomes, 9)] == [40, 17, 18]
    assert worst_of_each(explain_tracks(content, [result_of(content, id) for id in (17, 18, 40)]), 9) == []


def test_of_its_own_class_is_better_than_of_higher_iou(content):
    results = [result_of(content, 18, category_id=5), result_of(content, 18, shift=1, score=0.4)]
    outcome = next(outcome for outcome in explain_tracks(content, results) if outcome.track_id == 18)
    assert (outcome.reason, outcome.result, outcome.score) == ("found", 1, 0.4)


def test_the_gallery_has_a_row_a_track_and_tints_what_was_predicted(content, tmp_path):
    video_set = drawn_videos.load(tmp_path, content, masks=True)
    results = [result_of(content, 17, category_id=2), result_of(content, 18)]
    outcomes = explain_tracks(content, results)
    figure = failure_gallery(video_set, results, outcomes[:2], columns=3)
    assert len(figure.axes) == 2 * 3
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert "video 8, missed: a early, no result answers for it" == titles[0]
    assert "class: a late, predicted as early (90 %), IoU 1.00" in titles[3]
    missed, renamed = (figure.axes[n].images[1].get_array() for n in (0, 3))
    assert not missed.any()
    truth = rle.decode(content["annotations"][0]["segmentations"][0])
    assert_allclose(renamed[truth][:, :3], np.broadcast_to(PREDICTION, (truth.sum(), 3)), **TOL["float64"])
    assert not renamed[~truth].any()
    figure.draw_without_rendering()


def test_a_long_title_moves_no_panel(content, tmp_path, monkeypatch):
    monkeypatch.setattr("maskfree_nb.viz.failures.outcome_label", lambda *_: "long " * 16)
    outcomes = explain_tracks(content, [])
    figure = failure_gallery(drawn_videos.load(tmp_path, content, masks=True), [], outcomes)
    figure.draw_without_rendering()
    first, second, third = (panel.get_position() for panel in figure.axes[:3])
    assert second.x0 - first.x1 == pytest.approx(third.x0 - second.x1, abs=1e-3)


def test_an_object_that_is_seen_once_fills_its_row(content, tmp_path):
    content["annotations"][0]["segmentations"][1:] = [None] * 4
    content["annotations"][0]["bboxes"][1:] = [None] * 4
    video_set = drawn_videos.load(tmp_path, content, masks=True)
    outcomes = [outcome for outcome in explain_tracks(content, []) if outcome.track_id == 17]
    panels = failure_gallery(video_set, [], outcomes, columns=2).axes
    assert_allclose(panels[0].images[0].get_array(), panels[1].images[0].get_array(), **TOL["exact"])


def test_what_the_gallery_cannot_draw(content, tmp_path):
    without = drawn_videos.load(tmp_path, drawn_videos.without_masks(content))
    with pytest.raises(InputError, match="was loaded without masks"):
        failure_gallery(without, [], explain_tracks(content, []))
    video_set = drawn_videos.load(tmp_path, content, masks=True)
    with pytest.raises(InputError, match="no outcomes to draw"):
        failure_gallery(video_set, [], [])


def test_the_bars_count_every_reason(content):
    outcomes = explain_tracks(content, [result_of(content, 17), result_of(content, 17, score=0.5)])
    assert count_reasons(outcomes) == dict(zip(REASONS, (0, 1, 0, 0, 0, 2), strict=True))
    panel = reason_figure(outcomes).axes[0]
    assert_allclose([bar.get_width() for bar in panel.patches], (0, 1, 0, 0, 0, 2), **TOL["exact"])
    assert "3 true tracks" in panel.get_title(loc="left")
    names = {2: "early", 5: "late"}
    assert outcome_label(outcomes[-1], names).endswith("IoU 1.00, claimed 2 times")
