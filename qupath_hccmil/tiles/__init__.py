"""Tiles of a slide, for scoring and training: the grid over an outline, and reading ahead."""
