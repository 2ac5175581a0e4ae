"""Completes a write that a killed run left unfinished, or undoes it if the user saved since.

If the journal of a transaction says *ready*, all new files are on the disk, though not all are in
place, and the transaction is completed. A file that somebody saved in the meantime is never
overwritten. The new file next to the old one shows the state: while it exists, the old file has not
been replaced, and if that is no longer the file that was read, the image stays as the user saved
it, with its old metadata. If it no longer exists, any other file in its place was saved after us.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qupath_hccmil.errors import WriteError
from qupath_hccmil.held_files import when_free
from qupath_hccmil.qupath.writing.backups import (
    MANIFEST,
    NEXT_MANIFEST,
    sweep,
    with_files,
)
from qupath_hccmil.qupath.writing.durable_files import (
    move,
    move_at_once,
    path_inside,
    read_json,
    stamp,
    sync_folder,
    there,
    write_json,
)
from qupath_hccmil.qupath.writing.journal import Journal, Phase, Step, unfinished
from qupath_hccmil.qupath.writing.project_list import settle
from qupath_hccmil.qupath.writing.project_lock import ProjectLock
from qupath_hccmil.qupath.writing.rollback import discard, put_back

_log = logging.getLogger(__name__)


def recover(folder: Path) -> list[str]:
    """Complete or undo what killed runs left unfinished; the caller holds the project's lock.

    Returns
    -------
    list of str
        One line for each of these runs that had begun to change the project.

    Raises
    ------
    WriteError
        The disk refuses.
    """
    done = []
    try:
        for phase, journal in list(unfinished(folder)):
            if line := _end(folder, phase, journal):
                done.append(line)
        sweep(folder)
    except OSError as error:
        raise WriteError(
            f"{folder}: an interrupted run cannot be completed "
            f"({error.strerror or error}); make the folder writable and try again"
        ) from error
    for line in done:
        _log.warning("%s", line)
    return done


def recover_before_reading(folder: Path) -> None:
    """Complete or undo what killed runs left unfinished, for a command that only reads.

    If another run is active or the folder cannot be written, the project is read as it is, which is
    never wrong but may lack the metadata of the image that was being written.
    """
    if not any(phase is not Phase.PREPARING for phase, _ in unfinished(folder)):
        return
    lock = ProjectLock(folder)
    try:
        lock.acquire()
        recover(folder)
    except WriteError as error:
        _log.warning("a run that writes this project was interrupted or is still active: %s", error)
    finally:
        lock.release()


def _end(folder: Path, phase: Phase, journal: Journal) -> str:
    home = journal.home
    manifest: Mapping[str, Any] = _manifest(home)
    line = ""
    if phase is Phase.READY:
        manifest, line = _carry_on(folder, journal, manifest)
    elif phase is Phase.UNDOING:
        put_back(folder, journal)
        line = f"{folder}: run {home.name} failed while it wrote {_names(journal.steps)}; "
        line += "the project is as it was before"
    discard(folder, journal, manifest)
    return line


def _carry_on(
    folder: Path, journal: Journal, manifest: Mapping[str, Any]
) -> tuple[Mapping[str, Any], str]:
    """Put the new files in place, image by image; returns the manifest and a line to print."""
    by_image: dict[str, list[Step]] = {}
    for step in journal.steps:
        by_image.setdefault(step.image, []).append(step)
    stopped = {image for image, steps in by_image.items() if not _may_go_on(folder, steps[0])}
    replaced = {}
    for image, steps in by_image.items():
        for step in steps:
            if image not in stopped and _put_in_place(folder, step):
                replaced[step.path] = (step.before, step.after)
    shared: set[str] = set()
    if journal.listed is not None:
        listed = journal.listed
        ended = _settle_list(folder, journal, stopped)
        replaced[listed.path] = (listed.before, ended)
        shared = {listed.path} if ended != listed.after else set()
    if read_json(journal.home / NEXT_MANIFEST) is not None:
        manifest = with_files(manifest, replaced, shared)
        write_json(journal.home / NEXT_MANIFEST, manifest)
        move(journal.home / NEXT_MANIFEST, journal.home / MANIFEST)
    line = f"{folder}: run {journal.home.name} was interrupted while it wrote; "
    done = [step for step in journal.steps if step.image not in stopped]
    if done or not stopped:
        line += f"this was completed: {_names(done) or 'project list'}"
    if stopped:
        line += "; " if done else ""
        line += f"{', '.join(sorted(stopped))} was saved by another program since and is left as is"
    return manifest, line


def _may_go_on(folder: Path, step: Step) -> bool:
    """Whether an image's first file has been replaced, or is still the one to replace."""
    target = path_inside(folder, step.path)
    now = stamp(target)
    if step.deletes:
        return now in (step.before, "")
    beside = path_inside(folder, target.with_name(step.beside))
    if not there(beside):
        return True
    return now in (step.before, step.after) and stamp(beside) == step.after


def _put_in_place(folder: Path, step: Step) -> bool:
    """Replace a file if necessary; False if a file of another program is kept instead."""
    return when_free(lambda: _put_in_place_at_once(folder, step))


def _put_in_place_at_once(folder: Path, step: Step) -> bool:
    target = path_inside(folder, step.path)
    beside = path_inside(folder, target.with_name(step.beside))
    if not step.deletes and not there(beside):
        return True
    now = stamp(target)
    if now == step.after:
        return True
    if now != step.before:
        return False
    if not step.deletes:
        move_at_once(beside, target)
    else:
        target.unlink()
        sync_folder(target.parent)
    return True


def _settle_list(folder: Path, journal: Journal, stopped: set[str]) -> str:
    listed = journal.listed
    assert listed is not None
    path = path_inside(folder, listed.path)
    beside = path_inside(folder, path.with_name(listed.after_beside))
    metadata = {
        entry: listed.old_metadata.get(entry, {}) if f"data/{entry}" in stopped else ours
        for entry, ours in listed.new_metadata.items()
    }
    planned = metadata == listed.new_metadata
    known = frozenset({listed.before, listed.interim} - {""}) if planned else frozenset()
    return settle(path, metadata, beside, known, listed.after if planned else "-")


def _manifest(home: Path) -> dict[str, Any]:
    """Return a run's manifest, as it would be after the unfinished transaction."""
    found = read_json(home / MANIFEST)
    if isinstance(found, dict):
        return found
    planned = read_json(home / NEXT_MANIFEST)
    known = planned if isinstance(planned, dict) else {}
    # a damaged manifest allows no file to be deleted
    kept = [path for path in home.rglob("*") if path.is_file()] if there(home / MANIFEST) else []
    nothing = {"before": "", "after": "", "shared": True}
    files = {path.relative_to(home).as_posix(): nothing for path in kept}
    return {"run": home.name, "kind": "write", "time": "", "undoes": [], **known, "files": files}


def _names(steps: list[Step]) -> str:
    return ", ".join(dict.fromkeys(step.image for step in steps))
