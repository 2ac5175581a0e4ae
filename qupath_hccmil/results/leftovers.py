"""What killed processes left in a folder of results, and when it is certainly nobody's.

A process that is killed leaves a file that has no name yet, or pieces of a large slide. Other
processes on other computers may be at work in the folder, so a file is only deleted if nobody can
need it: pieces of a slide whose result is there; what no process has written to for a time in which
none would write nothing.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from qupath_hccmil.atomic_files import is_temporary, meant_stem
from qupath_hccmil.held_files import remove, remove_folder
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.results.dependencies import SUFFIX, stem_in_name
from qupath_hccmil.results.results_folder import PIECES

_log = logging.getLogger(__name__)

_DAY_S = 24 * 3600.0
UNNAMED_S = _DAY_S
"""A result is written in seconds, so a file without a name is nobody's after this time."""
PIECES_S = 30 * _DAY_S
"""Pieces may be the work of hours, which a later run uses; outlines that were edited make them
useless."""


def sweep(folder: Path) -> int:
    """Delete what was left in a folder of results and is nobody's.

    Parameters
    ----------
    folder : Path
        That of ``score --results``.

    Returns
    -------
    int
        Files, and folders of pieces, that were deleted.
    """
    deleted = 0
    for path in _nobodys(folder):
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


def _nobodys(folder: Path) -> Iterator[Path]:
    now = time.time()
    for name in _names_in(folder):
        if _is_ours(name) and now - _last_change(folder / name) > UNNAMED_S:
            yield folder / name
    for path in _inside(folder / PIECES):
        done = (folder / f"{path.name}{SUFFIX}").exists()
        if path.is_dir() and (done or now - _last_change(path) > PIECES_S):
            yield path


def _is_ours(name: str) -> bool:
    """Whether a file is an unnamed result of a slide, or record of a run."""
    if not is_temporary(name):
        return False
    stem = meant_stem(Path(name))
    return stem_in_name(f"{stem}{SUFFIX}") is not None or stem.startswith("run")


def _inside(folder: Path) -> list[Path]:
    return [folder / name for name in _names_in(folder)]


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _last_change(path: Path) -> float:
    """Time of the last change of a file, or of any file in a folder; now if it is gone."""
    try:
        return max(each.stat().st_mtime for each in (path, *_inside(path)))
    except OSError:
        return time.time()
