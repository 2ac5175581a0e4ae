"""Slides scored by many processes and machines, on Dask."""
