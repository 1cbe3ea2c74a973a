"""Triton kernels of the MaskFree losses and of deformable attention: one op a file."""

from maskfree_kernels.colour_affinity import colour_affinity
from maskfree_kernels.knn_match import knn_match
from maskfree_kernels.ms_deform_attn import ms_deform_attn
from maskfree_kernels.pairwise import pairwise_loss
from maskfree_kernels.projection import projection_loss
from maskfree_kernels.rgb_to_lab import rgb_to_lab
from maskfree_kernels.tables import INTERPRETED
from maskfree_kernels.tube_consistency import tube_consistency

__all__ = [
    "INTERPRETED",
    "colour_affinity",
    "knn_match",
    "ms_deform_attn",
    "pairwise_loss",
    "projection_loss",
    "rgb_to_lab",
    "tube_consistency",
]
