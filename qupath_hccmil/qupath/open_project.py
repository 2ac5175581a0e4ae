"""Opens a project with the user's QuPath through paquo, or with our own engine without Java."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from qupath_hccmil.errors import EngineError
from qupath_hccmil.qupath.paquo.jvm import QuPathInstall, find_qupath
from qupath_hccmil.qupath.project_folder import Project

__all__ = ["EngineChoice", "QuPathInstall", "find_qupath", "open_project"]

EngineChoice = Literal["auto", "paquo", "native"]

_log = logging.getLogger(__name__)


def open_project(path: Path, engine: EngineChoice = "auto", *, recover: bool = True) -> Project:
    """Open a QuPath project.

    Parameters
    ----------
    path : Path
        Folder of the project, or its ``.qpproj``.
    engine : {"auto", "paquo", "native"}
        ``auto`` uses paquo if a QuPath is found and starts, otherwise native;
        :attr:`Project.engine` gives the engine that was used.
    recover : bool
        First finish what a killed run of ours left half done; False changes nothing in the folder.

    Raises
    ------
    ProjectError
        The path is not a project.
    EngineError
        paquo was requested, but no QuPath starts.
    """
    if engine == "paquo" or (engine == "auto" and _qupath_is_there()):
        from qupath_hccmil.qupath.paquo.paquo_project import PaquoProject

        try:
            return PaquoProject(path, recover=recover)
        except EngineError as error:
            if engine == "paquo":
                raise
            _log.warning("%s; going on without QuPath", error)
    from qupath_hccmil.qupath.native.native_project import NativeProject

    return NativeProject(path, recover=recover)


def _qupath_is_there() -> bool:
    try:
        return find_qupath() is not None
    except EngineError as error:
        _log.warning("%s; going on without QuPath", error)
        return False
