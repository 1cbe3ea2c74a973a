"""Triton kernels of the MaskFree losses and of deformable attention: one op a file."""

import triton

from maskfree_kernels.ms_deform_attn import ms_deform_attn
from maskfree_kernels.pairwise import colour_affinity, pairwise_loss
from maskfree_kernels.projection import projection_loss

__all__ = ["INTERPRETED", "colour_affinity", "ms_deform_attn", "pairwise_loss", "projection_loss"]

INTERPRETED = bool(triton.knobs.runtime.interpret)
