"""Slides done by many processes and machines, on Dask."""
