"""Losses from boxes alone, of single frames: projection and pairwise (BoxInst), fill, and refined masks."""

from maskfree_nb.boxloss.box_masks import box_masks, union_region
from maskfree_nb.boxloss.fill import fill_loss
from maskfree_nb.boxloss.pairwise import colour_affinity, neighbour_offsets, pairwise_loss
from maskfree_nb.boxloss.projection import projection_loss
from maskfree_nb.boxloss.refined import refined_masks

__all__ = [
    "box_masks",
    "colour_affinity",
    "fill_loss",
    "neighbour_offsets",
    "pairwise_loss",
    "projection_loss",
    "refined_masks",
    "union_region",
]
