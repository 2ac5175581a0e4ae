"""Replacing and removing files that another program holds for a moment, as happens on Windows.

There, a file that is open in a virus scanner, an indexer or a viewer can be neither replaced nor
removed. Scanners look at every new file and let go of it soon, so each call here is tried again for
some seconds. Other systems allow all of this, and there nothing is tried twice.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_Result = TypeVar("_Result")

WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds before each further try; more than six in all."""

# ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_LOCK_VIOLATION, and ERROR_DIR_NOT_EMPTY for a
# folder with a removed file that is still open. Only Windows gives errors such numbers.
_HELD = frozenset({5, 32, 33, 145})


def when_free(act: Callable[[], _Result]) -> _Result:
    """Call a function, again and again while Windows says that another program has the file.

    Parameters
    ----------
    act : callable
        It changes nothing when it fails, or can be called again after that.

    Raises
    ------
    OSError
        That of the last try; its ``strerror`` says how long was waited and what to do.
    """
    for wait in WAITS:
        try:
            return act()
        except OSError as error:
            if not _is_held(error):
                raise
        time.sleep(wait)
    try:
        return act()
    except OSError as error:
        if _is_held(error):
            error.strerror = (
                f"{error.strerror}, tried for {sum(WAITS):.0f} s: close the programs that have "
                "the file open (QuPath, Excel, a viewer), or ask for the right to change it"
            )
        raise


def replace(source: Path, target: Path) -> None:
    """Rename a file over another one, or a file or folder to an unused name.

    Raises
    ------
    OSError
        The system refuses; both are as before.
    """
    when_free(lambda: os.replace(source, target))


def remove(path: Path, missing_ok: bool = False) -> None:
    """Remove a file.

    Raises
    ------
    OSError
        The system refuses, or there is no such file and `missing_ok` is false.
    """
    when_free(lambda: path.unlink(missing_ok=missing_ok))


def remove_folder(path: Path) -> None:
    """Remove a folder with everything in it.

    Raises
    ------
    OSError
        The system refuses; some of it may be gone.
    """
    when_free(lambda: shutil.rmtree(path))


def _is_held(error: OSError) -> bool:
    return getattr(error, "winerror", None) in _HELD
