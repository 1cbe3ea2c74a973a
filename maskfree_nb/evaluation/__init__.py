"""Video average precision."""
