"""Masks drawn along the matches between frames, and ranked by themselves: `--temporal`, `--mask-scores`."""

import json
from pathlib import Path

import pytest
import torch

from maskfree_nb.cli import main
from maskfree_nb.data.clips import video_frames
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.evaluation.report import evaluate_model
from maskfree_nb.evaluation.video_ap import mean_track_iou
from maskfree_nb.inference import load_trained, predict_video
from maskfree_nb.labelling import label_boxes, masks_in_boxes
from maskfree_nb.pretrained import pretrained

MODEL = pretrained("tiny_boxes")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def held_out(tmp_path_factory) -> tuple[Path, Path]:
    """A few videos of the embedded set, with true masks: annotations and images."""
    folder = tmp_path_factory.mktemp("embedded")
    make_embedded(folder, seed=3, train_videos=1, val_videos=16, val_frames=5)
    return folder / "val.json", folder / "val" / "JPEGImages"


def test_masks_found_get_better_the_more_they_listen_to(held_out):
    reports = [
        evaluate_model(MODEL, *held_out, progress=False, **options)
        for options in ({}, {"refine": True}, {"temporal": True})
    ]
    found, redrawn, linked = (report.mean_iou for report in reports)
    assert found + 0.01 < redrawn and redrawn + 0.003 < linked


def test_tracks_are_ranked_better_when_their_masks_count(held_out):
    by_class, by_mask = (
        evaluate_model(MODEL, *held_out, progress=False, mask_scores=mask_scores)
        for mask_scores in (False, True)
    )
    assert by_class.ap.stats["AP"] + 0.01 < by_mask.ap.stats["AP"]
    assert by_class.mean_iou == by_mask.mean_iou


def test_masks_drawn_into_boxes_get_better_too(held_out, tmp_path):
    ious = []
    for temporal in (False, True):
        path = tmp_path / "masks.json"
        label_boxes(MODEL, *held_out, path, temporal=temporal, progress=False)
        records = json.loads(path.read_text())["annotations"]
        ious.append(mean_track_iou(held_out[0], [{**record, "score": 1.0} for record in records]))
    assert ious[0] + 0.001 < ious[1]


@pytest.mark.parametrize(("size", "count"), [((50, 75), 3), ((96, 128), 1), ((33, 40), 2)])
def test_frames_of_any_size_and_number(held_out, size, count):
    model, _ = load_trained(MODEL)
    videos = load_ytvis(*held_out, masks=False)
    frames = video_frames(videos, videos.videos[0])[:count, :, : size[0], : size[1]]
    tracks = predict_video(model, frames, temporal=True)
    assert tracks.masks.shape == (10, count, *size)
    boxes = torch.tensor([[5.0, 6.0, 30.0, 28.0]]).repeat(count, 1)[None]
    masks, spans = masks_in_boxes(model, frames, boxes, torch.tensor([0]), temporal=True)
    assert masks.shape == (1, count, *size) and spans.shape == (1, count)
    if count == 1:  # nothing to listen to, and what one frame says has settled
        alone = predict_video(model, frames, refine=True)
        assert (alone.masks != tracks.masks).float().mean() < 0.001


def test_the_commands_take_it(held_out, tmp_path, capsys):
    annotations, images = held_out
    data = ["--annotations", str(annotations), "--images", str(images)]
    small = json.loads(annotations.read_text())
    small["videos"] = small["videos"][:2]
    kept = {video["id"] for video in small["videos"]}
    small["annotations"] = [each for each in small["annotations"] if each["video_id"] in kept]
    data[1] = str(tmp_path / "val.json")
    Path(data[1]).write_text(json.dumps(small))
    scores, labels = [], []
    for flags in (["--refine"], ["--temporal"], ["--refine", "--temporal"]):
        assert main(["eval", str(MODEL), *data, *flags, "--out", str(tmp_path / "eval")]) == 0
        scores.append(json.loads((tmp_path / "eval" / "results.json").read_text()))
    assert scores[0] != scores[1] == scores[2]
    for flags in ([], ["--temporal"]):
        out = str(tmp_path / "masks.json")
        assert main(["label", str(MODEL), *data, *flags, "--out", out]) == 0
        labels.append(Path(out).read_text())
    assert labels[0] != labels[1]
    source = str(images / Path(small["videos"][0]["file_names"][0]).parent)
    out = str(tmp_path / "predict")
    assert main(["predict", str(MODEL), source, "--temporal", "--out", out]) == 0
    tracks = json.loads((tmp_path / "predict" / "results.json").read_text())
    assert [each["segmentations"] for each in tracks] == [
        each["segmentations"] for each in scores[1] if each["video_id"] == small["videos"][0]["id"]
    ]
    assert "written" in capsys.readouterr().out
