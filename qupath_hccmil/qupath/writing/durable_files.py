"""File operations for safe writing: fingerprints, flushed copies, synced folders."""

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
from qupath_hccmil.held_files import when_free

CHUNK = 1 << 20

UNSUPPORTED = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EBADF}
)
"""Errors of file systems that do not support a call; a disk that fails gives other errors."""


def stamp(path: Path) -> str:
    """Fingerprint of a file: its SHA-256 in hex; the empty string if there is no file.

    Raises
    ------
    OSError
        The file exists but cannot be read.
    """
    try:
        return stamp_of(path)
    except FileNotFoundError:
        return ""


def stamp_of(path: Path) -> str:
    """Fingerprint of a file that must exist.

    Raises
    ------
    OSError
        The file does not exist or cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def stamp_bytes(content: bytes) -> str:
    """Fingerprint of the future content of a file."""
    return hashlib.sha256(content).hexdigest()


def path_inside(folder: Path, path: Path | str) -> Path:
    """Return the real path of a file that must lie in a folder, links and ``..`` resolved.

    Raises
    ------
    WriteError
        The file is outside the folder.
    """
    real = (folder / path).resolve()
    if folder.resolve() not in real.parents:
        raise WriteError(f"{path}: is outside the project's folder {folder}; nothing was written")
    return real


def flush(file: BinaryIO) -> None:
    """Flush written data to the disk, not only to the system's cache."""
    file.flush()
    _sync(file.fileno())


def sync_file(path: Path) -> None:
    """Flush a closed file to the disk."""
    with when_free(lambda: path.open("r+b")) as file:
        flush(file)


def sync_folder(folder: Path) -> None:
    """Flush renames in a folder to the disk, if the system can (Windows cannot)."""
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
        # Some network file systems do not support this, especially for folders; a disk that
        # fails gives another error.
        if error.errno not in UNSUPPORTED:
            raise


def same_rights(source: Path, target: Path) -> None:
    """Give a file the mode of another one, and its group if allowed, for shared projects."""
    there = source.stat()
    try:
        if hasattr(os, "chown"):
            with contextlib.suppress(PermissionError):
                os.chown(target, -1, there.st_gid)
        target.chmod(stat.S_IMODE(there.st_mode))
    except OSError as error:
        # Windows shares have no modes
        if error.errno not in UNSUPPORTED:
            raise


def copy_file(source: Path, target: Path) -> str:
    """Copy a file to an unused path, flush it, and return the fingerprint of the copy."""
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
    """Write a JSON file that never appears partly written.

    Without indents, since Python writes those ten times slower: the manifest of a run names all
    its files, and is written again with each transaction.
    """
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(json.dumps(content).encode("ascii"))
        flush(file)
    move(beside, path)


def move(source: Path, target: Path) -> None:
    """Rename a file of ours over another of ours, or to an unused name, and flush this."""
    when_free(lambda: move_at_once(source, target))


def move_at_once(source: Path, target: Path) -> None:
    """Rename like :func:`move`, without a second try.

    It is for files that other programs write as well. Who tries again (:func:`when_free`) must look
    at the target again before each try: what holds it may be QuPath, which is saving it.
    """
    os.replace(source, target)
    sync_folder(target.parent)


def read_json(path: Path) -> Any | None:
    """Read a JSON file of ours; None if it is missing or damaged.

    Raises
    ------
    OSError
        The file exists but cannot be read.
    """
    try:
        return json.loads(path.read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return None


def there(path: Path) -> bool:
    """Whether a file or folder exists.

    Raises
    ------
    OSError
        The disk gives an error, which some versions of Python would take for "does not exist".
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


@contextlib.contextmanager
def in_plain_words(path: Path) -> Iterator[None]:
    """Turn errors of the disk while a project is read into errors of ours with the file.

    Raises
    ------
    ProjectError
        Instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise ProjectError(
            f"{error.filename or path}: cannot be read ({error.strerror or error}); is its drive "
            "connected, and may you read it?"
        ) from error
