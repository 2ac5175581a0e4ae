"""Our metadata in the project's list (``project.qpproj``), brought to what they shall be.

The list is QuPath's, and QuPath may save it at any time: an image added, a name changed. So ours
are spliced into the list as it is at that moment, and never is an older list put over a newer one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qupath_hccmil.errors import ConflictError, ProjectError
from qupath_hccmil.qupath.names import is_our_metadata
from qupath_hccmil.qupath.qpproj import GoneError, read_project, with_our_metadata
from qupath_hccmil.qupath.writing.durable_files import flush, move, same_rights, stamp, stamp_bytes

TRIES = 5
PAUSE = 0.1
"""Seconds; QuPath takes the list away for a moment while it saves."""

Metadata = Mapping[str, Mapping[str, str]]
"""Entry id to our metadata."""


@dataclass(frozen=True)
class ListChange:
    """What a transaction changes in the project's list.

    Attributes
    ----------
    path : Path
        The ``.qpproj``.
    metadata : mapping of str to mapping of str to str
        Entry id to our metadata; all other keys stay.
    content : bytes or None
        The whole file where it is known to be that with these metadata; None splices them.
    made_from : str
        Stamp of the list that `content` may replace; these metadata are spliced into any other.
    """

    path: Path
    metadata: Metadata
    content: bytes | None = None
    made_from: str = ""


def our_metadata(path: Path) -> dict[str, dict[str, str]]:
    """Our metadata of every entry of a list."""
    return {
        entry.id: {key: value for key, value in entry.metadata.items() if is_our_metadata(key)}
        for entry in read_project(path).images
        if not entry.problem
    }


def settle(
    path: Path, metadata: Metadata, beside: Path, made_from: frozenset[str], stamp_beside: str
) -> str:
    """Bring our metadata into the list as it is now; entries that are gone stay gone.

    Parameters
    ----------
    path : Path
        The list.
    metadata : mapping
        Ours, by entry id.
    beside : Path
        The new list, ready to be renamed, if it is there.
    made_from : frozenset of str
        Stamps of lists that `beside` may replace.
    stamp_beside : str
        Stamp of `beside`.

    Returns
    -------
    str
        Stamp of the list as it is now.

    Raises
    ------
    ConflictError
        It keeps changing under our hands.
    OSError
        The disk refused.
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
        if stamp(path) == now:
            move(beside, path)
            return new
    raise ConflictError(f"{path}: is being changed by another program; close QuPath and run again")


def _write_beside(path: Path, now: str, metadata: Metadata, beside: Path) -> str:
    """Write the present list with our metadata; its stamp, or "" where it changed meanwhile."""
    content = path.read_bytes()
    if stamp_bytes(content) != now:
        return ""
    try:
        changed = with_our_metadata(content, metadata)
    except GoneError as error:
        # images were taken out of the project since
        kept = {entry: ours for entry, ours in metadata.items() if entry not in error.entries}
        changed = with_our_metadata(content, kept)
    if changed != content:
        write_list(beside, changed, path)
    return stamp_bytes(changed)


def write_list(beside: Path, content: bytes, like: Path) -> None:
    """Write a list to a file of ours, flushed and read again.

    Raises
    ------
    ProjectError
        It is no project any more.
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
