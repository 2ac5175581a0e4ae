"""Copies of the real projects, and a QuPath of each version in a process of its own."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import qupath_hccmil.errors
from tests.conftest import ROOT, qupath_dirs

REAL = ("qupath-0_5_1", "qupath-0_6_0", "qupath-0_7_0")


def copied(source: Path, target: Path) -> Path:
    """Copy a folder and make the copy writable."""
    shutil.copytree(source, target)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


@pytest.fixture
def real_project(data_dir: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copy a real project, in the layout that leads to its slide; give the folder."""

    def make(name: str, where: str = "projects") -> Path:
        if not (tmp_path / "slides").exists():
            (tmp_path / "slides").symlink_to(data_dir / "slides")
        return copied(data_dir / "projects" / name, tmp_path / where / name)

    return make


class QuPathProcess:
    """A QuPath that runs: one process starts one Java."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("qupath_process.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PAQUO_QUPATH_DIR": str(folder), "PYTHONPATH": str(ROOT)},
        )

    def __call__(self, task: str, *arguments: Any) -> Any:
        """Do a task of ``qupath_process.py``; errors of ours are raised here again."""
        pickle.dump((task, arguments), self._process.stdin)
        self._process.stdin.flush()
        answer, error = pickle.load(self._process.stdout)
        if error is not None:
            kind, message = error
            raise getattr(qupath_hccmil.errors, kind, RuntimeError)(message)
        return answer

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def qupaths() -> Iterator[Callable[[Path], QuPathProcess]]:
    """Start a QuPath, once a session."""
    running: dict[Path, QuPathProcess] = {}

    def start(folder: Path) -> QuPathProcess:
        if folder not in running:
            running[folder] = QuPathProcess(folder)
        return running[folder]

    yield start
    for process in running.values():
        process.close()


@pytest.fixture(
    params=qupath_dirs() or [None], ids=lambda folder: folder.name if folder else "none"
)
def qupath(request: pytest.FixtureRequest, qupaths) -> QuPathProcess:
    """Each QuPath there is, in turn."""
    if request.param is None:
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    return qupaths(request.param)
