"""One writer a project: a lock file that names its holder; a dead one's is released."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from pathlib import Path
from typing import Any

import psutil

from qupath_hccmil.errors import WriteError

LOCK_NAME = "hccmil.lock"
TRIES = 5


class ProjectLock:
    """Holds ``hccmil.lock`` in a project's folder from :meth:`acquire` to :meth:`release`.

    The file says host, process and the process's start, so that a lock left by a process that
    died on this machine is recognised. A lock of another machine is never broken.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_NAME
        self._token = ""

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return bool(self._token)

    def acquire(self) -> None:
        """Take the lock.

        Raises
        ------
        WriteError
            Somebody else holds it, or the folder cannot be written.
        """
        if self.held:
            return
        token = uuid.uuid4().hex
        try:
            for _ in range(TRIES):
                if self._create(token):
                    self._token = token
                    return
                self._remove_if_dead()
        except OSError as error:
            raise WriteError(
                f"{self.path.parent}: cannot be written ({error.strerror}); "
                "the project is as it was"
            ) from error
        raise WriteError(f"{self.path}: other runs hold this project; try again when they are done")

    def release(self) -> None:
        """Give the lock back; without effect where it is not held."""
        if self.held and _read(self.path).get("token") == self._token:
            # a drive that vanished keeps the file; the next run sees that its holder is dead
            with contextlib.suppress(OSError):
                self.path.unlink()
        self._token = ""

    def _create(self, token: str) -> bool:
        holder = {"host": socket.gethostname(), **_process(os.getpid()), "token": token}
        beside = self.path.with_name(f".{LOCK_NAME}.{token}")
        try:
            beside.write_text(json.dumps(holder), "ascii")
            try:
                # a link appears with its content, so nobody ever sees an empty lock
                os.link(beside, self.path)
            except FileExistsError:
                return False
            except OSError:
                return _create_exclusively(self.path, json.dumps(holder))
        finally:
            beside.unlink(missing_ok=True)
        return True

    def _remove_if_dead(self) -> None:
        holder = _read(self.path)
        if not holder:
            if self.path.exists():
                raise WriteError(
                    f"{self.path}: cannot tell who holds this project; "
                    "delete the file if no qupath-hccmil is at work on it"
                )
            return
        if _alive(holder):
            raise WriteError(
                f"{self.path}: process {holder.get('pid')} on {holder.get('host')} is writing "
                "this project; wait until it is done, or delete the file if it is not running"
            )
        aside = self.path.with_name(f".{LOCK_NAME}.{uuid.uuid4().hex}")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return
        if _read(aside).get("token") != holder.get("token"):
            # a third process was faster and this is its fresh lock: give it back
            with contextlib.suppress(OSError):
                os.link(aside, self.path)
        aside.unlink(missing_ok=True)


def _create_exclusively(path: Path, content: str) -> bool:
    try:
        with path.open("x", encoding="ascii") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        holder = json.loads(path.read_text("ascii"))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _process(pid: int) -> dict[str, float | int]:
    return {"pid": pid, "started": psutil.Process(pid).create_time()}


def _alive(holder: dict[str, Any]) -> bool:
    """Whether the holder may be at work: another host's always may."""
    if holder.get("host") != socket.gethostname():
        return True
    try:
        now = _process(int(holder["pid"]))
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, KeyError, TypeError, ValueError):
        return True
    # process numbers are used again: the start tells whether it is the same process
    return abs(now["started"] - float(holder.get("started", now["started"]))) < 1.0
