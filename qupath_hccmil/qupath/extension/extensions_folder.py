"""QuPath's folder of extensions, which is in the user directory that its preferences name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qupath_hccmil.errors import InstallError
from qupath_hccmil.qupath.create_project import VERSIONS
from qupath_hccmil.qupath.extension.java_preferences import java_preference


def extensions_folders() -> list[Path]:
    """Extensions folder of each QuPath of this user that has a user directory.

    The default user directory does not count until the user has chosen it in QuPath, because
    QuPath loads nothing from it before. The folder itself may not exist yet.
    """
    return list(dict.fromkeys(_chosen()))


def wanted_folders(given: Path | None) -> list[Path]:
    """Folders to install into: the given one, otherwise those of QuPath.

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
            "QuPath has no user directory yet: choose one in QuPath (Edit > Preferences > "
            "Extensions), or give QuPath's extensions folder with --dir"
        )
    return found


def _chosen() -> Iterator[Path]:
    for version in VERSIONS:
        node = ("io.github.qupath", version.rpartition(".")[0])
        path = java_preference(node, "userPath")
        if path and Path(path).is_dir():
            yield Path(path) / "extensions"
