"""MaskFreeVIS: video instance segmentation trained from bounding boxes alone."""

__version__ = "0.1.0"
