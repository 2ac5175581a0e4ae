"""One part of an analysis or of its report, which may fail without costing the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from qupath_hccmil.errors import DataError

Found = TypeVar("Found")


def attempt(problems: list[tuple[str, str]], part: str, task: Callable[[], Found]) -> Found | None:
    """Do one part, or note why it cannot be done.

    Parameters
    ----------
    problems : list of (part, reason)
        Gets one more where the part fails.
    part : str
        What the report calls it.
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
