"""Ensures that files of a project are in its folder, even if it contains links."""

from __future__ import annotations

import os
from pathlib import Path

from qupath_hccmil.errors import ProjectError


def require_inside(path: Path, folder: Path) -> Path:
    """Return `path` if it is in `folder` after following all links.

    If a folder of the project were a link to another disk, we would write there, outside of backups
    and copies of the project.

    Raises
    ------
    ProjectError
        The path leads out of the folder.
    """
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise ProjectError(
            f"{path}: is a link that leads out of the project, to {real}; put the file itself there"
        )
    return path
