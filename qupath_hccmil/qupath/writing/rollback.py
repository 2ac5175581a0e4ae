"""Undoes a transaction: restores the old files and removes everything else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from qupath_hccmil.held_files import remove, remove_folder, when_free
from qupath_hccmil.qupath.writing.backups import NEXT_MANIFEST
from qupath_hccmil.qupath.writing.durable_files import (
    copy_file,
    move_at_once,
    path_inside,
    stamp,
    sync_folder,
)
from qupath_hccmil.qupath.writing.journal import UNDO, Journal, ListStep, Step
from qupath_hccmil.qupath.writing.project_list import settle


def put_back(folder: Path, journal: Journal) -> None:
    """Restore the files of a transaction to their state before it.

    A file that is neither ours nor the old one was saved by another program since; its content is
    newer than both and stays.

    Raises
    ------
    ConflictError
        Another program keeps changing the project's list.
    OSError
        The disk refuses.
    """
    for step in reversed(journal.steps):
        when_free(partial(_put_file_back, folder, journal.home, step))
    if journal.listed is not None:
        _put_list_back(folder, journal.home, journal.listed)


def discard(folder: Path, journal: Journal, manifest: Mapping[str, Any]) -> None:
    """Remove a transaction except for the backups in its manifest, with the journal last.

    Raises
    ------
    OSError
        The disk refused.
    """
    for path in _temporary(folder, journal):
        remove(path, missing_ok=True)
    home = journal.home
    if not manifest["files"]:
        for name in reversed(journal.created):
            # only empty ones are removed
            with contextlib.suppress(OSError):
                path_inside(folder, name).rmdir()
        with contextlib.suppress(OSError):
            remove_folder(home)
        # the last backup may have been the only one
        with contextlib.suppress(OSError):
            home.parent.rmdir()
        return
    kept = [step.old for step in journal.steps]
    kept += [journal.listed.old] if journal.listed is not None else []
    for name in kept:
        if name and name not in manifest["files"]:
            remove(path_inside(home, name), missing_ok=True)
            _remove_empty(path_inside(home, name).parent, home)
    with contextlib.suppress(OSError):
        remove_folder(home / UNDO)
    remove(home / NEXT_MANIFEST, missing_ok=True)
    for name in reversed(journal.created):
        with contextlib.suppress(OSError):
            path_inside(folder, name).rmdir()
    journal.forget()


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder and its parents below `top`, as far as they are empty."""
    with contextlib.suppress(OSError):
        while folder != top.resolve():
            folder.rmdir()
            folder = folder.parent


def _temporary(folder: Path, journal: Journal) -> Iterable[Path]:
    """Temporary files next to those of the project."""
    for step in journal.steps:
        yield path_inside(folder, (folder / step.path).with_name(step.beside))
    if journal.listed is not None:
        path = folder / journal.listed.path
        for name in (journal.listed.interim_beside, journal.listed.after_beside):
            yield path_inside(folder, path.with_name(name))


def _put_file_back(folder: Path, home: Path, step: Step) -> None:
    target = path_inside(folder, step.path)
    if step.before == step.after or target.is_dir() or stamp(target) != step.after:
        return
    if not step.before:
        target.unlink()
        sync_folder(target.parent)
        return
    beside = path_inside(folder, target.with_name(step.beside))
    copy_file(path_inside(home, step.old), beside)
    move_at_once(beside, target)


def _put_list_back(folder: Path, home: Path, listed: ListStep) -> None:
    path = path_inside(folder, listed.path)
    beside = path_inside(folder, path.with_name(listed.after_beside))
    if stamp(path) == listed.before:
        return
    copy_file(path_inside(home, listed.old), beside)
    ours = frozenset({listed.interim, listed.after} - {""})
    settle(path, listed.old_metadata, beside, ours, listed.before)
