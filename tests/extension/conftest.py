"""QuPath's windows, each opened once a session, with the extension in them."""

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    """Each QuPath whose window can be opened here, from the oldest to the newest."""
    return [folder for folder in qupath_dirs() if why_no_window(folder) is None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the versions of QuPath in whose window a test runs.

    That is the newest, and the oldest too for tests marked ``oldest_and_newest``.
    """
    scopes = {"window": "session", "window_without": "function"}
    for fixture in scopes.keys() & set(metafunc.fixturenames):
        folders = window_dirs()
        if not metafunc.config.getoption("--all-qupaths"):
            both = metafunc.definition.get_closest_marker("oldest_and_newest")
            folders = [*folders[:-1][: 1 if both else 0], *folders[-1:]]
        # with pytest-xdist, one process opens a window and runs all of its tests
        xdist = metafunc.config.pluginmanager.hasplugin("xdist")
        params = [
            pytest.param(
                folder,
                id=folder.name,
                marks=[pytest.mark.xdist_group(f"window of {folder.name}")] if xdist else [],
            )
            for folder in folders
        ]
        none = pytest.param(None, id="none")
        metafunc.parametrize(fixture, params or [none], indirect=True, scope=scopes[fixture])


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


@pytest.fixture(scope="session")
def window(request, tmp_path_factory, program) -> Iterator[QuPathWindow]:
    """An open QuPath with the extension installed and no project; the newest speaks German."""
    home = tmp_path_factory.mktemp("home") / "Müller, Ärztin"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command.sys, "argv", [str(program)])
        install(home / "QuPath" / "extensions")
    preferences = {}
    if request.param in window_dirs()[-1:]:
        # a comma is the decimal mark, and the menu has another name
        words = home / "QuPath" / "localization" / "qupath-gui-strings_de.properties"
        words.parent.mkdir()
        words.write_text("Menu.Extensions = Erweiterungen\n", encoding="utf-8")
        language = ("locale", "localeFormat", "localeDisplay")
        preferences = dict.fromkeys(language, "German (Germany)")
    with opened(request.param, home, preferences) as found:
        found.wait_for("hccmil.Watch.instance != null")
        yield found


@pytest.fixture
def window_without(request, tmp_path) -> Iterator[QuPathWindow]:
    """An open QuPath without the extension."""
    with opened(request.param, tmp_path / "home") as found:
        yield found


@contextmanager
def opened(
    qupath: Path | None, home: Path, preferences: dict[str, str] | None = None
) -> Iterator[QuPathWindow]:
    if qupath is None:
        reasons = {why_no_window(folder) for folder in qupath_dirs()}
        pytest.skip("; ".join(sorted(filter(None, reasons))) or "no QuPath: see CONTRIBUTING.md")
    window = QuPathWindow(qupath, home, preferences)
    try:
        yield window
    finally:
        window.close()
        # 200 MB of what Java unpacks
        shutil.rmtree(home)


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
    return lambda *names: make_project(tmp_path / "Projekt für Ärzte", slide, *names)


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
