"""Runs command lines in this process, and makes a project worth scoring."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from qupath_hccmil.cli.main import run
from qupath_hccmil.demo.demo_project import make_demo_project


@dataclass
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ran]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    def call(*arguments: object) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def drawn_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an unscored demo: a drawn slide with outlines."""
    folder = tmp_path_factory.mktemp("drawn") / "demo"
    make_demo_project(folder, drawn=True, drawn_size=(3000, 2400))
    return folder


@pytest.fixture
def project(drawn_demo: Path, tmp_path: Path) -> Path:
    """A copy of the demo project that a test may change; the slide comes along."""
    shutil.copytree(drawn_demo, tmp_path / "demo")
    return tmp_path / "demo" / "qupath"
