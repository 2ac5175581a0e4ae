"""Scores leave the project: tables by level, and GeoJSON for QuPath."""
