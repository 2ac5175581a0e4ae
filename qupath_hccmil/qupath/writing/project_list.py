"""Updates our metadata in the project's list (``project.qpproj``).

The list belongs to QuPath, which may save it at any time, for example after adding an image. So our
metadata are inserted into the list as it is at that moment, and a newer list is never overwritten
with an older one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qupath_hccmil.errors import ConflictError, ProjectError
from qupath_hccmil.held_files import when_free
from qupath_hccmil.qupath.names import is_our_metadata
from qupath_hccmil.qupath.qpproj import GoneError, read_project, with_our_metadata
from qupath_hccmil.qupath.writing.durable_files import (
    flush,
    move_at_once,
    same_rights,
    stamp,
    stamp_bytes,
)

TRIES = 5
PAUSE = 0.1
"""Seconds to wait, because QuPath removes the list for a moment while it saves."""

Metadata = Mapping[str, Mapping[str, str]]
"""For each entry ID, our metadata."""


@dataclass(frozen=True)
class ListChange:
    """The change of the project's list by a transaction.

    Attributes
    ----------
    path : Path
        The ``.qpproj``.
    metadata : mapping of str to mapping of str to str
        For each entry ID, our metadata; all other keys stay.
    content : bytes or None
        The whole file with these metadata, if known; None inserts them into the present list.
    made_from : str
        Stamp of the list that `content` may replace; the metadata are inserted into any other list.
    """

    path: Path
    metadata: Metadata
    content: bytes | None = None
    made_from: str = ""


def our_metadata(path: Path) -> dict[str, dict[str, str]]:
    """Read our metadata of every entry in a list."""
    return {
        entry.id: {key: value for key, value in entry.metadata.items() if is_our_metadata(key)}
        for entry in read_project(path).images
        if not entry.problem
    }


def settle(
    path: Path, metadata: Metadata, beside: Path, made_from: frozenset[str], stamp_beside: str
) -> str:
    """Insert our metadata into the present list; entries that were removed stay removed.

    Parameters
    ----------
    path : Path
        The list.
    metadata : mapping
        Our metadata, by entry ID.
    beside : Path
        The new list, ready to be renamed, if it exists.
    made_from : frozenset of str
        Stamps of lists that `beside` may replace.
    stamp_beside : str
        Stamp of `beside`.

    Returns
    -------
    str
        Stamp of the present list.

    Raises
    ------
    ConflictError
        Another program keeps changing the list.
    OSError
        The disk refuses.
    """
    for _ in range(TRIES):
        now = stamp(path)
        if now and now == stamp_beside:
            return now
        if now in made_from and stamp(beside) == stamp_beside:
            new = stamp_beside
        elif not (now and (new := _write_beside(path, now, metadata, beside))):
            time.sleep(PAUSE)
            continue
        if new == now:
            return now
        if when_free(partial(_moved, beside, path, now)):
            return new
    raise ConflictError(f"{path}: is being changed by another program; close QuPath and run again")


def _moved(beside: Path, path: Path, now: str) -> bool:
    """Replace the list, if it is still the one with the stamp `now`."""
    if stamp(path) != now:
        return False
    move_at_once(beside, path)
    return True


def _write_beside(path: Path, now: str, metadata: Metadata, beside: Path) -> str:
    """Write the present list with our metadata; returns its stamp, or "" if the list changed."""
    content = path.read_bytes()
    if stamp_bytes(content) != now:
        return ""
    try:
        changed = with_our_metadata(content, metadata)
    except GoneError as error:
        # these images were removed from the project since
        kept = {entry: ours for entry, ours in metadata.items() if entry not in error.entries}
        changed = with_our_metadata(content, kept)
    if changed != content:
        write_list(beside, changed, path)
    return stamp_bytes(changed)


def write_list(beside: Path, content: bytes, like: Path) -> None:
    """Write a list to a file of ours, flush it and read it again.

    Raises
    ------
    ProjectError
        The result is not a valid project.
    """
    with beside.open("wb") as file:
        file.write(content)
        flush(file)
    same_rights(like, beside)
    if stamp(beside) != stamp_bytes(content):
        raise ProjectError(
            f"{like}: could not be read back as it was written; the old file is unchanged"
        )
    read_project(beside)
