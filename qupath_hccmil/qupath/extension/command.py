"""Which command the extension runs: this one's absolute path, in a small file next to the jar."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

from qupath_hccmil.errors import InstallError

COMMAND_FILE = "qupath-hccmil-command.txt"
_NAME = "qupath-hccmil"


def this_command() -> Path:
    """Absolute path of the program by which this installation is started.

    Links in it stay: a link may be what survives an update.

    Raises
    ------
    InstallError
        There is none: the package runs from its source alone.
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
    """Command that is written down in a folder with the extension; None where none is."""
    try:
        return (folder / COMMAND_FILE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
