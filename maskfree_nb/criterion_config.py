"""What supervises the masks, and how strongly: the options of the training loss."""

from dataclasses import dataclass, field

from maskfree_nb.errors import InputError

SUPERVISION = ("boxes", "boxinst", "masks")
MATCHING = ("boxes", "filled")


@dataclass(frozen=True)
class CriterionConfig:
    """What supervises the masks, and how strongly.

    Attributes:
        supervision: `boxes` (MaskFreeVIS: projection + pairwise + TK), `boxinst` (projection + pairwise: the
            baseline) or `masks` (the oracle: cross entropy + Dice on true masks).
        class_weight, no_object_weight: of the cross entropy over classes, and of its no-object class.
        projection_weight, pairwise_weight, tk_weight, outside_weight, fill_weight: of the losses from boxes.
        refine_weight: of cross entropy + Dice of all layers against the `refined_masks` of the last one, in
            the modes without masks, once the box warm-up is over.
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
    refine_weight: float = 0.0
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
        if not 0 < self.fill_floor <= 1:
            raise InputError(f"fill_floor is {self.fill_floor!r}, expected a share above 0 and at most 1")
        if self.pairwise_dilation < 1:
            raise InputError(f"pairwise_dilation is {self.pairwise_dilation!r}, expected at least 1")
        if not 0 < self.pairwise_threshold <= 1:
            raise InputError(
                f"pairwise_threshold is {self.pairwise_threshold!r}, expected above 0, at most 1"
            )
