"""The training loss of a clip: one switch says what supervises the masks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskfree_nb.boxloss import (
    box_masks,
    colour_affinity,
    fill_loss,
    pairwise_loss,
    projection_loss,
    union_region,
)
from maskfree_nb.data.clips import ClipBatch
from maskfree_nb.errors import InputError
from maskfree_nb.maskloss import box_fill, mask_losses, outside_loss
from maskfree_nb.matcher import assign, box_dice_cost, class_cost, mask_bounding_boxes, mask_dice_cost
from maskfree_nb.model.mask2former import Prediction
from maskfree_nb.options import build
from maskfree_nb.schedules import box_warmup
from maskfree_nb.tkloss import Matches, TKLoss

SUPERVISION = ("boxes", "boxinst", "masks")
MATCHING = ("boxes", "filled")


@dataclass(frozen=True)
class CriterionConfig:
    """What supervises the masks, and how strongly.

    Attributes:
        supervision: `boxes` (MaskFreeVIS: projection + pairwise + TK), `boxinst` (projection + pairwise: the
            baseline) or `masks` (the oracle: cross entropy + Dice on true masks). To both of the former come
            `outside` and, where it has a weight, `fill`, which the paper does not have.
        class_weight, no_object_weight: of the cross entropy over classes, and of its no-object class.
        projection_weight, pairwise_weight, tk_weight, outside_weight, fill_weight: of the losses from boxes.
        fill_floor: the share of its box that an object is taken to fill at least, where fill_weight > 0. That
            is an assumption, and not one for thin objects seen aslant.
        mask_weight, dice_weight: of cross entropy and Dice (the oracle, and the box warm-up).
        box_warmup, box_ramp: shares of the steps, see `schedules.box_warmup`; not used by `masks`.
        pairwise_dilation, pairwise_threshold: of the in-frame neighbours and their colour similarity.
        matching: what assigns queries to objects in the modes without masks: `boxes`, the Dice of the tight
            box around the predicted mask (the official rule), or `filled`, the Dice of the predicted mask and
            the filled box, which one stray pixel does not upset. During the warm-up it is `filled` anyway.
        border: `clean` or `zero`, of both consistency losses.
        tk: options of `TKLoss`.
    """

    supervision: str = "boxes"
    class_weight: float = 2.0
    no_object_weight: float = 0.1
    projection_weight: float = 5.0
    pairwise_weight: float = 5.0
    tk_weight: float = 5.0
    outside_weight: float = 1.0
    fill_weight: float = 0.0
    fill_floor: float = 0.4
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    matching: str = "boxes"
    box_warmup: float = 0.4
    box_ramp: float = 0.1
    pairwise_dilation: int = 2
    pairwise_threshold: float = 0.3
    border: str = "clean"
    tk: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.supervision not in SUPERVISION:
            raise InputError(f"supervision is {self.supervision!r}, expected one of {', '.join(SUPERVISION)}")
        if self.matching not in MATCHING:
            raise InputError(f"matching is {self.matching!r}, expected one of {', '.join(MATCHING)}")
        weights = [name for name in vars(self) if name.endswith("_weight")]
        for name, valid, expected in (
            *((name, getattr(self, name) >= 0, "at least 0") for name in weights),
            ("fill_floor", 0 < self.fill_floor <= 1, "a share above 0 and at most 1"),
            ("box_warmup", 0 <= self.box_warmup <= 1, "a share of the steps, 0 to 1"),
            ("box_ramp", 0 <= self.box_ramp <= 1, "a share of the steps, 0 to 1"),
            ("pairwise_dilation", self.pairwise_dilation >= 1, "at least 1"),
            ("pairwise_threshold", 0 < self.pairwise_threshold <= 1, "above 0, at most 1"),
        ):
            if not valid:
                raise InputError(f"{name} is {getattr(self, name)!r}, expected {expected}")


class Targets(NamedTuple):
    """The objects of all clips of a batch, one after another."""

    labels: Tensor  # int64 [N]
    boxes: Tensor  # [N, T, 4], image pixels, NaN where absent
    box_masks: Tensor  # [N, T, h, w], filled boxes at the size of the mask map
    masks: Tensor | None  # [N, T, h, w], true masks, only in oracle mode
    clip_index: Tensor  # int64 [N]
    image_hw: tuple[int, int]


class Matching(NamedTuple):
    """Which pixels of a batch look alike."""

    affinity: Tensor  # int32 [B, T, h, w], in the same frame: see `colour_affinity`
    matches: Matches | None  # in other frames of the tube; None where TK-Loss has no part


class Term(NamedTuple):
    """One term of the loss."""

    loss: Tensor  # [L], a mean over `size` things
    weight: float
    size: Tensor  # scalar: of how many things the mean was taken


class Criterion(nn.Module):
    """The sum of all losses of all decoder layers, with the figures that a training log wants.

    Every layer's heads are matched to the objects on their own; the matched masks of all layers then go
    through each loss in one call. Image-only work (Lab, matches, affinities) is done once per batch.
    """

    def __init__(self, config: CriterionConfig, mask_stride: int = 4):
        super().__init__()
        self.config, self.mask_stride = config, mask_stride
        self.tk_loss = build(
            TKLoss, {"border": config.border, **config.tk, "stride": mask_stride}, "criterion option tk"
        )

    def forward(
        self,
        predictions: Sequence[Prediction],
        batch: ClipBatch,
        progress: float = 1.0,
        average: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of one batch.

        Args:
            predictions: L of (class logits [B, Q, C + 1], mask logits [B, Q, T, h, w]), the final one last.
            batch: its masks are read by `supervision="masks"` alone.
            progress: share of the training steps done, 0..1, for the box warm-up.
            average: mean of a tensor over processes. Each term is a mean over something (instances, pairs,
                matches) of which processes have different numbers; with this, each counts the same in all.

        Returns:
            (loss, figures): a scalar, and detached scalars for the log: every loss term before its weight
            (mean over layers), `box_fill`, `box_warmup` and, where TK-Loss acts, `matches_per_pixel`.
        """
        targets = self.targets(batch)
        oracle = self.config.supervision == "masks"
        warmup = 0.0 if oracle else box_warmup(progress, self.config.box_warmup, self.config.box_ramp)
        by_filled_box = not oracle and (warmup == 1 or self.config.matching == "filled")
        known_masks = targets.box_masks if by_filled_box else targets.masks  # None: matched by boxes
        queries = [self._match(predictions, targets, clip, known_masks) for clip in range(len(batch.targets))]
        mask_logits = self._matched_masks(predictions, queries)  # [L, N, T, h, w]

        terms = {"class": self._class_term(predictions, queries, targets)}
        figures = {
            "box_warmup": torch.tensor(warmup),
            "box_fill": box_fill(mask_logits[-1], targets.box_masks),
        }
        if oracle:
            terms |= self._mask_terms(mask_logits, targets.masks, share=1.0)
        if warmup > 0:
            terms |= self._mask_terms(mask_logits, targets.box_masks, share=warmup)
        if not oracle and warmup < 1:
            matching = self._matching(batch.frames)
            terms |= self._box_terms(mask_logits, targets, matching, share=1 - warmup)
            if matching.matches is not None:
                figures["matches_per_pixel"] = matching.matches.count().float().mean()

        sizes = torch.stack([term.size for term in terms.values()])
        portions = sizes / average(sizes).clamp(min=1e-9) if average else torch.ones_like(sizes)
        losses = {
            name: portion * term.loss for (name, term), portion in zip(terms.items(), portions, strict=True)
        }
        figures |= {f"loss_{name}": loss.mean() for name, loss in losses.items()}
        loss = sum(terms[name].weight * loss.sum() for name, loss in losses.items())
        return loss, {name: value.detach() for name, value in figures.items()}

    def targets(self, batch: ClipBatch) -> Targets:
        """Bring the objects of all clips to the padded frame and the size of the mask map."""
        device = batch.frames.device
        height, width = batch.frames.shape[-2:]
        boxes = torch.cat([clip.boxes for clip in batch.targets]).to(device)
        masks = None
        if self.config.supervision == "masks":
            missing = [clip.video_id for clip in batch.targets if clip.masks is None]
            if missing:
                raise InputError(
                    f"supervision='masks' needs true masks; video {missing[0]} was loaded without"
                )
            padded = [
                F.pad(clip.masks.float(), (0, width - clip.masks.shape[-1], 0, height - clip.masks.shape[-2]))
                for clip in batch.targets
            ]
            masks = F.avg_pool2d(torch.cat(padded).to(device), self.mask_stride)
        sizes = torch.tensor([len(clip.labels) for clip in batch.targets])
        return Targets(
            labels=torch.cat([clip.labels for clip in batch.targets]).to(device),
            boxes=boxes,
            box_masks=box_masks(boxes, (height, width), self.mask_stride),
            masks=masks,
            clip_index=torch.repeat_interleave(torch.arange(len(sizes)), sizes).to(device),
            image_hw=(height, width),
        )

    @torch.no_grad()
    def _match(self, predictions: Sequence, targets: Targets, clip: int, masks: Tensor | None) -> Tensor:
        """The query of each object of one clip in each layer, int64 [L, n]; by `masks`, else by boxes."""
        chosen = targets.clip_index == clip
        logits = torch.stack([layer.logits[clip] for layer in predictions])  # [L, Q, C + 1]
        mask_logits = torch.stack([layer.masks[clip] for layer in predictions])  # [L, Q, T, h, w]
        layers, queries = logits.shape[:2]
        if masks is not None:
            dice = mask_dice_cost(mask_logits.flatten(0, 1), masks[chosen])
        else:
            pred_boxes = mask_bounding_boxes(mask_logits.flatten(0, 1) > 0)
            dice = box_dice_cost(pred_boxes, targets.boxes[chosen], mask_logits.shape[-2:], targets.image_hw)
        classes = class_cost(logits.flatten(0, 1), targets.labels[chosen])
        costs = zip(classes.view(layers, queries, -1), dice.view(layers, queries, -1), strict=True)
        return torch.stack([assign(by_class, by_dice) for by_class, by_dice in costs])

    @staticmethod
    def _matched_masks(predictions: Sequence, queries: list[Tensor]) -> Tensor:
        """The mask logits of the matched queries of all layers, in the objects' order: [L, N, T, h, w]."""
        layers = []
        for number, layer in enumerate(predictions):
            count = layer.masks.shape[1]
            rows = torch.cat([clip * count + query[number] for clip, query in enumerate(queries)])
            layers.append(layer.masks.flatten(0, 1).index_select(0, rows))
        return torch.stack(layers)

    def _class_term(self, predictions: Sequence, queries: list[Tensor], targets: Targets) -> Term:
        """Cross entropy over classes, unmatched queries towards no-object."""
        logits = torch.stack([layer.logits for layer in predictions]).float()  # [L, B, Q, C + 1]
        no_object = logits.shape[-1] - 1
        labels = torch.full(logits.shape[:-1], no_object, device=logits.device)
        for clip, query in enumerate(queries):
            wanted = targets.labels[targets.clip_index == clip].expand(len(query), -1)
            labels[:, clip].scatter_(1, query, wanted)
        weight = torch.ones(no_object + 1, device=logits.device)
        weight[no_object] = self.config.no_object_weight
        entropy = F.cross_entropy(logits.flatten(0, 2), labels.flatten(), weight, reduction="none")
        size = weight[labels[0]].sum()  # the same in every layer
        return Term(entropy.view(len(logits), -1).sum(1) / size, self.config.class_weight, size)

    def _mask_terms(self, mask_logits: Tensor, masks: Tensor, share: float) -> dict[str, Term]:
        """Cross entropy and Dice against `masks`, with `share` of their weights."""
        entropy, dice = mask_losses(mask_logits, masks)
        instances = mask_logits.new_tensor(float(len(masks)))
        return {
            "mask": Term(entropy, share * self.config.mask_weight, instances),
            "dice": Term(dice, share * self.config.dice_weight, instances),
        }

    @torch.no_grad()
    def _matching(self, frames: Tensor) -> Matching:
        """What the losses from boxes need of the images: once per batch, for all instances and layers."""
        config = self.config
        lab = self.tk_loss.lab(frames)  # [B, T, 3, h, w]
        affinity = colour_affinity(
            lab, dilation=config.pairwise_dilation, threshold=config.pairwise_threshold, border=config.border
        )
        temporal = config.supervision == "boxes" and frames.shape[1] > 1
        return Matching(affinity, self.tk_loss.match_lab(lab) if temporal else None)

    def _box_terms(
        self, mask_logits: Tensor, targets: Targets, matching: Matching, share: float
    ) -> dict[str, Term]:
        """The losses from boxes, with `share` of their weights."""
        config, boxes, clips = self.config, targets.box_masks, targets.clip_index
        instances = mask_logits.new_tensor(float(len(boxes)))
        neighbours = sum((matching.affinity >> k) & 1 for k in range(8))  # [B, T, h, w]
        pairwise = pairwise_loss(
            mask_logits, matching.affinity, boxes, dilation=config.pairwise_dilation, clip_index=clips
        )
        terms = {
            "projection": Term(projection_loss(mask_logits, boxes), config.projection_weight, instances),
            "outside": Term(outside_loss(mask_logits, boxes), config.outside_weight, instances),
            "pairwise": Term(pairwise, config.pairwise_weight, (neighbours[clips] * boxes).sum()),
        }
        if config.fill_weight > 0:
            present = boxes.any(-1).any(-1).sum().float()
            fill = fill_loss(mask_logits, boxes, config.fill_floor)
            terms["fill"] = Term(fill, config.fill_weight, present)
        if matching.matches is not None:
            region = union_region(boxes)  # [N, h, w]
            tk = self.tk_loss(mask_logits, matching.matches, region, clips)
            # each pair of frames has its own mean: their sum weighs alike in all processes but nearly
            matches = (matching.matches.count()[clips] * region[:, None]).sum().float()
            by_pixels = self.tk_loss.options["normaliser"] == "pixels"
            terms["tk"] = Term(tk, config.tk_weight, instances if by_pixels else matches)
        return {name: term._replace(weight=share * term.weight) for name, term in terms.items()}
