"""From boxes to masks: `maskfree label`."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_set import make_small_set, small_options

from maskfree_nb.cli import main
from maskfree_nb.data import rle
from maskfree_nb.data.clips import video_frames
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.report import evaluate_model
from maskfree_nb.evaluation.video_ap import mean_track_iou
from maskfree_nb.inference import load_trained
from maskfree_nb.labelling import DOUBTFUL, label_boxes, masks_in_boxes
from maskfree_nb.model.mask2former import Prediction
from maskfree_nb.pretrained import pretrained
from maskfree_nb.train_config import TrainConfig
from maskfree_nb.training import train

MODEL = pretrained("tiny_boxes")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def held_out(tmp_path_factory) -> Path:
    """A few videos of the embedded set: `val.json`, with true masks, and `val/JPEGImages`."""
    folder = tmp_path_factory.mktemp("embedded")
    make_embedded(folder, seed=3, train_videos=1, val_videos=12, val_frames=4)
    return folder


@pytest.fixture(scope="module")
def boxes_only(held_out) -> Path:
    """The same annotations without masks."""
    content = json.loads((held_out / "val.json").read_text())
    for record in content["annotations"]:
        del record["segmentations"], record["areas"]
    (held_out / "boxes.json").write_text(json.dumps(content))
    return held_out / "boxes.json"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    return train(TrainConfig(**small_options(*make_small_set(folder))), folder / "run")


def mean_iou(truth: Path, labelled: Path) -> float:
    """Mean IoU of the true tracks with the drawn ones."""
    drawn = json.loads(labelled.read_text())["annotations"]
    return mean_track_iou(truth, [{**record, "score": 1.0} for record in drawn])


def test_masks_are_better_with_the_boxes_than_without(held_out, boxes_only, tmp_path):
    images = held_out / "val" / "JPEGImages"
    done = label_boxes(MODEL, boxes_only, images, tmp_path / "masks.json", progress=False)
    found = evaluate_model(MODEL, held_out / "val.json", images, refine=True, progress=False)
    assert mean_iou(held_out / "val.json", done.path) > found.mean_iou + 0.01
    tracks = [track for video in load_ytvis(boxes_only, images, masks=False).videos for track in video.tracks]
    assert done.boxes == sum((~np.isnan(track.boxes[:, 0])).sum() for track in tracks)
    assert done.empty <= 0.05 * done.boxes and done.doubtful < 0.3 * done.boxes


def test_a_low_span_tells_a_bad_mask(held_out, boxes_only, tmp_path):
    images = held_out / "val" / "JPEGImages"
    done = label_boxes(MODEL, boxes_only, images, tmp_path / "masks.json", progress=False)
    spans, ious = [], []
    truths = {t.id: t for v in load_ytvis(held_out / "val.json", images, masks=True).videos for t in v.tracks}
    for record in json.loads(done.path.read_text())["annotations"]:
        for span, drawn, true in zip(
            record["spans"], record["segmentations"], truths[record["id"]].segmentations, strict=True
        ):
            if span is not None and drawn is not None:
                one, two = rle.decode(drawn).astype(bool), rle.decode(true).astype(bool)
                spans.append(span)
                ious.append((one & two).sum() / (one | two).sum())
    assert np.corrcoef(spans, ious)[0, 1] > 0.5


def test_the_file_is_the_one_read_with_masks_that_can_be_trained_on(held_out, tmp_path):
    images = held_out / "val" / "JPEGImages"
    content = json.loads((held_out / "val.json").read_text())
    content["info"] = {"kept": True}
    crowd, *others = content["annotations"]
    crowd["iscrowd"] = 1
    for record in content["annotations"]:
        record["segmentations"] = ["not looked at"] * len(record["bboxes"])
    others[0]["bboxes"][1] = None
    (tmp_path / "given.json").write_text(json.dumps(content))
    done = label_boxes(
        MODEL, tmp_path / "given.json", images, tmp_path / "new" / "masks.json", progress=False
    )
    written = json.loads(done.path.read_text())
    for before, after in zip(content["annotations"], written["annotations"], strict=True):
        drawn = {name: after.pop(name) for name in ("segmentations", "areas", "spans")}
        del before["segmentations"], before["areas"]
        assert after == before
        for box, mask, area, span in zip(before["bboxes"], *drawn.values(), strict=True):
            if box is None or before.get("iscrowd"):
                assert mask is area is span is None
            else:
                assert 0 <= span <= 1 and (mask is None) == (area is None)
                assert mask is None or rle.area(mask) == area > 0
    del content["annotations"], written["annotations"]
    assert written == content
    options = small_options(done.path, images, steps=2)
    options["criterion"] = {"supervision": "masks"}
    assert train(TrainConfig(**options), tmp_path / "run").exists()


def test_masks_stay_in_their_boxes_and_each_object_has_its_own(held_out):
    model = load_trained(MODEL)[0]
    videos = load_ytvis(held_out / "val.json", held_out / "val" / "JPEGImages", masks=False)
    video = max(videos.videos, key=lambda video: len(video.tracks))
    boxes = torch.from_numpy(np.stack([track.boxes for track in video.tracks]))
    labels = torch.tensor([track.category for track in video.tracks])
    frames = video_frames(videos, video)
    found = []
    for image_size in (None, 64):  # as they are, and smaller
        masks, spans = masks_in_boxes(model, frames, boxes, labels, image_size=image_size)
        found.append(masks)
        assert masks.shape == (*boxes.shape[:2], *frames.shape[-2:]) and masks.dtype == torch.bool
        assert spans.isnan().equal(boxes[..., 0].isnan())
        for box, mask in zip(boxes.flatten(0, 1), masks.flatten(0, 1), strict=True):
            outside = mask.clone()
            if not box.isnan().any():
                x1, y1, x2, y2 = box.round().int().tolist()
                outside[y1:y2, x1:x2] = False
            assert not outside.any()
    assert not torch.equal(*found)
    assert len(video.tracks) > 1 and not any(
        one.equal(two) for number, one in enumerate(masks) for two in masks[:number]
    )


class Fixed:
    """A model that always says the same; [0] of its layers is the final one."""

    def __init__(self, logits: torch.Tensor, masks: torch.Tensor):
        self.config = SimpleNamespace(mask_stride=4, num_classes=logits.shape[1] - 1)
        self.prediction = Prediction(logits[None], masks[None])

    def parameters(self):
        yield torch.zeros(1)

    def eval(self):
        return self

    def __call__(self, frames):
        self.seen = frames
        return [self.prediction]


def test_the_class_tells_which_query_answers_where_masks_do_not():
    mask = torch.full((1, 8, 8), -5.0)
    mask[:, 2:6, 2:6] = 5.0
    smaller = mask.clone()
    smaller[:, 5] = -5.0
    model = Fixed(torch.tensor([[9.0, 0, 0], [0, 9.0, 0]]), torch.stack([mask, smaller]))
    frames = torch.full((1, 3, 32, 32), 128, dtype=torch.uint8)
    boxes = torch.tensor([[[8.0, 8.0, 24.0, 24.0]]])
    for label, span in ((0, 1.0), (1, 0.75)):
        masks, spans = masks_in_boxes(model, frames, boxes, torch.tensor([label]), least_span=0)
        assert spans.item() == pytest.approx(span, abs=0.07)
        assert masks.sum().item() == pytest.approx(256 * span, rel=0.15)


def test_labels_and_boxes_that_do_not_belong_together_are_refused():
    model = Fixed(torch.tensor([[9.0, 0]]), torch.zeros(1, 1, 8, 8))
    frames, boxes = torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.tensor([[[4.0, 4.0, 20.0, 20.0]]])
    with pytest.raises(InputError, match=r"boxes has shape \[1, 2, 4\], expected \[1, 1, 4\]"):
        masks_in_boxes(model, frames, boxes.expand(1, 2, 4), torch.tensor([0]))
    for label in (-1, model.config.num_classes):
        with pytest.raises(InputError, match=rf"labels are \[{label}\], expected 0\.\."):
            masks_in_boxes(model, frames, boxes, torch.tensor([label]))


def test_what_pads_a_frame_is_zero_for_the_model_as_in_training():
    model = Fixed(torch.tensor([[9.0, 0]]), torch.zeros(1, 1, 8, 8))
    frames = torch.zeros(1, 3, 30, 28, dtype=torch.uint8)  # black, which is not zero once it is normalised
    masks_in_boxes(model, frames, torch.tensor([[[4.0, 4.0, 20.0, 20.0]]]), torch.tensor([0]))
    assert model.seen.shape == (1, 1, 3, 32, 32)
    assert (model.seen[..., :30, :28] < 0).all()
    assert (model.seen[..., 30:, :] == 0).all() and (model.seen[..., 28:] == 0).all()


@pytest.mark.parametrize(
    ("cut", "image_size", "least"), [((0, 0), 128, 0.66), ((1, 1), None, 0.7), ((5, 9), 112, 0.66)]
)
def test_frames_of_other_sizes_get_good_masks_too(held_out, cut, image_size, least):
    model = load_trained(MODEL)[0]
    videos = load_ytvis(held_out / "val.json", held_out / "val" / "JPEGImages", masks=True)
    ious = []
    for video in videos.videos[:6]:
        frames = video_frames(videos, video)[..., cut[0] :, cut[1] :]  # at the left and at the top
        shift = torch.tensor([cut[1], cut[0]] * 2)
        boxes = torch.from_numpy(np.stack([track.boxes for track in video.tracks])) - shift
        boxes = boxes.clamp(min=0)
        boxes[((boxes[..., 2:] - boxes[..., :2]) < 1).any(-1)] = float("nan")
        labels = torch.tensor([track.category for track in video.tracks])
        masks, _ = masks_in_boxes(model, frames, boxes, labels, image_size=image_size)
        for drawn, track in zip(masks.numpy(), video.tracks, strict=True):
            empty = np.zeros((video.height, video.width), dtype=np.uint8)
            true = np.stack([empty if mask is None else rle.decode(mask) for mask in track.segmentations])
            true = true[:, cut[0] :, cut[1] :].astype(bool)
            ious.append((drawn & true).sum() / (drawn | true).sum())
    assert np.mean(ious) > least


def test_what_is_said_of_the_masks_is_what_was_written(held_out, boxes_only, tmp_path):
    content = json.loads(boxes_only.read_text())
    tiny, *_ = content["annotations"]
    tiny["bboxes"] = [box and [1, 1, 2, 2] for box in tiny["bboxes"]]  # far from the object: nothing is there
    content["annotations"].append({**tiny, "id": 1000, "bboxes": [None] * len(tiny["bboxes"])})
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    images = held_out / "val" / "JPEGImages"
    done = label_boxes(MODEL, tmp_path / "boxes.json", images, tmp_path / "masks.json", progress=False)
    pairs, means = [], {}
    for record in json.loads(done.path.read_text())["annotations"]:
        found = [
            pair for pair in zip(record["spans"], record["segmentations"], strict=True) if pair[0] is not None
        ]
        pairs += found
        if any(span < DOUBTFUL or mask is None for span, mask in found):
            means[record["id"]] = np.mean([span for span, _ in found])
    assert done.boxes == len(pairs)
    assert done.empty == sum(mask is None for _, mask in pairs) > 0
    assert done.doubtful == sum(mask is not None and span < DOUBTFUL for span, mask in pairs) > 0
    assert [means[id] for id in done.worst] == pytest.approx(sorted(means.values())[:10])
    assert tiny["id"] in done.worst and 1000 not in done.worst


def test_a_set_without_objects_is_written_as_it_is(trained, tmp_path):
    annotations, images = make_small_set(tmp_path)
    content = json.loads(annotations.read_text())
    content["annotations"] = []
    annotations.write_text(json.dumps(content))
    done = label_boxes(trained, annotations, images, tmp_path / "masks.json", progress=False)
    assert json.loads(done.path.read_text()) == content
    assert (done.boxes, done.empty, done.doubtful, done.worst) == (0, 0, 0, ())
    assert done.text().endswith("no boxes to draw masks into")


def test_bad_input_is_refused_before_any_work(trained, held_out, tmp_path, monkeypatch):
    annotations, images = make_small_set(tmp_path, videos=1)
    monkeypatch.setattr(
        "maskfree_nb.labelling.masks_in_boxes", lambda *_, **__: pytest.fail("work was begun")
    )
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(annotations)
    for out, words in (
        (annotations, "--out is the file of the boxes"),
        (tmp_path / "link", "--out is the file of the boxes"),
        (tmp_path, "is a folder, expected a file to write"),
        (Path("/dev/null"), "is a device, expected a file to write"),
        (tmp_path / "file" / "masks.json", "cannot be written"),
        (tmp_path / ("long" * 100), "cannot be written"),
    ):
        with pytest.raises(InputError, match=words):
            label_boxes(trained, annotations, images, out, progress=False)
    with pytest.raises(InputError, match=r"least_span is 80, expected a share"):
        label_boxes(trained, annotations, images, tmp_path / "masks.json", least_span=80, progress=False)
    with pytest.raises(InputError, match="no such folder"):
        label_boxes(trained, annotations, tmp_path / "none", tmp_path / "masks.json", progress=False)
    with pytest.raises(InputError, match="was trained for red, green"):
        label_boxes(trained, held_out / "val.json", images, tmp_path / "masks.json", progress=False)
    content = json.loads(annotations.read_text())
    content["annotations"] = [{**content["annotations"][0], "id": id} for id in range(1, 6)]
    annotations.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"video 1 has 5 objects, .* 4 queries; .*num_queries"):
        label_boxes(trained, annotations, images, tmp_path / "masks.json", progress=False)
    assert not (tmp_path / "masks.json").exists()


def test_the_command_says_what_it_wrote_and_where_to_look(held_out, boxes_only, tmp_path, capsys):
    out = tmp_path / "masks.json"
    arguments = [
        "label",
        MODEL,
        "--annotations",
        boxes_only,
        "--images",
        held_out / "val" / "JPEGImages",
    ]
    assert main([str(word) for word in (*arguments, "--out", out)]) == 0
    said = capsys.readouterr().out
    assert f"written: {out}" in said and " boxes: " in said and "look first at annotations " in said
    assert main([str(word) for word in (*arguments, "--out", tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
