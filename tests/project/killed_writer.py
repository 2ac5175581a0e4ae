"""Kills a transaction at every event that touches the file system, one process a place.

Usage: python killed_writer.py FOLDER. Prints, a place a line, what a reader finds afterwards.
"""

import os
import shutil
import sys
from pathlib import Path

from qupath_hccmil.project.writing.safety import Replacement, WriteRun, stamp

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.copymode"}


def write(folder: Path) -> None:
    with WriteRun(folder) as run:
        run.replace([_replacement(folder / name, b"first") for name in ("a", "b", "sub/c")])
        second = [_replacement(folder / name, b"second") for name in ("a", "b", "d")]
        run.replace(
            [*second[:2], Replacement(folder / "sub/c", None, stamp(folder / "sub/c")), second[2]]
        )


def _replacement(path: Path, content: bytes) -> Replacement:
    return Replacement.of_bytes(path, content, stamp(path))


def killed_at(folder: Path, place: int) -> bool:
    """Run in a child that dies at the given event; whether it got that far."""
    child = os.fork()
    if child == 0:
        left = [place]

        def count(event: str, args: tuple[object, ...]) -> None:
            if event in EVENTS and str(folder) in str(args[0]):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), 9)

        sys.addaudithook(count)
        write(folder)
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


def state(folder: Path) -> str:
    names = ("a", "b", "sub/c", "d")
    contents = [(folder / name).read_text() if (folder / name).exists() else "-" for name in names]
    left = [path.name for path in folder.rglob("*") if path.name.endswith("hccmil-tmp")]
    return " ".join(contents + left)


def main(top: Path) -> None:
    place = 0
    while True:
        folder = top / str(place)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in ("a", "b"):
            (folder / name).write_text("old")
        died = killed_at(folder, place)
        # the next run meets the dead one's lock and journal
        with WriteRun(folder) as run:
            run.begin()
        print(state(folder))
        if not died:
            return
        place += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
