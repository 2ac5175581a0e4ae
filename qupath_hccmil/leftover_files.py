"""What killed processes left in a folder, and when it is certainly nobody's.

Other processes on other computers may be at work in the folder, so a file without its name is only
deleted if none has written to it for a day.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from qupath_hccmil.atomic_files import is_temporary
from qupath_hccmil.held_files import remove, remove_folder
from qupath_hccmil.plain_words import count_of

_log = logging.getLogger(__name__)

DAY_S = 24 * 3600.0
UNNAMED_S = DAY_S
"""A file is written in seconds, so one without a name is nobody's after this time."""


def unnamed(folder: Path, is_ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Find files of killed processes that never got their name.

    Parameters
    ----------
    folder : Path
    is_ours : callable
        Whether such a file was to become one of this folder's.

    Yields
    ------
    Path
    """
    now = time.time()
    for name in _names_in(folder):
        path = folder / name
        if is_temporary(name) and is_ours(path) and now - last_change(path) > UNNAMED_S:
            yield path


def delete(paths: Iterable[Path], folder: Path) -> int:
    """Delete what is nobody's; what the system refuses to delete stays.

    Parameters
    ----------
    paths : iterable of Path
        Files and folders.
    folder : Path
        Where they are, for the log.

    Returns
    -------
    int
        How many were deleted.
    """
    deleted = 0
    for path in paths:
        try:
            if path.is_dir():
                remove_folder(path)
            else:
                remove(path)
            deleted += 1
        except OSError as error:
            # another process deletes the same, or may and we may not
            _log.debug("%s: cannot be deleted: %s", path, error)
    if deleted:
        _log.info("%s: %s of killed runs deleted", folder, count_of(deleted, "leftover"))
    return deleted


def inside(folder: Path) -> list[Path]:
    """What is in a folder; nothing if it cannot be listed."""
    return [folder / name for name in _names_in(folder)]


def last_change(path: Path) -> float:
    """Time of the last change of a file, or of any file in a folder; now if it is gone."""
    try:
        return max(each.stat().st_mtime for each in (path, *inside(path)))
    except OSError:
        return time.time()


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
