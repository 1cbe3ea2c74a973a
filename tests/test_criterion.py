"""The training loss: what each supervision sums up, what it may read, and how its gradients flow."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import oracle_folder
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.boxloss import box_masks
from maskfree_nb.criterion import Criterion, CriterionConfig
from maskfree_nb.data.clips import Clip, collate_clips
from maskfree_nb.errors import InputError
from maskfree_nb.maskloss import box_fill, mask_losses, outside_loss
from maskfree_nb.model.mask2former import Prediction
from maskfree_nb.options import build
from maskfree_nb.schedules import box_warmup, learning_rate_factor

FRAMES, SIZE, QUERIES, CLASSES, LAYERS = 3, (32, 64), 5, 2, 2


def make_clip(seed: int, objects: int, masks: bool = True) -> Clip:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (FRAMES, 3, *SIZE), generator=generator, dtype=torch.uint8)
    corner = torch.randint(0, 16, (objects, FRAMES, 2), generator=generator)
    boxes = torch.cat([corner, corner + 14], -1).float()
    filled = torch.zeros(objects, FRAMES, *SIZE, dtype=torch.bool)
    for n in range(objects):
        for t, (x1, y1, x2, y2) in enumerate(boxes[n].int().tolist()):
            filled[n, t, y1:y2, x1:x2] = True
    labels = torch.randint(0, CLASSES, (objects,), generator=generator)
    return Clip(frames, boxes, labels, filled if masks else None, seed, tuple(range(FRAMES)))


def make_predictions(batch_size: int, seed: int = 0) -> list[Prediction]:
    generator = torch.Generator().manual_seed(seed)
    return [
        Prediction(
            torch.randn(batch_size, QUERIES, CLASSES + 1, generator=generator).requires_grad_(),
            torch.randn(batch_size, QUERIES, FRAMES, 8, 16, generator=generator).requires_grad_(),
        )
        for _ in range(LAYERS)
    ]


TERMS = {
    "boxes": {"class", "projection", "outside", "pairwise", "tk"},
    "boxinst": {"class", "projection", "outside", "pairwise"},
    "masks": {"class", "mask", "dice"},
}


@pytest.mark.parametrize("fill_weight", [0.0, 3.0])
@pytest.mark.parametrize("supervision", TERMS)
def test_the_loss_is_the_weighted_sum_of_its_terms_over_layers(supervision, fill_weight):
    config = CriterionConfig(supervision=supervision, fill_weight=fill_weight, fill_floor=0.9)
    batch = collate_clips([make_clip(1, 2), make_clip(2, 1)])
    loss, figures = Criterion(config)(make_predictions(2), batch)
    terms = {name.removeprefix("loss_"): value for name, value in figures.items() if name.startswith("loss_")}
    fill = {"fill"} if fill_weight and supervision != "masks" else set()
    assert terms.keys() == TERMS[supervision] | fill
    assert not fill or terms["fill"] > 0
    weighted = sum(getattr(config, f"{name}_weight") * value for name, value in terms.items())
    assert_close(loss.detach(), LAYERS * weighted, **TOL["float32 sums"])


@pytest.mark.parametrize("objects", [(2, 1), (0, 2), (0, 0)])
@pytest.mark.parametrize("supervision", TERMS)
def test_every_prediction_gets_a_finite_gradient(supervision, objects):
    predictions = make_predictions(2)
    batch = collate_clips([make_clip(seed, count) for seed, count in enumerate(objects)])
    loss, _ = Criterion(CriterionConfig(supervision=supervision, fill_weight=1.0))(predictions, batch)
    loss.backward()
    for layer in predictions:
        assert layer.logits.grad.isfinite().all() and layer.logits.grad.abs().sum() > 0
        assert layer.masks.grad.isfinite().all()
        touched = (layer.masks.grad.abs().sum((2, 3, 4)) > 0).sum(1)  # [B]: queries that learn masks
        assert touched.tolist() == list(objects)


@pytest.mark.parametrize("supervision", ["boxes", "boxinst"])
@pytest.mark.parametrize("progress", [0.0, 0.45, 1.0])
def test_box_modes_never_read_masks(supervision, progress):
    criterion = Criterion(CriterionConfig(supervision=supervision))
    clips = [make_clip(1, 2), make_clip(2, 1)]
    bare = [replace(clip, masks=None) for clip in clips]
    inverted = [replace(clip, masks=~clip.masks) for clip in clips]
    losses = [criterion(make_predictions(2), collate_clips(c), progress)[0] for c in (clips, bare, inverted)]
    assert torch.equal(losses[0], losses[1]) and torch.equal(losses[0], losses[2])


def test_the_oracle_says_that_masks_are_missing():
    criterion = Criterion(CriterionConfig(supervision="masks"))
    with pytest.raises(InputError, match="video 7 was loaded without"):
        criterion(make_predictions(1), collate_clips([make_clip(7, 1, masks=False)]))


def test_the_warm_up_trains_filled_boxes():
    """At progress 0 the loss of `boxes` is that of the oracle whose masks are the filled boxes."""
    clip = make_clip(3, 2)  # its masks are its filled boxes
    boxes, _ = Criterion(CriterionConfig(supervision="boxes"))(
        make_predictions(1), collate_clips([clip]), 0.0
    )
    masks, _ = Criterion(CriterionConfig(supervision="masks"))(make_predictions(1), collate_clips([clip]))
    assert_close(boxes, masks, **TOL["stride-4 mean against bilinear"])


def test_matched_queries_answer_for_their_class():
    """A query with the right box and the right class is matched, so that its class loss is small."""
    clip = make_clip(4, 1)
    filled = box_masks(clip.boxes, SIZE)  # [1, T, h, w]
    masks = torch.full((1, QUERIES, FRAMES, 8, 16), -20.0)
    masks[0, 3] = torch.where(filled[0] > 0, 20.0, -20.0)
    logits = torch.zeros(1, QUERIES, CLASSES + 1)
    logits[..., CLASSES] = 20
    logits[0, 3] = torch.nn.functional.one_hot(clip.labels[0], CLASSES + 1) * 20.0
    _, figures = Criterion(CriterionConfig())([Prediction(logits, masks)], collate_clips([clip]))
    assert figures["loss_class"] < 1e-6
    assert figures["box_fill"].item() == pytest.approx(1)


def test_a_stray_pixel_upsets_the_matching_by_boxes_but_not_by_filled_boxes():
    clip = make_clip(4, 1)
    filled = box_masks(clip.boxes, SIZE)[0] > 0.5  # [T, h, w]
    masks = torch.full((1, QUERIES, FRAMES, 8, 16), -20.0)
    masks[0, 3] = torch.where(filled, 20.0, -20.0)
    masks[0, 3, :, 7, 15] = masks[0, 3, :, 0, 0] = 0.1  # the right mask, and two pixels far from it
    masks[0, 1] = torch.where(filled & (torch.arange(16) <= filled.nonzero()[:, 2].min() + 1), 20.0, -20.0)
    logits = torch.zeros(1, QUERIES, CLASSES + 1)  # no opinion about classes
    chosen = {}
    for matching in ("boxes", "filled"):
        predictions = [Prediction(logits, masks.clone().requires_grad_())]
        loss, _ = Criterion(CriterionConfig(matching=matching))(predictions, collate_clips([clip]))
        loss.backward()
        chosen[matching] = predictions[0].masks.grad.abs().sum((0, 2, 3, 4)).argmax().item()
    assert chosen == {"boxes": 1, "filled": 3}


@pytest.mark.oracle
def test_class_loss_against_the_goldens():
    paths = [
        path for path in sorted((oracle_folder() / "tk_loss").glob("*.npz")) if "loss_ce" in np.load(path)
    ]
    assert paths
    for path in paths:
        check_class_loss(path)


def check_class_loss(path: Path) -> None:
    golden = {name: torch.from_numpy(array) for name, array in np.load(path).items()}
    logits = golden["pred_logits"].clone().requires_grad_()
    queries, instances = golden["assign_exact"]
    query = torch.empty_like(queries)
    query[instances] = queries
    criterion = Criterion(CriterionConfig())
    clip = Clip(
        torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
        torch.zeros(len(query), 1, 4),
        golden["labels"],
        None,
        0,
        (0,),
    )
    targets = criterion.targets(collate_clips([clip]))
    layer = Prediction(logits[None], golden["pred_masks"][None])
    loss = criterion._class_term([layer], [query[None]], targets).loss[0]
    loss.backward()
    assert_close(loss.double(), golden["loss_ce"], **TOL["oracle losses"])
    assert_close(logits.grad, golden["grad_ce"], **TOL["oracle gradients"])


def test_mask_losses_are_least_at_the_target():
    target = (torch.rand(2, 3, 6, 7, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    right = mask_losses((target * 40 - 20)[None], target)
    wrong = mask_losses((20 - target * 40)[None], target)
    assert all(loss.item() < 1e-2 for loss in right)
    assert all(loss.item() > 0.9 for loss in wrong)


def test_outside_loss_reads_only_the_outside():
    boxes = torch.zeros(1, 1, 6, 6)
    boxes[..., 2:4, 2:4] = 1
    logits = torch.zeros(1, 1, 1, 6, 6, requires_grad=True)
    loss = outside_loss(logits, boxes)
    loss.sum().backward()
    assert_close(loss, torch.tensor([32 * np.log(2) / 4]).float(), **TOL["float32 sums"])
    assert (logits.grad[0, 0, 0, 2:4, 2:4] == 0).all() and (logits.grad > 0).sum() == 32


def test_box_fill():
    boxes = torch.zeros(1, 1, 4, 4)
    boxes[..., :2] = 1
    logits = torch.full((1, 1, 4, 4), -1.0)
    logits[..., :2, :] = 1
    assert box_fill(logits, boxes).item() == pytest.approx(0.5)


def test_schedules():
    assert [box_warmup(p, 0.4, 0.2) for p in (0, 0.39, 0.5, 0.6, 1)] == [1, 1, 0.5, 0, 0]
    assert box_warmup(0.0, 0.0, 0.1) == 0
    factors = [learning_rate_factor(step, 50, 5) for step in range(50)]
    assert (
        max(factors) == 1 and factors[0] == 0.2 and factors == factors[:5] + sorted(factors[5:], reverse=True)
    )


def test_bad_options_are_named():
    with pytest.raises(InputError, match="supervision is 'mask'"):
        build(CriterionConfig, {"supervision": "mask"}, "here")
    with pytest.raises(InputError, match="here: unknown option 'tk_wait'"):
        build(CriterionConfig, {"tk_wait": 1}, "here")


@pytest.mark.parametrize(
    "options", [{"pairwise_dilation": 0}, {"pairwise_threshold": 0.0}, {"pairwise_threshold": 3.0}]
)
def test_neighbours_that_cannot_be_are_refused(options):
    with pytest.raises(InputError, match=f"{next(iter(options))} is .*, expected"):
        CriterionConfig(**options)


def test_a_floor_of_the_fill_that_is_no_share_is_refused():
    with pytest.raises(InputError, match="fill_floor is 40, expected a share above 0 and at most 1"):
        CriterionConfig(fill_floor=40)
