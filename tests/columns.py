"""Columns of tables as they are read: text, or nothing."""

import pandas as pd


def column(*values: object) -> pd.Series:
    """A column named ``x``."""
    return pd.Series(values, name="x", dtype=object)
