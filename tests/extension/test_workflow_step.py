"""The script of the workflow step, run by QuPath as *Run for project* runs it."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from qupath_hccmil.cli.main import run
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import ImageState
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.staleness import recorded
from tests.conftest import ROOT, qupath_dirs
from tests.extension.conftest import make_project
from tests.qupath.conftest import copied

pytestmark = pytest.mark.qupath


def runs_scripts(folder: Path) -> bool:
    """Whether a QuPath is whole enough for its command line."""
    java = folder / "lib" / "runtime" / "bin" / "java"
    return java.exists() and bool(list((folder / "lib" / "app").glob("qupath-app-*.jar")))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the script in the newest QuPath, or in every one; windows run it too."""
    if "qupath" in metafunc.fixturenames:
        found = [each for each in qupath_dirs() if runs_scripts(each)]
        chosen = found if metafunc.config.getoption("--all-qupaths") else found[-1:]
        metafunc.parametrize("qupath", chosen or [None], ids=lambda each: each and each.name)


def script(qupath: Path, script: Path, project: Path, home: Path, **environment: str) -> str:
    """What QuPath prints while it runs a script for each image of a project and saves it."""
    app = qupath / "lib" / "app"
    done = subprocess.run(
        [
            *(qupath / "lib" / "runtime" / "bin" / "java", f"-Duser.home={home}"),
            *(f"-Djava.util.prefs.userRoot={home}", f"-Djava.library.path={app}"),
            *("-cp", f"{app}/*", "qupath.QuPath", "script", "--save", "--project", project, script),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def scored(tmp_path_factory, slide) -> Path:
    """Folder of a project: three tiles of its first image are scored, none of its second."""
    project = make_project(tmp_path_factory.mktemp("scored") / "project", slide, "one", "two")
    options = ["--engine", "native", "--quiet", "--image", "one", "--max-tiles", "3"]
    assert run(["score", str(project), *options]) == 0
    return project.parent


def users(state: ImageState) -> list:
    """What is the user's in an image."""
    outlines = [replace(each, measurements={}) for each in state.annotations]
    return [state.image_type, outlines, state.object_count]


def states(project: Path) -> list[ImageState]:
    with NativeProject(project) as opened:
        return [opened.read(entry) for entry in opened.images]


def test_each_image_of_the_project_is_scored_and_saved_with_its_score(qupath, scored, tmp_path):
    if qupath is None:
        pytest.skip("no QuPath that runs scripts: see CONTRIBUTING.md")
    project = copied(scored, tmp_path / "project")
    before = states(project)
    text = before[0].results.step.script
    (tmp_path / "step.groovy").write_text(text, encoding="utf-8")
    said = script(qupath, tmp_path / "step.groovy", project / "project.qpproj", tmp_path)
    after = states(project)
    for state in after:
        assert state.results.root[names.SLIDE_TILES] == 3, said
        assert recorded(state).settings["max_tiles"] == 3
        assert state.entry.metadata[names.META_TILES] == "3"
    assert recorded(after[0]).time != recorded(before[0]).time
    assert after[0].results.root == pytest.approx(before[0].results.root)
    assert "Note: this model" not in said
    assert list(map(users, after)) == list(map(users, before))


def test_where_the_command_is_not_there_it_says_what_is_missing(scored, tmp_path):
    found = [each for each in qupath_dirs() if runs_scripts(each)]
    if not found:
        pytest.skip("no QuPath that runs scripts: see CONTRIBUTING.md")
    project = copied(scored, tmp_path / "project")
    text = states(project)[0].results.step.script
    gone = tmp_path / "step.groovy"
    gone.write_text(text.replace('qupath-hccmil"]', 'gone"]'), encoding="utf-8")
    assert '/gone"]' in gone.read_text("utf-8")
    said = script(found[-1], gone, project / "project.qpproj", tmp_path, PATH=str(tmp_path))
    assert "The program qupath-hccmil is not on this computer" in said
    assert "then run: qupath-hccmil qupath install" in said
    after = states(project)
    assert after[0].results.root[names.SLIDE_TILES] == 3
    assert recorded(after[0]).time == recorded(states(scored)[0]).time
    assert not after[1].results.root


def test_the_script_names_what_ran(scored):
    state = states(scored)[0]
    record, text = recorded(state), state.results.step.script
    assert f"engine native, model {record.model} ({record.weights_sha256[:12]})" in text
    assert '"--engine", "native", "--max-tiles", "3"' in text
    assert record.weights_sha256 in text
    assert '"id:" + entry.getID()' in text
