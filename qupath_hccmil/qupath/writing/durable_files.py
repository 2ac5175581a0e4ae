"""Files as safe writing needs them: fingerprints, flushed copies, synced folders."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from qupath_hccmil.errors import ProjectError, WriteError

CHUNK = 1 << 20

UNSUPPORTED = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EBADF}
)
"""What a file system answers that does not know a call; a disk that fails answers otherwise."""


def stamp(path: Path) -> str:
    """Fingerprint of a file: its SHA-256 in hex; the empty string where there is no file.

    Raises
    ------
    OSError
        The file is there and cannot be read.
    """
    try:
        return stamp_of(path)
    except FileNotFoundError:
        return ""


def stamp_of(path: Path) -> str:
    """Fingerprint of a file that must be there.

    Raises
    ------
    OSError
        It is not, or cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def stamp_bytes(content: bytes) -> str:
    """Fingerprint of what a file will hold."""
    return hashlib.sha256(content).hexdigest()


def path_inside(folder: Path, path: Path | str) -> Path:
    """Return the real path of a file that must lie in a folder, links and ``..`` resolved.

    Raises
    ------
    WriteError
        It does not.
    """
    real = (folder / path).resolve()
    if folder.resolve() not in real.parents:
        raise WriteError(f"{path}: is outside the project's folder {folder}; nothing was written")
    return real


def flush(file: BinaryIO) -> None:
    """Bring what was written to the disk, not just to the system's cache."""
    file.flush()
    _sync(file.fileno())


def sync_file(path: Path) -> None:
    """Bring a closed file to the disk."""
    with path.open("r+b") as file:
        flush(file)


def sync_folder(folder: Path) -> None:
    """Bring renames in a folder to the disk, where the system can (Windows can't)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _sync(handle)
    finally:
        os.close(handle)


def _sync(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        # some network file systems know no such thing, least of all for folders; a disk that
        # fails says something else
        if error.errno not in UNSUPPORTED:
            raise


def same_rights(source: Path, target: Path) -> None:
    """Give a file the mode of another, and its group where we may: colleagues share projects."""
    there = source.stat()
    try:
        if hasattr(os, "chown"):
            with contextlib.suppress(PermissionError):
                os.chown(target, -1, there.st_gid)
        target.chmod(stat.S_IMODE(there.st_mode))
    except OSError as error:
        # shares of Windows have no modes
        if error.errno not in UNSUPPORTED:
            raise


def copy_file(source: Path, target: Path) -> str:
    """Copy a file to a path that is free, flushed, and return the fingerprint of the copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(CHUNK):
            digest.update(chunk)
            writer.write(chunk)
        flush(writer)
    same_rights(source, target)
    return digest.hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write a small JSON file that is never seen half written."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(json.dumps(content, indent=1).encode("ascii"))
        flush(file)
    move(beside, path)


def move(source: Path, target: Path) -> None:
    """Rename a file over another, or to a free name, and bring that to the disk."""
    os.replace(source, target)
    sync_folder(target.parent)


def read_json(path: Path) -> Any | None:
    """Read a JSON file of ours; None where it is absent or damaged.

    Raises
    ------
    OSError
        It is there and cannot be read.
    """
    try:
        return json.loads(path.read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return None


def there(path: Path) -> bool:
    """Whether there is such a file or folder.

    Raises
    ------
    OSError
        The disk does not tell: that is no "no", which some Pythons make of it.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


@contextlib.contextmanager
def in_plain_words(path: Path) -> Iterator[None]:
    """What the disk says while a project is read, as an error of ours: one line, with the file.

    Raises
    ------
    ProjectError
        In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise ProjectError(
            f"{error.filename or path}: cannot be read ({error.strerror or error}); is its drive "
            "connected, and may you read it?"
        ) from error
