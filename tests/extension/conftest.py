"""QuPath's windows, each opened once a session, with the extension in them."""

import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import shapely

from qupath_hccmil.demo.demo_project import make_demo_project
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.extension import command
from qupath_hccmil.qupath.extension.installation import install
from tests.conftest import ROOT, qupath_dirs
from tests.extension.groovy_process import GroovyProcess, groovies
from tests.extension.window import QuPathWindow, why_no_window

SIZE = (3000, 2400)


def window_dirs() -> list[Path]:
    """The oldest and the newest QuPath whose window can be opened here."""
    found = [folder for folder in qupath_dirs() if why_no_window(folder) is None]
    return found if len(found) < 3 else [found[0], found[-1]]


@pytest.fixture(scope="session")
def program(tmp_path_factory) -> Path:
    """The command as a program, in a folder with a name as people give them."""
    path = tmp_path_factory.mktemp("programs") / "Programme für Ärzte" / "qupath-hccmil"
    path.parent.mkdir()
    words = shlex.join([sys.executable, "-m", "qupath_hccmil"])
    path.write_text(
        f'#!/bin/sh\nexport PYTHONPATH={shlex.quote(str(ROOT))}\nexec {words} "$@"\n',
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path


@pytest.fixture(
    scope="session",
    params=window_dirs() or [None],
    ids=lambda folder: folder.name if folder else "none",
)
def window(request, tmp_path_factory, program) -> Iterator[QuPathWindow]:
    """An open QuPath of each version in turn, with the extension installed and no project."""
    if request.param is None:
        reasons = {why_no_window(folder) for folder in qupath_dirs()}
        pytest.skip("; ".join(sorted(filter(None, reasons))) or "no QuPath: see CONTRIBUTING.md")
    home = tmp_path_factory.mktemp("home") / "Müller, Ärztin"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command.sys, "argv", [str(program)])
        install(home / "QuPath" / "extensions")
    preferences = {}
    if request.param == window_dirs()[-1]:
        # one of them speaks German, where a comma is the decimal mark
        words = home / "QuPath" / "localization" / "qupath-gui-strings_de.properties"
        words.parent.mkdir()
        words.write_text("Menu.Extensions = Erweiterungen\n", encoding="utf-8")
        language = ("locale", "localeFormat", "localeDisplay")
        preferences = dict.fromkeys(language, "German (Germany)")
    opened = QuPathWindow(request.param, home, preferences)
    opened.wait_for("hccmil.Watch.instance != null")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def slide(tmp_path_factory) -> Path:
    """A drawn slide of 3000 × 2400 px at 0.25 µm/px."""
    folder = tmp_path_factory.mktemp("drawn") / "demo"
    make_demo_project(folder, drawn=True, drawn_size=SIZE)
    (found,) = (folder / "slides").glob("*.tif")
    return found


def make_project(folder: Path, slide: Path, *names: str) -> Path:
    """A project of a slide under several names, with outlines of Tumor and Stroma; its file."""
    outlines = [
        NewAnnotation(shapely.box(500, 400, 2500, 2000), "Tumor", "Nodule"),
        NewAnnotation(shapely.box(100, 100, 400, 300), "Stroma", "Beside it"),
    ]
    images = [NewImage(slide, name, *SIZE, 0.25, annotations=outlines) for name in names]
    return create_project(folder, images)


@pytest.fixture
def made_project(slide, tmp_path) -> Callable[..., Path]:
    """Makes a project of the drawn slide under the given names; gives its file."""
    return lambda *names: make_project(tmp_path / "project", slide, *names)


@pytest.fixture(
    scope="session",
    params=groovies() or [None],
    ids=lambda found: found.name if found else "none",
)
def groovy_process(request) -> Iterator[GroovyProcess]:
    """The extension's logic in the oldest and the newest Groovy here, without a window."""
    if request.param is None:
        pytest.skip("no Groovy with Gson and JTS: neither a QuPath nor Debian's are here")
    process = GroovyProcess(request.param)
    yield process
    process.close()
