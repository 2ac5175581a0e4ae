"""Tiles of a slide: the grid over an outline, the plan, and reading ahead; for scoring and training."""
