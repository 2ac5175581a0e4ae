"""Patients and slides that a training could not use, with the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from qupath_hccmil.tables.table_writer import write_rows


@dataclass(frozen=True)
class LeftOut:
    """A patient or a slide that is not used.

    Attributes
    ----------
    what : {"patient", "slide"}
    name : str
    reason : str
        The reason, always in the same words for the same cause, so that reasons can be counted.
    detail : str
        Details in one line; may be empty.
    """

    what: Literal["patient", "slide"]
    name: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        found = self.detail.removeprefix(f"{self.name}: ")
        return f"{self.what} {self.name}: {self.reason}" + (f" ({found})" if found else "")


def counted(left_out: Iterable[LeftOut]) -> list[str]:
    """Count by reason, one line each: ``3 slides: no tumour outline``."""
    counts = Counter((one.what, one.reason) for one in left_out)
    return [
        f"{number} {what}{'s' if number > 1 else ''}: {reason}"
        for (what, reason), number in sorted(counts.items())
    ]


def write_left_out(path: Path, left_out: Iterable[LeftOut]) -> None:
    """Write everything that is not used as CSV, one row each."""
    write_rows(path, [field.name for field in fields(LeftOut)], map(astuple, left_out))
