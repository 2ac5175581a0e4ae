"""Files that another program holds for a moment, as on Windows, on any system.

Linux and macOS have no such files, so here the real call is made to fail as Windows' does, which is
recognised by its number alone. This is the one thing that is pretended.
"""

import os
from pathlib import Path

import pytest

from qupath_hccmil import held_files


class HeldFile:
    """Refuses to replace or remove some files, the first `times` times of each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
        self.waits: list[float] = []
        self.refused = 0
        self._name, self._times = name, times
        self._replace, self._unlink = os.replace, Path.unlink
        monkeypatch.setattr(held_files.time, "sleep", self.waits.append)
        monkeypatch.setattr(os, "replace", self.replace)
        monkeypatch.setattr(Path, "unlink", lambda path, **how: self.unlink(path, **how))

    def replace(self, source: os.PathLike, target: os.PathLike) -> None:
        self._perhaps(Path(source), Path(target))
        self._replace(source, target)

    def unlink(self, path: Path, **how: bool) -> None:
        self._perhaps(path)
        self._unlink(path, **how)

    def _perhaps(self, *paths: Path) -> None:
        if self.refused < self._times and any(path.name == self._name for path in paths):
            self.refused += 1
            error = PermissionError(
                13,
                "The process cannot access the file because it is being used by another process",
                str(paths[-1]),
            )
            error.winerror = 32
            raise error


def mapped_files() -> set[str]:
    """Names of the files that this process has in its memory as a map."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("the maps of a process are told by Linux only")
    lines = maps.read_text(encoding="utf-8", errors="replace").splitlines()
    return {Path(line.split(maxsplit=5)[5]).name for line in lines if os.sep in line}
