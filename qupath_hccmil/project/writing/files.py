"""Files as safe writing needs them: fingerprints, flushed copies, synced folders."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

from qupath_hccmil.errors import WriteError

CHUNK = 1 << 20


def stamp(path: Path) -> str:
    """Fingerprint of a file: its SHA-256 in hex; the empty string where there is no file.

    Raises
    ------
    OSError
        The file is there and cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as source:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()


def stamp_bytes(content: bytes) -> str:
    """Fingerprint of what a file will hold."""
    return hashlib.sha256(content).hexdigest()


def inside(folder: Path, path: Path | str) -> Path:
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
    os.fsync(file.fileno())


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
        # some network file systems refuse to sync a folder; the rename itself is done by then
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def copy_file(source: Path, target: Path) -> str:
    """Copy a file to a path that is free, flushed, and return the fingerprint of the copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(CHUNK):
            digest.update(chunk)
            writer.write(chunk)
        flush(writer)
    shutil.copymode(source, target)
    return digest.hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write a small JSON file that is never seen half written."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(json.dumps(content, indent=1).encode("ascii"))
        flush(file)
    os.replace(beside, path)
    sync_folder(path.parent)


def read_json(path: Path) -> Any | None:
    """Read a JSON file of ours; None where it is absent or damaged."""
    try:
        return json.loads(path.read_text("ascii"))
    except (OSError, ValueError):
        return None
