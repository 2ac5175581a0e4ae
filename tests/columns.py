"""Columns of tables as they are read: text, or nothing."""

import pandas as pd


def column(*values: object, name: str = "x") -> pd.Series:
    """A column of the given name."""
    return pd.Series(values, name=name, dtype=object)
