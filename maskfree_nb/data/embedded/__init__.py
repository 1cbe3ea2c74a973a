"""The default data set: made in seconds, from a seed, out of photographs in the wheel of scikit-image."""

from maskfree_nb.data.embedded.dataset import EmbeddedSummary, make_embedded

__all__ = ["EmbeddedSummary", "make_embedded"]
