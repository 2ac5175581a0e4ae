"""Loaded into Dask workers as a preload module: some slides crash, kill or hang the process.

``HCCMIL_TEST_FAULTS`` is JSON: image name to ``crash``, ``hang``, ``kill once``; or ``version`` to
the names of workers that shall have another version of the package.
"""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

FAULTS = json.loads(os.environ.get("HCCMIL_TEST_FAULTS", "{}"))


def dask_setup(worker: Any) -> None:
    from qupath_hccmil.cluster import environment
    from qupath_hccmil.scoring import score_project

    if worker.name in FAULTS.get("version", []):
        real_versions = environment.release_versions
        environment.release_versions = lambda: {**real_versions(), "qupath-hccmil": "0.0.1"}
    real = score_project.locate_slide

    def faulty(entry: Any, *arguments: Any, **more: Any) -> Any:
        fault = FAULTS.get(entry.name)
        if fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "hang":
            time.sleep(600)
        if isinstance(fault, str) and fault.startswith("kill once "):
            marker = Path(fault.removeprefix("kill once "))
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return real(entry, *arguments, **more)

    score_project.locate_slide = faulty
