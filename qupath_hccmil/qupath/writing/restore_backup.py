"""Restores a project to its state before one of our runs, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from qupath_hccmil.errors import ConflictError, ProjectError
from qupath_hccmil.qupath.qpproj import CLASSES, read_project
from qupath_hccmil.qupath.writing.backups import BACKUPS, runs
from qupath_hccmil.qupath.writing.durable_files import (
    copy_file,
    in_plain_words,
    path_inside,
    stamp,
    stamp_bytes,
)
from qupath_hccmil.qupath.writing.project_list import our_metadata
from qupath_hccmil.qupath.writing.replace_files import ListChange, Replacement, WriteRun

LIST_SUFFIX = ".qpproj"
ADD = "add"
"""Kind of a run that adds images."""


@dataclass(frozen=True)
class Backup:
    """The files that one run replaced.

    Attributes
    ----------
    run : str
        ID of the run.
    time : str
        ISO 8601, UTC.
    kind : {"write", "restore"}
    files : tuple of str
        Paths in the project's folder.
    undone : bool
        Whether a later restore undid the run.
    """

    run: str
    time: str
    kind: str
    files: tuple[str, ...]
    undone: bool


def backups(folder: Path) -> list[Backup]:
    """List the backups in a project's folder, oldest first.

    Added images are not included: a user removes an image from a project in QuPath, and we must not
    undo the work that was done in it since.
    """
    with in_plain_words(folder):
        kept = _to_take_back(folder)
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


def restore(
    folder: Path, run_id: str | None = None, *, force: bool = False, wait: float = 0.0
) -> list[Path]:
    """Restore a project to its state before a run.

    Later runs are undone with it. Files that the restore replaces are themselves kept as a backup.
    If QuPath saved the project's list since, only our metadata in it are restored: images that were
    added since stay, and so does a class list that was changed since.

    Parameters
    ----------
    folder : Path
        The project's folder.
    run_id : str, optional
        The run; by default the newest that has not been undone.
    force : bool
        Also restore images that have changed since our runs wrote them.
    wait : float
        Seconds to wait for another run that is active.

    Returns
    -------
    list of Path
        The files that were restored or removed.

    Raises
    ------
    ProjectError
        There is no such backup, or it is damaged.
    ConflictError
        Another program changed images since, and `force` is not set; nothing was changed.
    WriteError
        The disk refused; nothing was changed.
    """
    with in_plain_words(folder), WriteRun(folder, kind="restore") as writer:
        # An interrupted write is completed before anything is compared.
        if (folder / BACKUPS).is_dir():
            writer.begin(wait)
        undone = _runs_back_to(folder, run_id)
        writer.takes_back([each["run"] for each in undone])
        histories = {
            path: _History(writer.folder, path, undone)
            for path in dict.fromkeys(path for each in undone for path in each["files"])
        }
        classes = histories.pop(CLASSES.as_posix(), None)
        lists = [each for path, each in histories.items() if path.endswith(LIST_SUFFIX)]
        others = [each for path, each in histories.items() if not path.endswith(LIST_SUFFIX)]
        if not force:
            _refuse_changed(writer.folder, others)
        if classes is not None and classes.is_ours():
            # A class list that was changed since belongs to the user; our two classes in it do no
            # harm.
            others.append(classes)
        files = [replacement for each in others if (replacement := each.replacement())]
        changes = [change for each in lists if (change := each.list_change())]
        # A project has one list; a second .qpproj in the folder belongs to another project.
        writer.replace(files, changes[0] if changes else None)
    return [file.path for file in files] + [change.path for change in changes[:1]]


@dataclass(frozen=True)
class _History:
    """The changes that the undone runs made to one file, oldest first."""

    folder: Path
    path: str
    undone: Sequence[dict[str, Any]]

    @property
    def target(self) -> Path:
        return path_inside(self.folder, self.path)

    @cached_property
    def now(self) -> str:
        """Stamp of the file, computed once; any later change is a conflict."""
        return stamp(self.target)

    @property
    def _mine(self) -> list[tuple[str, dict[str, Any]]]:
        return [
            (each["run"], each["files"][self.path])
            for each in self.undone
            if self.path in each["files"]
        ]

    def source(self, run: str) -> Path:
        """Path of the file's copy in the backup of a run."""
        return path_inside(self.folder / BACKUPS / run, self.path)

    def is_ours(self) -> bool:
        """Whether only our runs have changed the file, from the first of them until now."""
        mine = [file for _, file in self._mine]
        befores = [file["before"] for file in mine[1:]] + [self.now]
        afters = [file["after"] for file in mine]
        return afters == befores and not any(file["shared"] for file in mine)

    def replacement(self) -> Replacement | None:
        """How to restore the file; None if it is already in the old state."""
        run, first = self._mine[0]
        if self.now == first["before"]:
            return None
        if not first["before"]:
            return Replacement(self.target, None, self.now)
        source = self.source(run)

        def write(beside: Path) -> None:
            if copy_file(source, beside) != first["before"]:
                raise _damaged(source)

        return Replacement(self.target, write, self.now)

    def list_change(self) -> ListChange | None:
        """How to restore the project's list: as a whole, or only our metadata in it."""
        run, first = self._mine[0]
        if self.now == first["before"]:
            return None
        content = self._backed_up(run, first["before"])
        metadata = our_metadata(self.target)
        if self.is_ours():
            then = our_metadata(self.source(run))
            back = {key: then.get(key, {}) for key in metadata}
            return ListChange(self.target, back, content, self.now)
        # an image that was added later has its first backup in a later run
        was: dict[str, dict[str, str]] = {}
        for later, file in reversed(self._mine):
            self._backed_up(later, file["before"])
            was |= our_metadata(self.source(later))
        back = {key: was[key] for key, ours in metadata.items() if was.get(key, ours) != ours}
        return ListChange(self.target, back) if back else None

    def _backed_up(self, run: str, before: str) -> bytes:
        source = self.source(run)
        try:
            content = source.read_bytes()
        except OSError:
            raise _damaged(source) from None
        if stamp_bytes(content) != before:
            raise _damaged(source)
        return content


def _refuse_changed(folder: Path, histories: Sequence[_History]) -> None:
    changed = [each.path for each in histories if not each.is_ours()]
    if not changed:
        return
    names = {
        entry.id: entry.name
        for path in sorted(folder.glob(f"*{LIST_SUFFIX}"))
        for entry in read_project(path).images
    }
    said = []
    for path in changed:
        parts = PurePosixPath(path).parts
        name = names.get(parts[1], "") if parts[0] == "data" and len(parts) > 2 else ""
        said.append(f"{name} ({path})" if name else path)
    raise ConflictError(
        f"{folder}: changed by another program since our run: {', '.join(said)}; nothing was "
        "restored: with --force that change is lost (a backup of it is kept)"
    )


def _runs_back_to(folder: Path, run_id: str | None) -> list[dict[str, Any]]:
    """Manifests from the wanted run to the newest, oldest first."""
    kept = _to_take_back(folder)
    if run_id is None:
        run_id = next((b.run for b in reversed(backups(folder)) if not _over(b)), None)
    ids = [manifest["run"] for manifest in kept]
    if run_id not in ids:
        known = ", ".join(ids) or "none"
        raise ProjectError(
            f"{folder / BACKUPS}: there is no backup "
            + (f"{run_id!r}" if run_id else "to restore")
            + f" (kept: {known})"
        )
    return kept[ids.index(run_id) :]


def _to_take_back(folder: Path) -> list[dict[str, Any]]:
    return [each for each in runs(folder) if each["kind"] != ADD]


def _over(backup: Backup) -> bool:
    return backup.kind == "restore" or backup.undone


def _damaged(source: Path) -> ProjectError:
    return ProjectError(f"{source}: the backup is damaged; nothing was restored")
