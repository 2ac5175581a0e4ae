"""The command that the extension runs; a small file next to the jar contains its absolute path."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

from qupath_hccmil.errors import InstallError

COMMAND_FILE = "qupath-hccmil-command.txt"
_NAME = "qupath-hccmil"


def this_command() -> Path:
    """Absolute path of the program that starts this installation.

    Links in the path are kept, because a link may survive an update when its target does not.

    Raises
    ------
    InstallError
        There is no program, because the package was not installed.
    """
    called = Path(sys.argv[0])
    if called.stem == _NAME and (found := shutil.which(called.absolute())):
        return Path(found)
    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    folders = [Path(sys.executable).parent, *(sysconfig.get_path("scripts", s) for s in schemes)]
    for folder in folders:
        if found := shutil.which(_NAME, path=str(folder)):
            return Path(found).absolute()
    raise InstallError(
        f"no program {_NAME} belongs to {sys.executable}; install the package with pip first"
    )


def recorded_command(folder: Path) -> str | None:
    """Command that is recorded in a folder with the extension; None if there is none."""
    try:
        return (folder / COMMAND_FILE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
