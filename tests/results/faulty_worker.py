"""Loaded into Dask workers as a preload module: the stain's fit is quick, some slides are faulty.

``HCCMIL_TEST_FAULTS`` is JSON: image name to a fault, or ``version`` to the names of workers that
shall have another version of the package. Faults: ``crash``; ``hang``; ``full`` (the disk refuses
the result); ``kill MARKER``, ``kill in write MARKER`` and ``kill at piece MARKER`` (the process is
killed while it reads, between writing the result and giving it its name, or before it writes a
piece of a large slide), and ``end job MARKER`` (its group is killed, as a queue ends a job); these
once, when the file MARKER is not there yet; ``crash at piece`` each time.
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


def first_time(fault: Any, kind: str) -> bool:
    if not (isinstance(fault, str) and fault.startswith(f"{kind} /")):
        return False
    marker = Path(fault.removeprefix(f"{kind} "))
    if marker.exists():
        return False
    marker.touch()
    return True


def dask_setup(worker: Any) -> None:
    faults = json.loads(os.environ.get("HCCMIL_TEST_FAULTS", "{}"))
    from qupath_hccmil.cluster import environment
    from qupath_hccmil.results import result_file, slide_pieces
    from qupath_hccmil.scoring import score_project
    from qupath_hccmil.stain import vahadane

    vahadane._ITERATIONS = 200
    if worker.name in faults.get("version", []):
        real_versions = environment.release_versions
        environment.release_versions = lambda: {**real_versions(), "qupath-hccmil": "0.0.1"}
    real_locate, real_file = score_project.locate_slide, result_file.atomic_file
    real_piece = slide_pieces._write

    def faulty_read(entry: Any, *arguments: Any, **more: Any) -> Any:
        fault = faults.get(entry.name)
        if fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if fault == "hang":
            time.sleep(600)
        if first_time(fault, "kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if first_time(fault, "end job"):
            os.killpg(0, signal.SIGKILL)
        return real_locate(entry, *arguments, **more)

    @contextmanager
    def faulty_write(path: Path) -> Iterator[Path]:
        fault = faults.get(path.name.split("-")[1])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        if fault == "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with real_file(path) as beside:
                yield beside
                if first_time(fault, "kill in write"):
                    os.kill(os.getpid(), signal.SIGKILL)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    def faulty_piece(path: Path, scored: Any) -> None:
        fault = faults.get(path.parent.name.split("-")[1])
        if path.name == "1-2.npz" and (
            fault == "crash at piece" or first_time(fault, "kill at piece")
        ):
            os.kill(os.getpid(), signal.SIGKILL)
        real_piece(path, scored)

    slide_pieces._write = faulty_piece
    score_project.locate_slide = faulty_read
    result_file.atomic_file = faulty_write
