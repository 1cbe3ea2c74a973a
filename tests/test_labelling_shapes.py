"""Masks drawn after the shapes of their class: `maskfree label --shapes`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from maskfree_nb import labelling
from maskfree_nb.box_drawing import masks_in_boxes, masks_of_shapes, shapes_in_boxes
from maskfree_nb.cli import main
from maskfree_nb.data import rle
from maskfree_nb.data.clips import video_frames
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.video_ap import mean_track_iou
from maskfree_nb.inference import load_trained
from maskfree_nb.labelling import label_boxes
from maskfree_nb.pretrained import pretrained
from maskfree_nb.shape_neighbours import GRID

MODEL = pretrained("tiny_boxes")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def held_out(tmp_path_factory) -> tuple[Path, Path]:
    """Enough videos of the embedded set for shapes of each class, with true masks: annotations and images."""
    folder = tmp_path_factory.mktemp("embedded")
    make_embedded(folder, seed=3, train_videos=1, val_videos=60, val_frames=4)
    return folder / "val.json", folder / "val" / "JPEGImages"


def drawn(held_out, path: Path, **options) -> tuple[float, list[dict]]:
    label_boxes(MODEL, *held_out, path, progress=False, **options)
    records = json.loads(path.read_text())["annotations"]
    return mean_track_iou(held_out[0], [{**record, "score": 1.0} for record in records]), records


def test_the_shapes_of_a_class_make_better_masks(held_out, tmp_path):
    alone, before = drawn(held_out, tmp_path / "alone.json")
    by_shapes, after = drawn(held_out, tmp_path / "shapes.json", shapes=True)
    assert by_shapes > alone + 0.015
    for old, new in zip(before, after, strict=True):
        assert [span is None for span in old["spans"]] == [span is None for span in new["spans"]]
        for box, runs in zip(new["bboxes"], new["segmentations"], strict=True):
            assert (box is None) == (runs is None)
            if runs is not None:
                x, y, width, height = box
                outside = rle.decode(runs).astype(bool)
                outside[round(y) : round(y + height), round(x) : round(x + width)] = False
                assert not outside.any()


def test_the_command_draws_them_and_few_objects_are_drawn_by_the_model_alone(held_out, tmp_path, capsys):
    content = json.loads(held_out[0].read_text())
    content["videos"] = content["videos"][:2]
    kept = {video["id"] for video in content["videos"]}
    content["annotations"] = [each for each in content["annotations"] if each["video_id"] in kept]
    content["annotations"][0]["bboxes"][1] = None  # absent in between
    (tmp_path / "few.json").write_text(json.dumps(content))
    given = [
        "label",
        str(MODEL),
        "--annotations",
        str(tmp_path / "few.json"),
        "--images",
        str(held_out[1]),
    ]
    assert main([*given, "--shapes", "--out", str(tmp_path / "masks.json")]) == 0
    assert "got no mask" in capsys.readouterr().out
    records = json.loads((tmp_path / "masks.json").read_text())["annotations"]
    assert records[0]["segmentations"][1] is None and records[0]["segmentations"][0] is not None
    alone, _ = drawn((tmp_path / "few.json", held_out[1]), tmp_path / "alone.json")
    by_few = mean_track_iou(tmp_path / "few.json", [{**each, "score": 1.0} for each in records])
    assert by_few > 0.9 * alone > 0.5


def test_nothing_to_draw_is_no_error(held_out, tmp_path):
    content = json.loads(held_out[0].read_text())
    for each in content["annotations"]:
        each["iscrowd"] = 1
    (tmp_path / "crowds.json").write_text(json.dumps(content))
    done = label_boxes(
        MODEL, tmp_path / "crowds.json", held_out[1], tmp_path / "m.json", shapes=True, progress=False
    )
    assert done.boxes == 0


@pytest.mark.parametrize("image_size", [None, 64])
def test_soft_masks_in_boxes_are_those_of_masks_in_boxes(held_out, image_size, monkeypatch):
    """Drawn back from their shapes, masks are nearly the ones drawn at once, but that logits are raised."""
    model = load_trained(MODEL)[0]
    videos = load_ytvis(*held_out, masks=False)
    video = max(videos.videos, key=lambda video: len(video.tracks))
    boxes = torch.from_numpy(np.stack([track.boxes for track in video.tracks]))
    labels = torch.tensor([track.category for track in video.tracks])
    frames = video_frames(videos, video)
    shapes = shapes_in_boxes(model, frames, boxes, labels, image_size=image_size)
    assert shapes.shape == (*boxes.shape[:2], GRID, GRID)
    absent = boxes.isnan().any(-1)
    assert shapes[absent].isnan().all() and ((shapes[~absent] >= 0) & (shapes[~absent] <= 1)).all()
    size = {"image_size": image_size, "least_span": 0.0}
    back, spans = masks_of_shapes(shapes, frames, boxes, stride=4, **size)
    at_once, _ = masks_in_boxes(model, frames, boxes, labels, **size)
    assert back.shape == at_once.shape and spans.isnan().equal(absent)
    assert back.sum() > at_once.sum()
    monkeypatch.setattr("maskfree_nb.box_drawing.RAISED", 0.0)
    shapes = shapes_in_boxes(model, frames, boxes, labels, image_size=image_size)
    back, _ = masks_of_shapes(shapes, frames, boxes, stride=4, **size)
    assert (back & at_once).sum() / (back | at_once).sum() > 0.9


def test_long_videos_are_drawn_in_parts_with_the_same_result(held_out, monkeypatch):
    model = load_trained(MODEL)[0]
    videos = load_ytvis(*held_out, masks=False)
    frames = video_frames(videos, videos.videos[0])
    boxes, labels = torch.tensor([[[20.0, 20.0, 90.0, 80.0]] * len(frames)]), torch.tensor([0])

    def both():
        shapes = shapes_in_boxes(model, frames, boxes, labels)
        return shapes, masks_of_shapes(shapes, frames, boxes, stride=4)[0]

    together = both()
    monkeypatch.setattr("maskfree_nb.box_drawing.AT_ONCE", 3)  # of 4 frames: a part of three, a part of one
    for whole, parts in zip(together, both(), strict=True):
        assert whole.equal(parts)


def test_shapes_and_boxes_that_do_not_fit_are_refused():
    frames = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    for grid, count in ((GRID, 2), (5, 1)):
        shapes, boxes = torch.zeros(1, 2, grid, grid), torch.zeros(count, 2, 4)
        with pytest.raises(InputError, match="with T = 2 frames"):
            masks_of_shapes(shapes, frames, boxes, stride=4)


def test_objects_of_one_track_are_told_apart_by_annotation(held_out, monkeypatch):
    """What `nearest_shapes` is given: every box once, with its class and its annotation."""
    seen = []
    monkeypatch.setattr(labelling, "nearest_shapes", lambda shapes: seen.append(shapes) or shapes.maps)
    videos = load_ytvis(*held_out, masks=False)
    tracks = [track for video in videos.videos for track in video.tracks]
    labelling._class_shapes(load_trained(MODEL)[0], videos, None, False)
    (shapes,) = seen
    boxes = [
        (track.id, track.category, box) for track in tracks for box in track.boxes if not np.isnan(box[0])
    ]
    assert shapes.tracks.tolist() == [id for id, _, _ in boxes]
    assert shapes.labels.tolist() == [category for _, category, _ in boxes]
    widths, heights = np.array([[x2 - x1, y2 - y1] for _, _, (x1, y1, x2, y2) in boxes]).T
    assert np.allclose(shapes.aspects, np.log(widths / heights), atol=1e-4)
