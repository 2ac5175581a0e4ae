"""Pixels: reader, resolution, tile grid, tissue filter. Knows no QuPath."""
