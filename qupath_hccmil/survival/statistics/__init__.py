"""Survival statistics, as plain functions from arrays to numbers."""
