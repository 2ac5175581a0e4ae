"""Export of scores: tables by level, and GeoJSON for QuPath."""
