"""What an image with many cells takes: memory by the size of its file, time by QuPath's own.

    python scripts/proofs/big_hierarchy.py [--cells N] [--tiles N] [--qupath DIR] [--json FILE]

Makes a project whose image has N cells with 30 measurements each. Both engines read it, add tiles
and write it, verified and with a backup; QuPath's own classes read and write the objects alone.
Each runs in a process of its own, one after the other. The exit code is 1 when the native engine
takes more than 6 times the file's size of memory, or 3 times QuPath's time.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.conftest import qupath_dirs  # noqa: E402
from tests.qupath.big_image import write_big_project  # noqa: E402

MOST_MEMORY = 6.0
MOST_TIME = 3.0


def run(what: str, folder: Path, tiles: int, qupath: Path | None) -> dict[str, float]:
    """Seconds and peak of memory of one way to go through the project, on a copy of it."""
    copy = folder.with_name(what)
    shutil.copytree(folder, copy)
    named = {"PAQUO_QUPATH_DIR": str(qupath)} if qupath else {}
    done = subprocess.run(
        [sys.executable, "-m", "tests.qupath.big_results", what, str(copy), str(tiles)],
        cwd=ROOT,
        env={**os.environ, **named},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    shutil.rmtree(copy)
    taken: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return taken


def measured(cells: int, tiles: int, qupath: Path | None) -> dict[str, float | int | str]:
    """All numbers."""
    with tempfile.TemporaryDirectory() as home:
        folder = write_big_project(Path(home) / "project", cells).parent
        size = (folder / "data" / "1" / "data.qpdata").stat().st_size
        found: dict[str, float | int | str] = {"cells": cells, "tiles": tiles, "file bytes": size}
        ways = ["info", "native", *(["qupath", "paquo"] if qupath else [])]
        for what in ways:
            taken = run(what, folder, tiles, qupath)
            found[f"{what} seconds"] = round(taken["seconds"], 2)
            found[f"{what} memory/file"] = round(taken["peak"] / size, 2)
        for what in ("native", "paquo") if qupath else ():
            ratio = float(found[f"{what} seconds"]) / float(found["qupath seconds"])
            found[f"{what}/qupath time"] = round(ratio, 2)
    if qupath:
        found["qupath"] = qupath.name
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=500_000)
    parser.add_argument("--tiles", type=int, default=20_000)
    parser.add_argument("--qupath", type=Path, default=next(reversed(qupath_dirs()), None))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measured(options.cells, options.tiles, options.qupath)
    for name, value in found.items():
        print(f"{name:22} {value}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="ascii")
    good = float(found["native memory/file"]) <= MOST_MEMORY
    good &= float(found.get("native/qupath time", 0)) <= MOST_TIME
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
