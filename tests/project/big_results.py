"""Results for an image with many cells; run as a program, it tells how much memory they take."""

import sys
from pathlib import Path

import numpy as np

from qupath_hccmil.project.model import ImageResults, TileObjects, WorkflowStep
from qupath_hccmil.project.native.engine import NativeProject

NAMES = ("Tile risk", "Tile logit", "Tile contribution", "Tile nuclei fraction")


def some_results(annotations: list[str], tiles: int, *, missing: bool = False) -> ImageResults:
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
        root={"HCC-MIL: Slide risk": 0.5},
        step=WorkflowStep("HCC-MIL score", "// nothing", {"seed": "1"}),
    )


def score(folder: Path, tiles: int) -> None:
    """Read the first image of a project and write results into it."""
    with NativeProject(folder) as project:
        entry = project.images[0]
        state = project.read(entry)
        results = some_results([each.id for each in state.annotations], tiles)
        project.write(entry, results, state.stamp)


def peak() -> int:
    """Bytes of memory that this process has had at most."""
    # ru_maxrss would have the parent's peak in it: a child begins as its copy
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no peak")


def main(folder: str, tiles: str) -> None:
    before = peak()
    score(Path(folder), int(tiles))
    print(peak() - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
