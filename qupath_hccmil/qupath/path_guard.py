"""Files of a project are in its folder: a link in it leads us nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from qupath_hccmil.errors import ProjectError


def require_inside(path: Path, folder: Path) -> Path:
    """Return `path` where it is in `folder` also when all links are followed.

    A folder of the project that is a link to another disk would be written to there, beyond what
    a backup or a copy of the project holds.

    Raises
    ------
    ProjectError
        It leads out.
    """
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise ProjectError(
            f"{path}: is a link that leads out of the project, to {real}; put the file itself there"
        )
    return path
