"""One writer per project: a lock file says who it is, and that of a dead process is removed.

No two processes hold the lock at once. The file appears together with its content, by a hard link
where the file system has them, else by exclusive creation. The file of a dead owner is removed by
the one process that holds the lock on that removal (a lock of the same kind, named after the dead
owner's token), after it has read the file again.

Why not `filelock` (4.3.1 was tried): its ``FileLock`` is the system's lock, which sshfs, the
network places of GNOME and NFS with ``local_lock`` grant on every computer separately, and projects
are often on a shared drive. Its ``SoftFileLock`` is a file like ours, but it took the lock of a
living process on another computer of the same name, it takes a file that it cannot read after 2 s,
and it keeps that of a process that ended without being collected. Neither says who holds it, and
that version needs Python 3.11.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import uuid
from pathlib import Path
from typing import Any

from qupath_hccmil.errors import WriteError
from qupath_hccmil.qupath.writing.lock_owner import described, is_gone, this_process

LOCK_NAME = "hccmil.lock"
TRIES = 5
LOOK_AGAIN = 0.2
"""Seconds between two looks at a lock that is waited for."""

_log = logging.getLogger(__name__)


class ProjectLock:
    """Holds ``hccmil.lock`` in a project's folder from :meth:`acquire` to :meth:`release`.

    The file says host, process and the process's start, so that a lock left by a process that
    died on this machine is recognised. A lock of another machine is never broken.
    """

    def __init__(self, folder: Path, name: str = LOCK_NAME) -> None:
        self.path = folder / name
        self._token = ""

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return bool(self._token)

    def acquire(self, wait: float = 0.0) -> None:
        """Take the lock.

        Parameters
        ----------
        wait : float
            Seconds to wait for another process that holds the lock; a warning says which it is.

        Raises
        ------
        WriteError
            Somebody else holds it, or the folder cannot be written.
        """
        if self.held:
            return
        until = time.monotonic() + wait
        told = False
        while not self._try():
            owner = self._owner()
            if not owner:
                # given back since; who is next is a matter of luck
                time.sleep(0.01)
                continue
            if time.monotonic() >= until:
                raise WriteError(
                    f"{self.path}: {described(owner)} is writing this project; wait for it "
                    "(--wait SECONDS), or delete the file if no qupath-hccmil is at work on it"
                )
            if not told:
                _log.warning(
                    "%s: %s is writing this project; waiting up to %g s",
                    self.path.parent,
                    described(owner),
                    wait,
                )
                told = True
            time.sleep(min(LOOK_AGAIN, max(0.0, until - time.monotonic())))

    def release(self) -> None:
        """Give the lock back; without effect where it is not held."""
        if self.held and _read(self.path).get("token") == self._token:
            # a drive that vanished keeps the file; the next run sees that its owner is dead
            with contextlib.suppress(OSError):
                self.path.unlink()
        self._token = ""

    def _try(self) -> bool:
        """Take the lock if nobody holds it, or nobody who lives."""
        token = uuid.uuid4().hex
        try:
            for _ in range(TRIES):
                if self._create(token):
                    self._token = token
                    self._sweep()
                    return True
                if not self._remove_if_dead():
                    return False
        except OSError as error:
            raise WriteError(
                f"{self.path.parent}: cannot be written ({error.strerror}); "
                "the project is as it was"
            ) from error
        return False

    def _create(self, token: str) -> bool:
        content = json.dumps({**this_process(), "token": token})
        beside = self.path.with_name(f".{LOCK_NAME}.{token}")
        try:
            beside.write_text(content, "ascii")
            try:
                os.link(beside, self.path)
            except FileExistsError:
                return False
            except OSError:
                if not beside.exists():
                    # an owner swept it away, see _sweep
                    return False
                return _create_exclusively(self.path, content)
        finally:
            beside.unlink(missing_ok=True)
        return True

    def _owner(self) -> dict[str, Any]:
        """Who holds the lock; empty where it is free by now.

        Raises
        ------
        WriteError
            The file does not say.
        """
        for _ in range(TRIES):
            owner = _read(self.path)
            if owner or not self.path.exists():
                return owner
            # where there are no hard links the file is empty for a moment
            time.sleep(0.05)
        raise WriteError(
            f"{self.path}: cannot tell who holds this project; "
            "delete the file if no qupath-hccmil is at work on it"
        )

    def _remove_if_dead(self) -> bool:
        """Remove the file of an owner that is dead; False where it may live."""
        owner = self._owner()
        if not owner:
            return True
        if not is_gone(owner):
            return False
        token = str(owner.get("token"))[:64]
        if not token.isalnum():
            return False
        removal = ProjectLock(self.path.parent, f".{LOCK_NAME}.{token}.removal")
        if not removal._try():
            return True
        try:
            # with this held nobody else removes the file of that token, and its owner is dead
            if _read(self.path).get("token") == owner["token"]:
                self.path.unlink(missing_ok=True)
        finally:
            removal.release()
        return True

    def _sweep(self) -> None:
        """Remove what processes left that died while they took the lock.

        Another that is just taking it notices: it finds its file gone, or the token changed.
        """
        if self.path.name != LOCK_NAME:
            return
        for left in self.path.parent.glob(f".{LOCK_NAME}.*"):
            with contextlib.suppress(OSError):
                left.unlink()


def _create_exclusively(path: Path, content: str) -> bool:
    """Create the file where there are no hard links."""
    try:
        file = path.open("x", encoding="ascii")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        owner = json.loads(path.read_text("ascii"))
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}
