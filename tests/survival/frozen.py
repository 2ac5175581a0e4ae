"""Reads the numbers that R gave (``reference/*.csv``, made by ``reference/reference.R``)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).with_name("reference")


@cache
def _table() -> pd.DataFrame:
    parts = [
        pd.read_csv(path, dtype={"key": str}, keep_default_na=False, na_values=["NA"])
        for path in sorted(FOLDER.glob("*.csv"))
    ]
    return pd.concat(parts, ignore_index=True)


def frozen(dataset: str, item: str) -> pd.DataFrame:
    """One row a key, in R's order, one column a quantity."""
    table = _table()
    part = table[(table["dataset"] == dataset) & (table["item"] == item)]
    assert len(part), f"R gave nothing for {dataset}, {item}"
    order = list(dict.fromkeys(part["key"]))
    return part.pivot(index="key", columns="quantity", values="value").loc[order]


def frozen_at(dataset: str, item: str) -> pd.DataFrame:
    """The same with numbers as keys, ascending."""
    table = frozen(dataset, item)
    return table.set_axis(table.index.astype(float), axis=0).sort_index()
