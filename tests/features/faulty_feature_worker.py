"""Loaded into Dask workers as a preload module: some slides kill their worker.

``HCCMIL_TEST_FAULTS`` is JSON: name of a slide to ``crash``, ``hang`` or ``kill MARKER`` (once,
when the file MARKER is not there yet).
"""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any


def dask_setup(worker: Any) -> None:
    from qupath_hccmil.features import compute_features

    faults = json.loads(os.environ.get("HCCMIL_TEST_FAULTS", "{}"))
    real = compute_features.encode_slide

    def faulty(slide: Any, *arguments: Any) -> Any:
        fault = faults.get(slide.path.name, "")
        marker = Path(fault.removeprefix("kill "))
        if fault == "hang":
            time.sleep(600)
        if fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault.startswith("kill ") and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(slide, *arguments)

    compute_features.encode_slide = faulty
