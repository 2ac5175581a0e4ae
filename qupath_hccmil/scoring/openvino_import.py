"""OpenVINO without the part of it that reports what it is used for."""

from __future__ import annotations

import sys
from types import ModuleType

_REPORTER = "openvino_telemetry"


def import_openvino() -> ModuleType:
    """Import OpenVINO so that it sends nothing.

    Its model conversion tells Google Analytics of each use unless the user opted out. Where the
    package that does so cannot be imported, OpenVINO puts a stand-in in its place.
    """
    sys.modules.setdefault(_REPORTER, None)  # type: ignore[arg-type]
    import openvino

    return openvino
