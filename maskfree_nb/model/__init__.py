"""A compact Video Mask2Former."""
