"""Figures of the results; every function turns a table of the analysis into a figure."""
