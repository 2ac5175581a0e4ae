"""A table that we write, with its columns and its rows in batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qupath_hccmil.tables.export_columns import Column, TableName, columns_of

Batch = Mapping[str, Sequence[Any]]
"""For each column name its values, all of the same length; None for an absent value."""


@dataclass(frozen=True)
class Table:
    """A table that is read once, in batches.

    Attributes
    ----------
    level : str
        What a row is; one of :data:`~.export_columns.TableName`.
    batches : iterable of Batch
    """

    level: TableName
    batches: Iterable[Batch]

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns of the table, in order."""
        return columns_of(self.level)
