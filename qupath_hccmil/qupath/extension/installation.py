"""Puts the extension into QuPath's folder, takes it out, and says what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.errors import InstallError, WriteError
from qupath_hccmil.qupath.extension.command import COMMAND_FILE, recorded_command, this_command
from qupath_hccmil.qupath.extension.jar import TITLE, jar_bytes, jar_version, write_jar


@dataclass(frozen=True)
class Installed:
    """An extension that is there.

    Attributes
    ----------
    jar : Path
    version : str
        As its manifest says.
    current : bool
        Whether it is just what this installation would install.
    command : str or None
        What it runs, where that is written down next to it.
    """

    jar: Path
    version: str
    current: bool
    command: str | None


def installed(folder: Path) -> list[Installed]:
    """Our jars in a folder."""
    content = jar_bytes()
    return [
        Installed(jar, version, jar.read_bytes() == content, recorded_command(folder))
        for jar in sorted(folder.glob(f"{TITLE}-*.jar"))
        if (version := jar_version(jar)) is not None
    ]


def install(folder: Path) -> Path:
    """Write the jar, and next to it where this command is; remove our jars of other versions.

    Returns
    -------
    Path
        The jar.

    Raises
    ------
    InstallError, WriteError
        Nothing is changed then, or an older jar is left, which the message names.
    """
    command = this_command()
    try:
        jar = write_jar(folder)
        with atomic_file(folder / COMMAND_FILE) as new:
            new.write_text(f"{command}\n", encoding="utf-8")
    except WriteError as error:
        raise WriteError(f"{error}; close QuPath if it is open") from error
    _remove([each.jar for each in installed(folder) if each.jar != jar])
    return jar


def uninstall(folder: Path) -> list[Path]:
    """Remove our jars and what lies next to them for them; gives what was removed.

    Raises
    ------
    InstallError
        One can't be removed.
    """
    ours = [each.jar for each in installed(folder)]
    if (folder / COMMAND_FILE).is_file():
        ours.append(folder / COMMAND_FILE)
    _remove(ours)
    return ours


def _remove(files: Sequence[Path]) -> None:
    for path in files:
        try:
            path.unlink()
        except OSError as error:
            reason = error.strerror or str(error)
            raise InstallError(
                f"{path}: can't be removed ({reason}); close QuPath and try again"
            ) from error
