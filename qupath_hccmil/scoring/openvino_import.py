"""OpenVINO without its usage reporting."""

from __future__ import annotations

import sys
from types import ModuleType

_REPORTER = "openvino_telemetry"


def import_openvino() -> ModuleType:
    """Import OpenVINO so that it does not send anything.

    Its model conversion reports each use to Google Analytics unless the user has opted out. If the
    package for this cannot be imported, OpenVINO uses a dummy instead.
    """
    sys.modules.setdefault(_REPORTER, None)  # type: ignore[arg-type]
    import openvino

    return openvino
