"""The choice of engine: paquo where a QuPath is there and starts, else native; it says which."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import shapely

from qupath_hccmil.errors import ProjectError
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.open_project import open_project
from qupath_hccmil.qupath.qupath_versions import version_number
from tests.conftest import ROOT, qupath_dirs

OPEN = """
import json, logging, sys
from pathlib import Path
logging.basicConfig(stream=sys.stderr, format="%(message)s")
from qupath_hccmil.errors import HccMilError
from qupath_hccmil.qupath.open_project import find_qupath, open_project
path, engine = Path(sys.argv[1]), sys.argv[2]
try:
    found = find_qupath()
    said = found and found.version
except HccMilError as error:
    said = str(error)
try:
    with open_project(path, engine) as project:
        answer = [project.engine, project.qupath_version, len(project.images)]
except HccMilError as error:
    answer = [type(error).__name__, str(error)]
heavy = [m for m in ("torch", "paquo.java", "pandas", "openvino") if m in sys.modules]
print(json.dumps({"found": said, "opened": answer, "loaded": heavy}))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    box = shapely.box(10, 10, 500, 400)
    image = NewImage(
        tmp_path / "a.svs", "a", 1000, 800, 0.5, annotations=[NewAnnotation(box, "Tumor")]
    )
    return create_project(tmp_path / "project 1.0", [image])


def opened(project: Path, engine: str, **environment: str) -> dict:
    """Open in a process of its own: paquo looks at the environment once."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PAQUO_")}
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(project), engine],
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        check=True,
        text=True,
    )
    return {**json.loads(done.stdout), "log": done.stderr}


NONE = {
    "PAQUO_QUPATH_SEARCH_DIRS": "[]",
    "PAQUO_QUPATH_SEARCH_CONDA": "false",
}


def test_without_qupath_native_is_taken(project):
    answer = opened(project, "auto", **NONE)
    assert answer["found"] is None
    assert answer["opened"] == ["native", "0.6.0", 1]
    assert answer["loaded"] == []


def test_without_qupath_paquo_says_what_to_do(project):
    [kind, message] = opened(project, "paquo", **NONE)["opened"]
    assert kind == "EngineError"
    assert message.startswith("no QuPath was found; ")
    assert "PAQUO_QUPATH_DIR" in message
    assert "--engine native" in message
    assert "\n" not in message


@pytest.mark.parametrize("made", [False, True], ids=["no folder", "no QuPath in it"])
def test_a_qupath_that_is_named_and_is_none_is_said(project, tmp_path, made):
    named = tmp_path / "QuPath"
    if made:
        named.mkdir()
    [kind, message] = opened(project, "paquo", PAQUO_QUPATH_DIR=str(named))["opened"]
    assert kind == "EngineError"
    assert f"{named}: is not a QuPath" in message
    answer = opened(project, "auto", PAQUO_QUPATH_DIR=str(named))
    assert answer["opened"][0] == "native"
    assert str(named) in answer["log"]


def test_a_qupath_that_does_not_start_leaves_native(project, tmp_path):
    named = tmp_path / "QuPath-0.6.0"
    for folder in ("lib/app", "lib/runtime/lib/server"):
        (named / folder).mkdir(parents=True)
    (named / "lib" / "app" / "qupath-core-0.6.0.jar").touch()
    (named / "lib/runtime/lib/server/libjvm.so").write_text("no library")
    environment = {"PAQUO_QUPATH_DIR": str(named)}
    answer = opened(project, "auto", **environment)
    assert answer["found"] == "0.6.0"
    assert answer["opened"] == ["native", "0.6.0", 1]
    assert "does not start" in answer["log"]
    [kind, message] = opened(project, "paquo", **environment)["opened"]
    assert kind == "EngineError"
    assert "\n" not in message


@pytest.mark.qupath
@pytest.mark.parametrize("engine", ["auto", "paquo", "native"])
def test_with_qupath_paquo_is_taken_unless_native_is_asked_for(project, engine):
    if not qupath_dirs():
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    folder = qupath_dirs()[0]
    answer = opened(project, engine, PAQUO_QUPATH_DIR=str(folder))
    assert answer["found"] == folder.name.removeprefix("QuPath-")
    assert answer["opened"] == ["native" if engine == "native" else "paquo", "0.6.0", 1]
    assert answer["log"] == ""


@pytest.mark.parametrize("engine", ["auto", "native"])
def test_what_is_no_project_is_refused_before_java_starts(tmp_path, engine):
    for path in (tmp_path, tmp_path / "none", ROOT / "pyproject.toml"):
        with pytest.raises(ProjectError, match=r"\.qpproj") as error:
            open_project(path, engine)
        assert str(path) in str(error.value)


def test_versions_are_told_apart():
    assert version_number("0.6.0-SNAPSHOT") == (0, 6)
    assert version_number("v0.7.0") == (0, 7)
    assert version_number("unknown") == (0, 0)
