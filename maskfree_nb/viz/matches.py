"""Figures of correspondences: matches as lines, windows, patches, distance maps, cases."""

from maskfree_nb.viz.cases import CASES, candidate_distances, case_map, pixel_case

__all__ = ["CASES", "candidate_distances", "case_map", "pixel_case"]
