"""Composites: real objects, cut out with their true masks, that move over other real clips."""

from maskfree_nb.data.composites.dataset import CompositesSummary, make_composites

__all__ = ["CompositesSummary", "make_composites"]
