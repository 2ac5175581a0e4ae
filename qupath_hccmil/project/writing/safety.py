"""Changing a project's files: all or none, verified before, backed up, undone after a crash.

One :class:`WriteRun` a command. Each :meth:`WriteRun.replace` is one transaction over the files of
one image: they are written beside, flushed, verified, then renamed. A journal in the run's backup
folder says what is under way, so that whatever kills the process, the next run puts back what was.

The layout: ``<project>/hccmil-backups/<run id>/`` mirrors the paths of the files as they were
before the run, with a ``manifest.json``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypedDict

from qupath_hccmil.errors import ConflictError, WriteError
from qupath_hccmil.project.writing.files import (
    copy_file,
    inside,
    read_json,
    stamp,
    sync_file,
    sync_folder,
    write_json,
)
from qupath_hccmil.project.writing.lock import ProjectLock

__all__ = ["BACKUPS", "Replacement", "WriteRun", "stamp"]

BACKUPS = "hccmil-backups"
MANIFEST = "manifest.json"
JOURNAL = "journal.json"
UNDO = ".undo"
KEPT_RUNS = 5

Write = Callable[[Path], None]


@dataclass(frozen=True)
class Replacement:
    """One file of a transaction.

    Attributes
    ----------
    path : Path
        Inside the project's folder; need not exist.
    write : callable or None
        Writes the whole new file to the path it is given (in the same folder). None deletes
        the file.
    expected : str
        :func:`stamp` of the file that the new one was made from; "" where there was none.
    verify : callable or None
        Reads the finished file again and raises a `HccMilError` if it is not what was meant.
    """

    path: Path
    write: Write | None
    expected: str
    verify: Write | None = None

    @classmethod
    def of_bytes(
        cls, path: Path, content: bytes, expected: str, verify: Write | None = None
    ) -> Replacement:
        """Replace with bytes that are already there."""

        def write(beside: Path) -> None:
            beside.write_bytes(content)

        return cls(path, write, expected, verify)


class _Step(TypedDict):
    """One file in the journal.

    `old` is where the run's folder keeps the file as it was; `swapping` says that the file may
    have been replaced.
    """

    path: str
    beside: str
    before: str
    after: str
    old: str
    swapping: bool


class WriteRun:
    """A run that changes a project: holds its lock, and keeps a backup of what it replaces.

    Parameters
    ----------
    folder : Path
        The project's folder.
    kind : {"write", "restore"}
        What the run is, for its manifest.
    undoes : sequence of str
        Runs that a restore takes back.

    Notes
    -----
    The lock is taken, and the backup folder made, by the first :meth:`replace`.
    """

    def __init__(self, folder: Path, kind: str = "write", undoes: Sequence[str] = ()) -> None:
        self.folder = folder.resolve()
        now = datetime.now(timezone.utc)
        self.id = f"{now:%Y%m%dT%H%M%S.%f}Z-{uuid.uuid4().hex[:6]}"
        self._lock = ProjectLock(self.folder)
        self._home = self.folder / BACKUPS / self.id
        self._manifest: dict[str, Any] = {
            "run": self.id,
            "kind": kind,
            "time": now.isoformat(timespec="seconds"),
            "undoes": list(undoes),
            "files": {},
        }

    def begin(self) -> None:
        """Take the project's lock, and put back what a killed run left half done.

        Raises
        ------
        WriteError
            Another run holds the project, or it cannot be written.
        """
        if not self._lock.held:
            self._lock.acquire()
            try:
                recover(self.folder)
            except BaseException:
                self._lock.release()
                raise

    def replace(self, files: Sequence[Replacement]) -> None:
        """Replace files, all or none.

        Raises
        ------
        ConflictError
            A file is not the expected one any more; nothing was changed.
        WriteError
            The disk refused; nothing was changed.
        """
        for file in files:
            inside(self.folder, file.path)
        self.begin()
        try:
            self._replace(files)
        except OSError as error:
            raise WriteError(
                f"{error.filename or self.folder}: {error.strerror or error}; "
                "the project is as it was"
            ) from error

    def close(self) -> None:
        """End the run: prune old backups and give the lock back."""
        if self._lock.held:
            try:
                # old backups that cannot be deleted are no reason to fail a run that is done
                with contextlib.suppress(OSError):
                    prune(self.folder)
            finally:
                self._lock.release()

    def __enter__(self) -> WriteRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _replace(self, files: Sequence[Replacement]) -> None:
        created = _missing_folders(
            [self._home, *(file.path.resolve().parent for file in files)], self.folder
        )
        tag = uuid.uuid4().hex[:8]
        steps: list[_Step] = [
            {
                "path": inside(self.folder, file.path).relative_to(self.folder).as_posix(),
                "beside": f".{file.path.name}.{tag}.hccmil-tmp",
                "before": file.expected,
                "after": "",
                "old": "",
                "swapping": False,
            }
            for file in files
        ]
        for step in steps:
            _require_writable(self.folder / step["path"])
        try:
            for folder in created:
                folder.mkdir(exist_ok=True)
            self._note(steps)
            for file, step in zip(files, steps, strict=True):
                self._write_beside(file, step)
            steps = [step for step in steps if self._keep_old(step)]
            if steps:
                self._swap(steps)
                self._record(steps)
        except BaseException:
            self._undo(steps, created)
            raise
        _forget(self._home, steps, self._manifest["files"])

    def _note(self, steps: Sequence[_Step]) -> None:
        write_json(self._home / JOURNAL, {"steps": list(steps)})

    def _write_beside(self, file: Replacement, step: _Step) -> None:
        target = self.folder / step["path"]
        beside = target.with_name(step["beside"])
        if file.write is None:
            step["after"] = ""
            return
        file.write(beside)
        sync_file(beside)
        if target.exists():
            shutil.copymode(target, beside)
        if file.verify is not None:
            file.verify(beside)
        step["after"] = stamp(beside)

    def _keep_old(self, step: _Step) -> bool:
        """Copy what will be replaced; False where the new file equals the old one."""
        path = step["path"]
        target = self.folder / path
        if step["before"] == step["after"]:
            _expect(target, step["before"])
            target.with_name(step["beside"]).unlink(missing_ok=True)
            return False
        known = self._manifest["files"].get(path)
        if known is None or known["before"] == step["before"]:
            step["old"] = path
        else:
            step["old"] = f"{UNDO}/{path}"
        kept = self._home / step["old"]
        if step["before"] and not kept.exists():
            copied = copy_file(target, kept) if target.exists() else ""
            if copied != step["before"]:
                raise _conflict(target)
        return True

    def _swap(self, steps: Sequence[_Step]) -> None:
        for step in steps:
            step["swapping"] = True
        self._note(steps)
        # as late as can be: a viewer may have saved while we wrote
        for step in steps:
            _expect(self.folder / step["path"], step["before"])
        for step in steps:
            target = self.folder / step["path"]
            if step["after"]:
                os.replace(target.with_name(step["beside"]), target)
            else:
                target.unlink()
            sync_folder(target.parent)

    def _record(self, steps: Sequence[_Step]) -> None:
        known = self._manifest["files"]
        files = {
            step["path"]: {
                "before": known.get(step["path"], step)["before"],
                "after": step["after"],
            }
            for step in steps
        }
        manifest = {**self._manifest, "files": {**known, **files}}
        write_json(self._home / MANIFEST, manifest)
        self._manifest = manifest

    def _undo(self, steps: Sequence[_Step], created: Sequence[Path]) -> None:
        try:
            _put_back(self.folder, self._home, steps)
            _forget(self._home, steps, self._manifest["files"])
        except OSError as error:
            raise WriteError(
                f"{self.folder}: the disk failed while files were replaced ({error.strerror}); "
                f"the next run puts them back from {self._home}"
            ) from error
        for folder in reversed(created):
            with contextlib.suppress(OSError):
                folder.rmdir()


def recover(folder: Path) -> list[str]:
    """Put back what killed runs left half done; the caller holds the project's lock.

    Returns
    -------
    list of str
        The runs that were undone.

    Raises
    ------
    WriteError
        The disk refused.
    """
    done = []
    for journal in sorted((folder / BACKUPS).glob(f"*/{JOURNAL}")):
        home = journal.parent
        steps = (read_json(journal) or {"steps": []})["steps"]
        files = (read_json(home / MANIFEST) or {"files": {}})["files"]
        try:
            if not _committed(steps, files):
                _put_back(folder, home, steps)
                done.append(home.name)
            _forget(home, steps, files)
        except OSError as error:
            raise WriteError(
                f"{folder}: what run {home.name} left half done cannot be put back "
                f"({error.strerror}); make the folder writable and try again"
            ) from error
    return done


def runs(folder: Path) -> list[dict[str, Any]]:
    """Manifests of the runs whose backups are kept, oldest first."""
    found = []
    for path in sorted((folder / BACKUPS).glob(f"*/{MANIFEST}")):
        manifest = read_json(path)
        # a manifest that was moved or damaged must not lead elsewhere
        if isinstance(manifest, dict) and manifest.get("run") == path.parent.name:
            found.append(manifest)
    return found


def prune(folder: Path) -> None:
    """Keep the backups of the newest runs only: :data:`KEPT_RUNS` of them."""
    for manifest in runs(folder)[:-KEPT_RUNS]:
        shutil.rmtree(folder / BACKUPS / manifest["run"])


def _committed(steps: Sequence[_Step], files: Mapping[str, Any]) -> bool:
    """Whether the manifest, written last, already has the whole transaction."""
    return all(
        step["swapping"] and files.get(step["path"], {}).get("after") == step["after"]
        for step in steps
    )


def _put_back(folder: Path, home: Path, steps: Sequence[_Step]) -> None:
    """Bring a transaction's files back to what they were before it."""
    for step in steps:
        target = inside(folder, step["path"])
        beside = inside(folder, target.with_name(step["beside"]))
        # a file that is neither ours nor the old one was saved by another program since: its
        # content is newer than both and stays
        ours = step["swapping"] and not target.is_dir() and stamp(target) == step["after"]
        if ours and step["after"] != step["before"]:
            if step["before"]:
                copy_file(inside(home, step["old"]), beside)
                os.replace(beside, target)
            else:
                target.unlink()
            sync_folder(target.parent)
        beside.unlink(missing_ok=True)


def _forget(home: Path, steps: Sequence[_Step], files: Mapping[str, Any]) -> None:
    """Remove the journal and what the backup does not need; all of it where it has no file."""
    if not files:
        shutil.rmtree(home, ignore_errors=True)
        # the last backup may have been the only one
        with contextlib.suppress(OSError):
            home.parent.rmdir()
        return
    for step in steps:
        if step["path"] not in files:
            inside(home, step["path"]).unlink(missing_ok=True)
    shutil.rmtree(home / UNDO, ignore_errors=True)
    (home / JOURNAL).unlink(missing_ok=True)


def _require_writable(path: Path) -> None:
    # a rename would replace a file that its owner has protected
    effective = os.access in os.supports_effective_ids
    if path.exists() and not os.access(path, os.W_OK, effective_ids=effective):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _expect(path: Path, expected: str) -> None:
    if stamp(path) != expected:
        raise _conflict(path)


def _conflict(path: Path) -> ConflictError:
    return ConflictError(
        f"{path}: was changed by another program since it was read (is QuPath open?); "
        "nothing was written: close it and run again"
    )


def _missing_folders(folders: Sequence[Path], top: Path) -> list[Path]:
    """Folders to make, parents first."""
    missing = {
        each
        for folder in folders
        for each in (folder, *folder.parents)
        if top in each.parents and not each.exists()
    }
    return sorted(missing, key=lambda each: len(each.parts))
