"""Files for the evaluation server: what is written, what is refused, what an error leaves behind."""

import json
import zipfile

import numpy as np
import pytest

from maskfree_nb.data import rle
from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.submission import write_submission
from maskfree_nb.evaluation.video_ap import evaluate_videos

MASK = np.arange(35).reshape(5, 7) % 3 == 0
VIDEOS = {
    "videos": [{"id": 12, "height": 5, "width": 7, "length": 3, "file_names": []}],
    "categories": [{"id": 4, "name": "cat"}],
}


def result(**changes) -> dict:
    segmentations = [rle.encode(MASK), None, rle.encode(~MASK)]
    return {"video_id": 12, "category_id": 4, "score": 0.25, "segmentations": segmentations, **changes}


def test_a_zip_without_a_folder(tmp_path):
    uncompressed = {"size": [5, 7], "counts": [0, 35]}
    results = [
        result(track_name="left out"),
        result(score=np.float32(0.5), category_id=np.int64(4), segmentations=[uncompressed, None, None]),
    ]
    path, archive = write_submission(tmp_path / "new", results, VIDEOS)
    with zipfile.ZipFile(archive) as file:
        assert file.namelist() == ["results.json"]
        assert file.read("results.json") == path.read_bytes()
    full = rle.encode(np.ones((5, 7), dtype=bool))
    assert json.loads(path.read_text()) == [result(), result(score=0.5, segmentations=[full, None, None])]


def test_the_same_results_give_the_same_bytes(tmp_path):
    first = [path.read_bytes() for path in write_submission(tmp_path / "a", [result()], VIDEOS)]
    second = [path.read_bytes() for path in write_submission(tmp_path / "b", [result()], VIDEOS)]
    assert first == second


def test_what_is_written_scores_as_before(tmp_path):
    truth = {**VIDEOS, "annotations": [{"id": 1, **result()}]}
    path, _ = write_submission(tmp_path, [result()], VIDEOS)
    assert evaluate_videos(truth, path).stats == evaluate_videos(truth, [result()]).stats


def test_no_results(tmp_path):
    path, _ = write_submission(tmp_path, [], VIDEOS)
    assert json.loads(path.read_text()) == []


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"segmentations": [None]},
            r"result 1 \(video 12\): segmentations has 1 entries, the video has 3 frames",
        ),
        ({"category_id": 5}, r"result 1 \(video 12\): category_id is 5, those of ground_truth are 4"),
        ({"video_id": 5}, "result 1: video_id is 5, the annotation file has no such video"),
        ({"score": float("nan")}, "score is nan"),
        ({"segmentations": [rle.encode(MASK.T), None, None]}, r"segmentations\[0\]: size is \[7, 5\]"),
    ],
)
def test_bad_results_leave_the_old_files_whole(tmp_path, changes, message):
    before = [path.read_bytes() for path in write_submission(tmp_path, [result()], VIDEOS)]
    with pytest.raises(InputError, match=message):
        write_submission(tmp_path, [result(), result(**changes)], VIDEOS)
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before
