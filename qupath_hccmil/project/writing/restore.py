"""Bringing a project back to what it was before one of our runs, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qupath_hccmil.errors import ConflictError, ProjectError
from qupath_hccmil.project.writing.files import copy_file, inside, stamp
from qupath_hccmil.project.writing.safety import BACKUPS, Replacement, WriteRun, runs


@dataclass(frozen=True)
class Backup:
    """What one run replaced.

    Attributes
    ----------
    run : str
        The run's id, to name it by.
    time : str
        ISO 8601, UTC.
    kind : {"write", "restore"}
    files : tuple of str
        Paths in the project's folder.
    undone : bool
        Whether a later restore took the run back.
    """

    run: str
    time: str
    kind: str
    files: tuple[str, ...]
    undone: bool


def backups(folder: Path) -> list[Backup]:
    """Backups in a project's folder, oldest first."""
    kept = runs(folder)
    undone = {run for manifest in kept for run in manifest["undoes"]}
    return [
        Backup(
            run=manifest["run"],
            time=manifest["time"],
            kind=manifest["kind"],
            files=tuple(manifest["files"]),
            undone=manifest["run"] in undone,
        )
        for manifest in kept
    ]


def restore(folder: Path, run_id: str | None = None, *, force: bool = False) -> list[Path]:
    """Bring a project back to its state before a run.

    Later runs are taken back with it. What the restore replaces is itself kept as a backup.

    Parameters
    ----------
    folder : Path
        The project's folder.
    run_id : str, optional
        The run; by default the newest that was not taken back yet.
    force : bool
        Also where a file has changed since our runs wrote it.

    Returns
    -------
    list of Path
        The files that were brought back or removed.

    Raises
    ------
    ProjectError
        There is no such backup, or it is damaged.
    ConflictError
        A file was changed since by another program, and not `force`; nothing was changed.
    WriteError
        The disk refused; nothing was changed.
    """
    undone = _runs_back_to(folder, run_id)
    with WriteRun(folder, kind="restore", undoes=[each["run"] for each in undone]) as writer:
        # what a killed run left half done is put back before anything is compared
        writer.begin()
        files = [
            replacement
            for path in dict.fromkeys(path for each in undone for path in each["files"])
            if (replacement := _replacement(writer.folder, path, undone, force=force))
        ]
        writer.replace(files)
    return [file.path for file in files]


def _runs_back_to(folder: Path, run_id: str | None) -> list[dict[str, Any]]:
    """Manifests from the wanted run to the newest, oldest first."""
    kept = runs(folder)
    if run_id is None:
        run_id = next((b.run for b in reversed(backups(folder)) if not _over(b)), None)
    ids = [manifest["run"] for manifest in kept]
    if run_id not in ids:
        known = ", ".join(ids) or "none"
        raise ProjectError(
            f"{folder / BACKUPS}: there is no backup "
            + (f"{run_id!r}" if run_id else "to bring back")
            + f" (kept: {known})"
        )
    return kept[ids.index(run_id) :]


def _over(backup: Backup) -> bool:
    return backup.kind == "restore" or backup.undone


def _replacement(
    folder: Path, path: str, undone: list[dict[str, Any]], *, force: bool
) -> Replacement | None:
    """How one file goes back; None where it is already as it was."""
    target = inside(folder, path)
    history = [(each["run"], each["files"][path]) for each in undone if path in each["files"]]
    first_run, first = history[0]
    now = stamp(target)
    befores = [file["before"] for _, file in history[1:]] + [now]
    afters = [file["after"] for _, file in history]
    if afters != befores and not force:
        raise ConflictError(
            f"{target}: was changed by another program since it was scored; nothing was brought "
            "back: force it to lose that change (a backup is kept)"
        )
    if now == first["before"]:
        return None
    if not first["before"]:
        return Replacement(target, None, now)
    source = inside(folder / BACKUPS / first_run, path)

    def write(beside: Path) -> None:
        if copy_file(source, beside) != first["before"]:
            raise ProjectError(f"{source}: the backup is damaged; nothing was brought back")

    return Replacement(target, write, now)
