"""Losses from boxes alone, of single frames: projection and pairwise (BoxInst), and fill."""

from maskfree_nb.boxloss.box_masks import box_masks, union_region
from maskfree_nb.boxloss.fill import fill_loss
from maskfree_nb.boxloss.pairwise import colour_affinity, neighbour_offsets, pairwise_loss
from maskfree_nb.boxloss.projection import projection_loss

__all__ = [
    "box_masks",
    "colour_affinity",
    "fill_loss",
    "neighbour_offsets",
    "pairwise_loss",
    "projection_loss",
    "union_region",
]
