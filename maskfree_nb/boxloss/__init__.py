"""Losses from boxes alone within one frame: projection and pairwise."""
