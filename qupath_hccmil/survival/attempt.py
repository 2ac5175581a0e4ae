"""Runs one part of an analysis or report, which may fail without affecting the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from qupath_hccmil.errors import DataError

Found = TypeVar("Found")


def attempt(problems: list[tuple[str, str]], part: str, task: Callable[[], Found]) -> Found | None:
    """Run one part, or record why it cannot be done.

    Parameters
    ----------
    problems : list of (part, reason)
        A problem is added if the part fails.
    part : str
        Name of the part in the report.
    task : callable
    """
    try:
        return task()
    except DataError as error:
        problems.append((part, str(error)))
    except Exception as error:
        line = (str(error).splitlines() or [""])[0]
        problems.append((part, f"failed with {type(error).__name__}: {line}; please report it"))
    return None
