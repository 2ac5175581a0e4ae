"""The statistics of survival: plain functions from arrays to numbers."""
