"""Files that a user asks for: finished, or not there at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qupath_hccmil.errors import WriteError


@contextmanager
def finished_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; move it there when the block ends well.

    Missing folders are made. After a failure `path` is as it was and nothing is left beside it.

    Raises
    ------
    WriteError
        The system refuses: no space, no permission, a folder of that name.
    """
    beside: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
        os.close(handle)
        beside = Path(name)
        yield beside
        _open_to_others(beside)
        beside.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(f"{path}: cannot be written: {reason}; nothing was changed") from error
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)


@contextmanager
def finished_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path` to fill; it becomes `path` when the block ends well.

    Missing folders above are made. What `path` was is removed only when the new one is there;
    after a failure it is as it was and nothing is left beside it.

    Raises
    ------
    WriteError
        The system refuses: no space, no permission, a file of that name.
    """
    beside: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        new = beside / "new"
        new.mkdir()
        yield new
        if path.exists():
            path.rename(beside / "old")
        new.rename(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(f"{path}: cannot be written: {reason}; nothing was changed") from error
    finally:
        if beside is not None:
            if (beside / "old").exists() and not path.exists():
                (beside / "old").rename(path)
            shutil.rmtree(beside, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder for results, before any work is done for it.

    Raises
    ------
    WriteError
        It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(f"{folder}: cannot be written: {reason}; name another folder") from error


def file_name(name: str) -> str:
    """An image's name as part of a file name on any system."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:80]


def _open_to_others(path: Path) -> None:
    """Give the file the rights of any new file; mkstemp makes it private."""
    if os.name != "nt":
        mask = os.umask(0)
        os.umask(mask)
        path.chmod(0o666 & ~mask)
