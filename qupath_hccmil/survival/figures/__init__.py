"""Figures of results: every function takes a table of the analysis and returns a figure."""
