"""Files and folders that are written completely or not at all, by a rename at the end.

Changes to QuPath projects follow stricter rules: :mod:`qupath_hccmil.qupath.writing`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qupath_hccmil import held_files
from qupath_hccmil.errors import WriteError

_TEMPORARY = ".new-"
_DEVICES = frozenset(
    {
        "CON",
        "PRN",
        "AUX",
        "NUL",
        *(f"{port}{n}" for port in ("COM", "LPT") for n in "0123456789¹²³"),
    }
)


def is_temporary(path: Path | str) -> bool:
    """Whether a file, by its path or name, was left behind by a killed :func:`atomic_file`."""
    return os.path.basename(path).startswith(_TEMPORARY)


def meant_stem(path: Path) -> str:
    """Stem of the name that a file of :func:`is_temporary` was to get."""
    return path.stem.removeprefix(_TEMPORARY).rpartition("-")[0]


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path next to `path` to write to; rename it to `path` if the block succeeds.

    Missing folders are created. After a failure `path` is unchanged and nothing is left next to
    it; after a kill a file is left that :func:`is_temporary` recognises.

    Raises
    ------
    WriteError
        The system refuses: there is no space or no permission, or a folder has that name.
    """
    with _or_write_error(path, "nothing was changed"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f"{_TEMPORARY}{path.stem}-", suffix=path.suffix
        )
        os.close(handle)
        new = Path(name)
        try:
            yield new
            _open_to_others(new)
            held_files.replace(new, path)
        finally:
            held_files.remove(new, missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder next to `path` to fill; it becomes `path` if the block succeeds.

    Missing parent folders are created. The old `path` is removed only when the new one is in
    place; after a failure it is unchanged and nothing is left next to it.

    Raises
    ------
    WriteError
        The system refuses: there is no space or no permission, or a file has that name.
    """
    with _or_write_error(path, "nothing was changed"):
        path.parent.mkdir(parents=True, exist_ok=True)
        both = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        new, old = both / "new", both / "old"
        try:
            new.mkdir()
            yield new
            if path.exists():
                held_files.replace(path, old)
            held_files.replace(new, path)
        finally:
            if old.exists() and not path.exists():
                # Another writer may have put its own folder there since.
                with suppress(OSError):
                    held_files.replace(old, path)
            if path.exists() or not old.exists():
                with suppress(OSError):
                    held_files.remove_folder(both)


def make_folder(folder: Path) -> None:
    """Create a folder for results, before any work is done.

    Raises
    ------
    WriteError
        The folder cannot be created or written.
    """
    with _or_write_error(folder, "name another folder"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def file_name(name: str) -> str:
    """Turn the name of an image into a part of a file name that is valid on any system.

    At most 80 characters and 120 bytes: file systems count bytes, of which a character may have
    four, and allow 255 in a whole name.
    """
    valid = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:80]
    valid = valid.encode()[:120].decode(errors="ignore")
    return f"_{valid}" if is_device(valid) else valid


def is_device(name: str) -> bool:
    """Whether Windows would take a file name for a device: ``CON``, ``aux.png``, ``com1.a.gz``."""
    return name.partition(".")[0].rstrip(" ").upper() in _DEVICES


@contextmanager
def _or_write_error(path: Path, then: str) -> Iterator[None]:
    """Make one line of what the system refuses, with what to do or what became of it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(f"{path}: cannot be written: {reason}; {then}") from error


def _open_to_others(path: Path) -> None:
    """Give the file the permissions of any new file; mkstemp makes it private."""
    if os.name != "nt":
        mask = os.umask(0)
        os.umask(mask)
        path.chmod(0o666 & ~mask)
