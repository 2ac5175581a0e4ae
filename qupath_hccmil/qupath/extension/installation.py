"""Installs the extension in QuPath's folder, removes it, and lists what is installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.errors import InstallError, WriteError
from qupath_hccmil.held_files import remove
from qupath_hccmil.qupath.extension.command import COMMAND_FILE, recorded_command, this_command
from qupath_hccmil.qupath.extension.jar import TITLE, jar_bytes, jar_version, write_jar


@dataclass(frozen=True)
class Installed:
    """An installed extension.

    Attributes
    ----------
    jar : Path
    version : str
        Version in its manifest.
    current : bool
        Whether it is the same as the jar of this installation, byte for byte.
    command : str or None
        Recorded command that it runs, if there is a record.
    """

    jar: Path
    version: str
    current: bool
    command: str | None


def installed(folder: Path) -> list[Installed]:
    """List our jars in a folder."""
    content = jar_bytes()
    return [
        Installed(jar, version, jar.read_bytes() == content, recorded_command(folder))
        for jar in sorted(folder.glob(f"{TITLE}-*.jar"))
        if (version := jar_version(jar)) is not None
    ]


def install(folder: Path) -> Path:
    """Write the jar and the path of this command; remove our jars of other versions.

    Returns
    -------
    Path
        The jar.

    Raises
    ------
    InstallError, WriteError
        Nothing was changed, or an older jar is left, which the message names.
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
    """Remove our jars and the recorded command; returns the removed files.

    Raises
    ------
    InstallError
        A file cannot be removed.
    """
    ours = [each.jar for each in installed(folder)]
    if (folder / COMMAND_FILE).is_file():
        ours.append(folder / COMMAND_FILE)
    _remove(ours)
    return ours


def _remove(files: Sequence[Path]) -> None:
    for path in files:
        try:
            remove(path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InstallError(
                f"{path}: cannot be removed ({reason}); close QuPath and try again"
            ) from error
