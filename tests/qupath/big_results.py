"""Results for an image with many cells; run as a program, it tells what they take.

python -m tests.qupath.big_results (native|paquo|qupath|info) PROJECT TILES prints seconds and the
peak of memory, in bytes beyond what the process had before, as JSON. `qupath` reads and writes the
objects by QuPath's classes alone: what it takes without us.
"""

import contextlib
import json
import sys
import time
from pathlib import Path

import numpy as np

from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import ImageResults, TileObjects, WorkflowStep
from qupath_hccmil.qupath.open_project import open_project

NAMES = ("Tile risk", "Tile logit", "Tile contribution", "Tile nuclei fraction")
STATUS = Path("/proc/self/status")


def some_results(annotations: list[int], tiles: int, *, missing: bool = False) -> ImageResults:
    """Results with so many tiles in the first annotation, and as many in the others together."""
    each = {}
    for number, identity in enumerate(annotations):
        count = tiles if not number else tiles // (len(annotations) - 1)
        side = int(np.ceil(np.sqrt(count)))
        at = np.arange(count)
        corner = np.column_stack([at % side, at // side]) * 512.0 + number
        values = np.linspace(0.1, 0.9, count)
        measured = {f"HCC-MIL: {name}": values + n for n, name in enumerate(NAMES)}
        if missing:
            measured["HCC-MIL: Tile nuclei fraction"] = np.where(at % 3, values, np.nan)
        classes = [f"HCC-MIL {'high' if value > 0.5 else 'low'} risk" for value in values]
        bounds = np.column_stack([corner, np.full((count, 2), 512.0)])
        each[identity] = TileObjects(bounds, classes, measured)
    return ImageResults(
        annotations={identity: {"HCC-MIL: Risk score": 0.5} for identity in annotations},
        tiles=each,
        root={names.SLIDE_RISK: 0.5},
        step=WorkflowStep(names.STEP_NAME, "// nothing", {"record": "1"}),
    )


def score(folder: Path, tiles: int, engine: str) -> None:
    """Read the first image of a project and write results into it, half the tiles each outline."""
    with open_project(folder, engine) as project:
        entry = project.images[0]
        state = project.read(entry)
        results = some_results([each.index for each in state.annotations], tiles // 2)
        project.write(entry, results, state.stamp)


def rewrite(folder: Path) -> None:
    """Read and write the objects of the first image as QuPath does."""
    from qupath_hccmil.qupath.paquo.javadata import read_data, write_data

    data = read_data(folder / "data" / "1" / "data.qpdata")
    write_data(folder / "rewritten.qpdata", data)


def info(folder: Path) -> None:
    """``qupath-hccmil project info``."""
    from qupath_hccmil.cli import main

    # the slide is not there, which it tells by its exit code
    with contextlib.suppress(SystemExit):
        main(["project", "info", str(folder), "--engine", "native", "--json"])


def peak() -> int:
    """Bytes of memory that this process has had at most."""
    # ru_maxrss has the parent's peak in it: a child begins as its copy
    for line in STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no peak")


def measure(what: str, folder: Path, tiles: int) -> dict[str, float]:
    """Do one of the things that this module can do."""
    if what in ("paquo", "qupath"):
        from qupath_hccmil.qupath.paquo.jvm import start_qupath

        start_qupath()
    before, began = peak(), time.perf_counter()
    if what == "qupath":
        rewrite(folder)
    elif what == "info":
        info(folder)
    else:
        score(folder, tiles, what)
    return {"seconds": time.perf_counter() - began, "peak": peak() - before}


if __name__ == "__main__":
    taken = measure(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps(taken))
