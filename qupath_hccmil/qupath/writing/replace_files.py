"""Changes a project's files: all or none, verified, backed up, and completed after a crash.

There is one :class:`WriteRun` per command. Each :meth:`WriteRun.replace` is one
:class:`~qupath_hccmil.qupath.writing.transaction.Transaction` over the files of one image.

The layout: ``<project>/hccmil-backups/<run id>/`` mirrors the paths of the files as they were
before the run, with a ``manifest.json``.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from qupath_hccmil.errors import WriteError
from qupath_hccmil.qupath.writing.backups import BACKUPS, KEPT_RUNS, prune
from qupath_hccmil.qupath.writing.crash_recovery import recover
from qupath_hccmil.qupath.writing.durable_files import path_inside, stamp
from qupath_hccmil.qupath.writing.project_list import ListChange
from qupath_hccmil.qupath.writing.project_lock import ProjectLock
from qupath_hccmil.qupath.writing.transaction import Prepare, Prepared, Replacement, Transaction

__all__ = [
    "BACKUPS",
    "KEPT_RUNS",
    "ListChange",
    "Prepare",
    "Prepared",
    "Replacement",
    "WriteRun",
    "stamp",
]


class WriteRun:
    """A run that changes a project; it holds the lock and keeps a backup of replaced files.

    Parameters
    ----------
    folder : Path
        The project's folder.
    kind : {"write", "add", "restore"}
        Kind of the run, for its manifest.

    Notes
    -----
    The lock is taken by :meth:`begin` or by the first :meth:`replace`, which also creates the
    backup folder.
    """

    def __init__(self, folder: Path, kind: str = "write") -> None:
        self.folder = folder.resolve()
        now = datetime.now(timezone.utc)
        self.id = f"{now:%Y%m%dT%H%M%S.%f}Z-{uuid.uuid4().hex[:6]}"
        self._lock = ProjectLock(self.folder)
        self._manifest: Mapping[str, Any] = {
            "run": self.id,
            "kind": kind,
            "time": now.isoformat(timespec="seconds"),
            "undoes": [],
            "files": {},
        }

    def begin(self, wait: float = 0.0) -> bool:
        """Take the project's lock, and complete or undo what a killed run left unfinished.

        Parameters
        ----------
        wait : float
            Seconds to wait for another run.

        Returns
        -------
        bool
            Whether the lock was taken just now, so that the project may have changed before.

        Raises
        ------
        WriteError
            Another run holds the lock, or the project cannot be written.
        """
        if self._lock.held:
            return False
        try:
            self._lock.acquire(wait)
            recover(self.folder)
        except OSError as error:
            self._lock.release()
            raise _refused(self.folder, error) from error
        except BaseException:
            self._lock.release()
            raise
        return True

    def takes_back(self, runs: Sequence[str]) -> None:
        """Note for the manifest which runs a restore undoes."""
        self._manifest = {**self._manifest, "undoes": list(runs)}

    def replace(self, files: Sequence[Replacement], listed: ListChange | None = None) -> None:
        """Replace files and our metadata in the project's list, all or none.

        Raises
        ------
        ConflictError
            A file is no longer the expected one; nothing was changed.
        WriteError
            The disk refused; nothing was changed, unless the message says otherwise.
        """
        for file in files:
            path_inside(self.folder, file.path)
        with self._transaction() as change:
            change.run(files, listed)

    def replace_prepared(
        self, images: Mapping[str, Sequence[Path]], listed: Path, prepare: Prepare
    ) -> None:
        """Replace files of images that are prepared elsewhere, all or none.

        Parameters and errors as for
        :meth:`~qupath_hccmil.qupath.writing.transaction.Transaction.run_prepared`, but with a
        WriteError instead of an OSError.
        """
        with self._transaction() as change:
            change.run_prepared(images, listed, prepare)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        if not self.begin():
            # files that could not be deleted after the previous transaction
            recover(self.folder)
        change = Transaction(self.folder, self.folder / BACKUPS / self.id, self._manifest)
        try:
            yield change
        except OSError as error:
            if change.touched:
                raise WriteError(
                    f"{error.filename or self.folder}: the disk failed while files were replaced "
                    f"({error.strerror or error}); the next qupath-hccmil command on this project "
                    "completes or undoes the change"
                ) from error
            raise _refused(self.folder, error) from error
        finally:
            self._manifest = change.manifest

    def close(self) -> None:
        """End the run: delete old backups and release the lock."""
        if self._lock.held:
            try:
                # A completed run does not fail because old backups cannot be deleted.
                with contextlib.suppress(OSError):
                    prune(self.folder)
            finally:
                self._lock.release()

    def __enter__(self) -> WriteRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _refused(folder: Path, error: OSError) -> WriteError:
    return WriteError(
        f"{error.filename or folder}: {error.strerror or error}; the project is unchanged"
    )
