"""Video AP: golden numbers, odd input, a case worked out by hand, and properties."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import oracle_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pycocotools import mask as coco_mask
from tolerances import TOL

from maskfree_nb.data import rle
from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.mask_boxes import filled_box, tight_box
from maskfree_nb.evaluation.video_ap import boxes_as_masks, evaluate_videos, mean_track_iou

FOLDER = oracle_folder() / "ytvis_eval"
CASES = sorted(path.name.removesuffix(".expected.json") for path in FOLDER.glob("*.expected.json"))
CRASHES = json.loads((FOLDER / "crash_cases.json").read_text())
EVALUATION = TOL["oracle evaluation"]


def read(name: str):
    return json.loads((FOLDER / name).read_text())


def stats(*arguments, **options) -> list[float]:
    return list(evaluate_videos(*arguments, **options).stats.values())


# ------------------------------------------------------------------------------------------- golden numbers


@pytest.mark.oracle
@pytest.mark.parametrize("case", CASES)
def test_equals_the_official_evaluator_to_the_letter(case):
    expected, curves = read(f"{case}.expected.json"), np.load(FOLDER / f"{case}.curves.npz")
    found = evaluate_videos(FOLDER / f"{case}.gt.json", FOLDER / f"{case}.results.json", official_quirks=True)
    assert found.stats == pytest.approx(expected["named"], rel=0, abs=EVALUATION["atol"])
    assert list(found.per_category) == expected["category_order"]
    for category_id, value in expected["per_category_AP"].items():
        value = -1.0 if value is None else value
        assert_allclose(found.per_category[int(category_id)]["AP"], value, **EVALUATION)
    for name in ("precision", "recall", "scores"):
        assert_allclose(getattr(found, name), curves[name], **EVALUATION)
    assert len(found.ious) == len(expected["ious"])
    for ours, theirs in zip(found.ious, expected["ious"], strict=True):
        assert [ours[key] for key in ("video_id", "category_id", "results")] == [
            theirs[key] for key in ("video_id", "category_id", "results")
        ]
        assert_allclose(ours["iou"], theirs["iou"], **EVALUATION)


@pytest.mark.oracle
@pytest.mark.parametrize("case", CASES)
def test_equals_the_sane_numbers(case):
    expected = read(f"{case}.expected.json")
    truth, results = read(f"{case}.gt.json"), read(f"{case}.results.json")
    before = copy.deepcopy((truth, results))
    assert_allclose(stats(truth, results), expected["sane_stats"], **EVALUATION)
    found = evaluate_videos(truth, results, iou_type="bbox").stats
    for name, value in expected["bbox_stats_all"].items():
        assert_allclose(found[name], value, **EVALUATION)
    assert (truth, results) == before  # what was given is not changed


@pytest.mark.oracle
@pytest.mark.parametrize("entry", CRASHES["empty_results"], ids=lambda entry: entry["gt"])
def test_no_results_score_zero(entry):
    assert_allclose(stats(FOLDER / entry["gt"], []), entry["expected_stats"], **EVALUATION)
    assert mean_track_iou(FOLDER / entry["gt"], []) == 0


def change_annotations(drop: str):
    def change(truth, results):
        for annotation in truth["annotations"]:
            del annotation[drop]

    return change


def uncompress(truth, results):
    for result in results:
        for mask in filter(None, result["segmentations"]):
            flat = coco_mask.decode(mask).flatten(order="F")
            borders = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
            mask["counts"] = np.diff([0, *borders, len(flat)]).tolist()


def wrong_size(truth, results):
    height, width = results[0]["segmentations"][0]["size"]
    results[0]["segmentations"][0] = rle.encode(np.ones((height + 1, width), dtype=bool))


CHANGES = {
    "drop 'areas' from every annotation": change_annotations("areas"),
    "drop 'iscrowd' from every annotation": change_annotations("iscrowd"),
    "results with uncompressed RLE (counts is a list)": uncompress,
    "a result with an unknown video_id": lambda truth, results: results[0].update(video_id=98765),
    "results without 'segmentations'": lambda truth, results: results[0].pop("segmentations"),
    "result mask size differs from the video size": wrong_size,
    "score is NaN": lambda truth, results: results[0].update(score=float("nan")),
    "no annotations at all": lambda truth, results: truth.update(annotations=[]),
}
MESSAGES = {
    "a result with an unknown video_id": "result 0: video_id is 98765, the annotation file has no such video",
    "results without 'segmentations'": r"result 0 \(video \d+\): segmentations is missing",
    "result mask size differs from the video size": r"result 0 \(video \d+\): segmentations\[0\]: size is",
    "score is NaN": r"result 0 \(video \d+\): score is nan, expected a finite number",
}
CHANGED = [entry for entry in CRASHES["perfect_case_with"] if entry["change"] != "iouType 'bbox'"]


@pytest.mark.oracle
@pytest.mark.parametrize("entry", CHANGED, ids=lambda entry: entry["change"])
def test_where_the_official_evaluator_fails(entry):
    truth, results = read("perfect.gt.json"), read("perfect.results.json")
    CHANGES[entry["change"]](truth, results)
    if "expected_stats" in entry:
        assert_allclose(stats(truth, results), entry["expected_stats"], **EVALUATION)
    else:
        with pytest.raises(InputError, match=MESSAGES[entry["change"]]):
            evaluate_videos(truth, results)


# -------------------------------------------------------------------------------------------- worked by hand


def track(video_id: int, category_id: int, masks, **more) -> dict:
    """An annotation or a result, of bool masks [T, H, W]."""
    segmentations = [rle.encode(mask) if mask.any() else None for mask in np.asarray(masks)]
    return {"video_id": video_id, "category_id": category_id, "segmentations": segmentations, **more}


def ground_truth(videos: list[tuple], annotations: list[dict], categories=("cat", "dog")) -> dict:
    """An annotation file of videos (T, H, W) with the ids 1, 2, ..."""
    return {
        "videos": [
            {"id": number, "length": length, "height": height, "width": width}
            for number, (length, height, width) in enumerate(videos, start=1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories, start=1)],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations)],
    }


def block(shape: tuple, rows: slice, columns: slice, frames: slice = slice(None)) -> np.ndarray:
    masks = np.zeros(shape, dtype=bool)
    masks[frames, rows, columns] = True
    return masks


SHAPE = (3, 6, 8)
LEFT, RIGHT = block(SHAPE, slice(1, 5), slice(0, 4)), block(SHAPE, slice(0, 6), slice(5, 8))


def test_a_case_worked_out_by_hand():
    """Best first: right, wrong, right, of two truths. Precision is 1 up to recall 1/2, then 2/3: 51 points of
    1, 50 of 2/3. The second hit overlaps in 2 of 3 frames, IoU 2/3: it counts at 4 of the 10 thresholds."""
    truth = ground_truth([SHAPE], [track(1, 1, LEFT), track(1, 1, RIGHT)])
    partly = RIGHT & block(SHAPE, slice(None), slice(None), frames=slice(2))
    results = [
        track(1, 1, LEFT, score=0.9),
        track(1, 1, block(SHAPE, slice(0, 1), slice(0, 1)), score=0.5),
        track(1, 1, partly, score=0.2),
    ]
    found = evaluate_videos(truth, results)
    both, first = (51 + 50 * 2 / 3) / 101, 51 / 101
    expected = {
        "AP": 0.4 * both + 0.6 * first,
        "AP50": both,
        "AP75": first,
        "AR1": 0.5,
        "AR10": 0.7,
        "APm": -1.0,
    }
    assert {name: found.stats[name] for name in expected} == pytest.approx(expected, abs=EVALUATION["atol"])
    assert found.ious[0]["iou"] == [[1.0, 0.0], [0.0, 0.0], [0.0, 2 / 3]]
    assert found.per_category[2]["AP"] == -1
    assert_allclose(mean_track_iou(truth, results), (1 + 2 / 3) / 2, **EVALUATION)
    assert mean_track_iou(truth, [{**results[0], "category_id": 2}]) == 0  # another class does not count


def test_table():
    truth = ground_truth([SHAPE], [track(1, 1, LEFT)])
    results = [track(1, 1, LEFT, score=0.9), track(1, 99, LEFT, score=0.9)]
    lines = evaluate_videos(truth, results).table().splitlines()
    assert lines[0] == "Video AP of masks, in percent (videos: 1, true tracks: 1, results: 2)"
    assert lines[1].split() == ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10"]
    assert lines[3].split() == ["all", "100.0", "100.0", "100.0", "100.0", "-", "-", "100.0", "100.0"]
    assert lines[5].split() == ["dog"] + ["-"] * 8
    assert lines[6] == "Results of categories that the file does not list, left out: 1"
    assert len({len(line) for line in lines[1:6]}) == 1
    nothing = evaluate_videos(ground_truth([SHAPE], []), results).table()
    assert "nothing to score against" in nothing


def test_crowds_neither_reward_nor_punish():
    truth = ground_truth([SHAPE], [track(1, 1, LEFT), track(1, 1, RIGHT, iscrowd=1)])
    results = [track(1, 1, RIGHT, score=0.9), track(1, 1, RIGHT, score=0.8), track(1, 1, LEFT, score=0.7)]
    assert_allclose(evaluate_videos(truth, results).stats["AP"], 1.0, **EVALUATION)
    assert mean_track_iou(truth, results[:2]) == 0


def test_short_and_long_lists_are_filled_and_cut():
    truth = ground_truth([SHAPE], [track(1, 1, LEFT)])
    whole, short, long = (track(1, 1, LEFT, score=0.5) for _ in range(3))
    del short["segmentations"][1:]
    long["segmentations"].append(whole["segmentations"][0])
    for result, iou in ((whole, 1), (short, 1 / 3), (long, 1)):
        assert_allclose(evaluate_videos(truth, [result]).ious[0]["iou"], [[iou]], **EVALUATION)
    punished_not = evaluate_videos(truth, [short], official_quirks=True)
    assert_allclose(punished_not.ious[0]["iou"], [[1]], **EVALUATION)


def test_boxes_need_no_masks():
    truth = ground_truth(
        [SHAPE], [{"video_id": 1, "category_id": 1, "bboxes": [[0, 1, 4, 4], None, [0, 1, 4, 4]]}]
    )
    result = track(1, 1, LEFT & (np.arange(3) != 1)[:, None, None], score=0.5)
    assert_allclose(evaluate_videos(truth, [result], iou_type="bbox").stats["AP"], 1.0, **EVALUATION)


def test_reads_files(tmp_path):
    truth, results = ground_truth([SHAPE], [track(1, 1, LEFT)]), [track(1, 1, LEFT, score=1)]
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert stats(tmp_path / "gt.json", str(tmp_path / "results.json")) == stats(truth, results)
    assert boxes_as_masks(tmp_path / "results.json") == boxes_as_masks(results)


# ------------------------------------------------------------------------------------------------- bad input


def annotation(**changes):
    return lambda truth, results: truth["annotations"][0].update(changes)


def result(**changes):
    return lambda truth, results: results[0].update(changes)


def without(which: str, field: str):
    return lambda truth, results: {"truth": truth, "annotation": truth["annotations"][0]}[which].pop(field)


BAD = {
    "truth too short": (
        annotation(segmentations=[None]),
        "ground_truth: annotation 0 of video 1: segmentations has 1 entries, the video has 3 frames",
    ),
    "truth of unknown category": (
        annotation(category_id=5),
        "category_id is 5, the file's categories are 1, 2",
    ),
    "truth of unknown video": (
        annotation(video_id=5),
        "annotation 0: video_id is 5, the annotation file has no",
    ),
    "truth without masks": (without("annotation", "segmentations"), "only iou_type='bbox' can be evaluated"),
    "truth without videos": (without("truth", "videos"), "ground_truth: videos is missing"),
    "result without score": (result(score=None), r"results: result 0 \(video 1\): score is missing"),
    "score is text": (result(score="high"), "score is 'high', expected a finite number"),
    "score is infinite": (result(score=float("inf")), "score is inf"),
    "segmentations is an RLE": (result(segmentations={"size": [1, 1]}), "is a dict, expected a list of 3"),
    "RLE cut short": (
        result(segmentations=[{"size": [6, 8], "counts": [4, 4]}]),
        r"segmentations\[0\]: its runs add up to 8 pixels, the frame has 48",
    ),
    "RLE is a polygon": (result(segmentations=[[1, 2, 3, 4, 5, 6]]), "expected null or an RLE"),
    "result is a list": (
        lambda truth, results: results.insert(0, []),
        "result 0: is a list, expected an object",
    ),
}


@pytest.mark.parametrize("change, message", BAD.values(), ids=BAD)
def test_bad_input_is_named(change, message):
    truth, results = ground_truth([SHAPE], [track(1, 1, LEFT)]), [track(1, 1, LEFT, score=1)]
    change(truth, results)
    with pytest.raises(InputError, match=message):
        evaluate_videos(truth, results)


@pytest.mark.parametrize("box", [[0, 1, float("nan"), 4], [0, 1, -2, 4], [0, 1, 2], "box"])
def test_bad_boxes_are_named(box):
    truth = ground_truth([SHAPE], [{"video_id": 1, "category_id": 1, "bboxes": [None, box, None]}])
    with pytest.raises(
        InputError, match=r"annotation 0 of video 1: bboxes\[1\] is .*expected null or four finite"
    ):
        evaluate_videos(truth, [], iou_type="bbox")


def test_bad_files_and_options_are_named(tmp_path):
    truth = ground_truth([SHAPE], [])
    (tmp_path / "cut.json").write_text(json.dumps(truth)[:40])
    with pytest.raises(InputError, match=r"cut.json: not valid JSON .* cut short"):
        evaluate_videos(tmp_path / "cut.json", [])
    with pytest.raises(InputError, match=r"missing.json: cannot be read"):
        evaluate_videos(tmp_path / "missing.json", [])
    with pytest.raises(InputError, match="results: holds a dict, expected a list of results"):
        evaluate_videos(truth, truth)
    with pytest.raises(InputError, match="iou_type is 'keypoints'"):
        evaluate_videos(truth, [], iou_type="keypoints")
    with pytest.raises(InputError, match="official_quirks needs iou_type='segm'"):
        evaluate_videos(truth, [], iou_type="bbox", official_quirks=True)


# ------------------------------------------------------------------------------------------------ properties


@st.composite
def scenes(draw):
    """A video with up to 3 truths and up to 5 results of 2 classes, as arrays and as files."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.integers(1, high)) for high in (4, 9, 9))
    truths = [rng.random(shape) < rng.random() for _ in range(draw(st.integers(1, 3)))]
    found = [rng.random(shape) < rng.random() for _ in range(draw(st.integers(0, 5)))]
    found = [truths[0].copy() if rng.random() < 0.3 else masks for masks in found]
    scores = rng.permutation(len(found)) / 10
    truth = ground_truth([shape], [track(1, int(rng.integers(1, 3)), masks) for masks in truths])
    results = [
        track(1, int(rng.integers(1, 3)), masks, score=float(score))
        for masks, score in zip(found, scores, strict=True)
    ]
    return truths, found, truth, results


def overlap(ours: np.ndarray, theirs: np.ndarray) -> float:
    union = (ours | theirs).sum()
    return (ours & theirs).sum() / union if union else 0.0


def boxed(masks: np.ndarray) -> np.ndarray:
    filled = np.zeros_like(masks)
    for frame, mask in enumerate(masks):
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            filled[frame, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return filled


@given(scenes())
@settings(max_examples=60, deadline=None)
def test_track_iou_is_that_of_the_pixels(scene):
    truths, found, truth, results = scene
    kinds = [entry["category_id"] for entry in truth["annotations"]]
    for table in evaluate_videos(truth, results).ious:
        same = [masks for masks, kind in zip(truths, kinds, strict=True) if kind == table["category_id"]]
        expected = [[overlap(found[index], masks) for masks in same] for index in table["results"]]
        assert_allclose(table["iou"], expected, **EVALUATION)
    best = [
        max((overlap(masks, target) for masks, entry in zip(found, results, strict=True)
             if entry["category_id"] == kind), default=0.0)
        for target, kind in zip(truths, kinds, strict=True)
    ]  # fmt: skip
    assert_allclose(mean_track_iou(truth, results), np.mean(best), **EVALUATION)


@given(scenes())
@settings(max_examples=40, deadline=None)
def test_boxes_as_masks_fills_the_tight_boxes(scene):
    _, found, truth, results = scene
    filled = boxes_as_masks(results)
    expected = [{**entry, **track(1, 1, boxed(masks))} for masks, entry in zip(found, results, strict=True)]
    for ours, theirs in zip(filled, expected, strict=True):
        for ours_rle, theirs_rle in zip(ours["segmentations"], theirs["segmentations"], strict=True):
            assert ours_rle == theirs_rle
    assert boxes_as_masks(filled) == filled
    for annotation, boxed_annotation in zip(
        truth["annotations"], boxes_as_masks(truth["annotations"]), strict=True
    ):
        annotation["bboxes"] = [mask and tight_box(mask) for mask in annotation["segmentations"]]
        annotation["segmentations"] = boxed_annotation["segmentations"]
    for name in ("AP", "AR1", "AR10"):  # boxes against boxes = filled boxes against filled boxes
        by_box = evaluate_videos(truth, results, iou_type="bbox").stats[name]
        assert_allclose(by_box, evaluate_videos(truth, filled).stats[name], **EVALUATION)


@given(scenes(), st.randoms())
@settings(max_examples=40, deadline=None)
def test_only_the_order_of_scores_counts(scene, random):
    _, _, truth, results = scene
    before = stats(truth, results)
    assert all(value == -1 or 0 <= value <= 1 + EVALUATION["atol"] for value in before)
    changed = [{**entry, "score": entry["score"] ** 3 - 7} for entry in results]
    random.shuffle(changed)
    assert_allclose(stats(truth, changed), before, **EVALUATION)
    worst = {**track(1, 1, np.zeros((1, 1, 1), dtype=bool)), "score": -9.0}
    assert evaluate_videos(truth, [*results, worst]).stats["AP"] <= before[0] + EVALUATION["atol"]


@given(scenes())
@settings(max_examples=20, deadline=None)
def test_the_truth_itself_is_perfect(scene):
    truths, _, truth, _ = scene
    truth["annotations"] = [
        entry for entry, masks in zip(truth["annotations"], truths, strict=True) if masks.any()
    ]
    results = [{**entry, "score": 0.5} for entry in truth["annotations"]]
    expected = 1.0 if results else -1.0
    assert_allclose(evaluate_videos(truth, results).stats["AP"], expected, **EVALUATION)
    assert_allclose(mean_track_iou(truth, results), expected, **EVALUATION)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_boxes_of_masks(data):
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    w, h = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    filled = filled_box((x, y, w, h), height, width)
    assert filled == rle.encode(block((1, height, width), slice(y, y + h), slice(x, x + w))[0])
    assert tight_box(filled) == (x, y, w, h)


@pytest.mark.real_data
def test_real_clips(real_data: Path):
    """The annotation file of the real clips against itself, and against its own boxes."""
    truth = json.loads((real_data / "davis16_test" / "instances.json").read_text())
    results = [{**entry, "score": 1.0} for entry in truth["annotations"]]
    assert_allclose(evaluate_videos(truth, results).stats["AP"], 1.0, **EVALUATION)
    assert_allclose(evaluate_videos(truth, results, iou_type="bbox").stats["AP"], 1.0, **EVALUATION)
    assert 0.3 < mean_track_iou(truth, boxes_as_masks(results)) < 0.7


def test_a_run_of_length_zero_is_an_ordinary_mask():
    odd = {"size": [4, 4], "counts": [3, 2, 0, 3, 8]}
    plain = {"size": [4, 4], "counts": [3, 5, 8]}
    assert rle.checked(odd, 4, 4) == rle.checked(plain, 4, 4)
