"""The Temporal KNN-patch Loss: candidates, matching, consistency, tube; `TKLoss` over them."""

from maskfree_nb.tkloss.candidates import disk_offsets, grid_offsets
from maskfree_nb.tkloss.consistency import (
    TubeConsistency,
    pair_term,
    tube_consistency,
    tube_consistency_dense,
)
from maskfree_nb.tkloss.lab import rgb_to_lab
from maskfree_nb.tkloss.loss import TKLoss
from maskfree_nb.tkloss.matching import Matches, knn_match, match_patches
from maskfree_nb.tkloss.tube import frame_pairs

__all__ = [
    "Matches",
    "TKLoss",
    "TubeConsistency",
    "disk_offsets",
    "frame_pairs",
    "grid_offsets",
    "knn_match",
    "match_patches",
    "pair_term",
    "rgb_to_lab",
    "tube_consistency",
    "tube_consistency_dense",
]
