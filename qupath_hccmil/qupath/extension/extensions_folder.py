"""Where QuPath looks for extensions: in its user directory, which its preferences name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qupath_hccmil.errors import InstallError
from qupath_hccmil.qupath.create_project import VERSIONS
from qupath_hccmil.qupath.extension.java_preferences import java_preference


def extensions_folders() -> list[Path]:
    """Folders of extensions of each QuPath of this user that has been given a user directory.

    QuPath loads nothing from its default user directory before it was chosen there, so neither
    does this take it for one. QuPath makes the folder only when it is needed.
    """
    return list(dict.fromkeys(_chosen()))


def wanted_folders(given: Path | None) -> list[Path]:
    """Folders to install into: the one that is given, else those of QuPath.

    Raises
    ------
    InstallError
        No QuPath of this user has a user directory.
    """
    if given is not None:
        return [given]
    found = extensions_folders()
    if not found:
        raise InstallError(
            "no QuPath of yours has a user directory yet: choose one in QuPath (Edit > "
            "Preferences > Extensions), or name QuPath's extensions folder with --dir"
        )
    return found


def _chosen() -> Iterator[Path]:
    for version in VERSIONS:
        node = ("io.github.qupath", version.rpartition(".")[0])
        path = java_preference(node, "userPath")
        if path and Path(path).is_dir():
            yield Path(path) / "extensions"
