"""Loaded into Dask workers as a preload module: some slides kill their worker.

``HCCMIL_TEST_FAULTS`` is JSON: name of a slide to ``crash``, ``hang``, ``full`` (the disk refuses
its features) or ``kill MARKER`` (once, when the file MARKER is not there yet).
"""

import json
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def dask_setup(worker: Any) -> None:
    from qupath_hccmil.features import compute_features, feature_file

    faults = json.loads(os.environ.get("HCCMIL_TEST_FAULTS", "{}"))
    real, real_file = compute_features.encode_slide, feature_file.atomic_file

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

    @contextmanager
    def faulty_write(path: Path) -> Iterator[Path]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        if faults.get(f"{path.stem}.tif") == "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with real_file(path) as beside:
                yield beside
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    feature_file.atomic_file = faulty_write
