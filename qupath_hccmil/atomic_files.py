"""Files and folders that are written whole or not at all: written next to their place, renamed.

What changes a QuPath project has its own, stricter way: :mod:`qupath_hccmil.qupath.writing`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qupath_hccmil.errors import WriteError

_TEMPORARY = ".new-"


def is_temporary(path: Path) -> bool:
    """Whether a file is what a killed :func:`atomic_file` left."""
    return path.name.startswith(_TEMPORARY)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path next to `path` to write to; move it there when the block ends well.

    Missing folders are made. After a failure `path` is as it was and nothing is left next to it;
    after a kill a file is left that :func:`is_temporary` recognises.

    Raises
    ------
    WriteError
        The system refuses: no space, no permission, a folder of that name.
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
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder next to `path` to fill; it becomes `path` when the block ends well.

    Missing folders above are made. What `path` was is removed only when the new one is there;
    after a failure it is as it was and nothing is left next to it.

    Raises
    ------
    WriteError
        The system refuses: no space, no permission, a file of that name.
    """
    with _or_write_error(path, "nothing was changed"):
        path.parent.mkdir(parents=True, exist_ok=True)
        both = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        new, old = both / "new", both / "old"
        try:
            new.mkdir()
            yield new
            if path.exists():
                path.rename(old)
            new.rename(path)
        finally:
            if old.exists() and not path.exists():
                old.rename(path)
            shutil.rmtree(both, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder for results, before any work is done for it.

    Raises
    ------
    WriteError
        It cannot be made or written.
    """
    with _or_write_error(folder, "name another folder"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def file_name(name: str) -> str:
    """An image's name as part of a file name on any system."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:80]


@contextmanager
def _or_write_error(path: Path, then: str) -> Iterator[None]:
    """Make one line of what the system refuses, with what to do or what became of it."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(f"{path}: cannot be written: {reason}; {then}") from error


def _open_to_others(path: Path) -> None:
    """Give the file the rights of any new file; mkstemp makes it private."""
    if os.name != "nt":
        mask = os.umask(0)
        os.umask(mask)
        path.chmod(0o666 & ~mask)
