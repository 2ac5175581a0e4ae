"""Pixels: slide readers, pixel size, tissue, outlines. Knows nothing about QuPath."""
