"""What is wrong with one image in a project's list is that image's alone; the others are done."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from qupath_hccmil.errors import ProjectError
from qupath_hccmil.qupath.names import META_GROUP
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.project_differences import difference
from qupath_hccmil.qupath.qpproj import read_project, with_our_metadata
from qupath_hccmil.qupath.writing.project_list import our_metadata
from tests.conftest import ROOT
from tests.qupath.engines import results_for

SOURCE = ROOT / "tests" / "data" / "projects" / "qupath-0.6.0"
TUMOUR = "6"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SOURCE, tmp_path / "project"))


def change(project: Path, how: Callable[[dict], object]) -> None:
    path = project / "project.qpproj"
    content = json.loads(path.read_bytes())
    how(content)
    path.write_text(json.dumps(content, ensure_ascii=False), "utf-8")


def without(key: str) -> Callable[[dict], object]:
    return lambda image: image.pop(key)


def with_server(**changes: object) -> Callable[[dict], object]:
    return lambda image: image["serverBuilder"].update(changes)


DAMAGES = {
    "null server": lambda image: image.update(serverBuilder=None),
    "text for a server": lambda image: image.update(serverBuilder="file:/a.svs"),
    "missing server": without("serverBuilder"),
    "missing id": without("entryID"),
    **{
        f"id {bad!r}": lambda image, bad=bad: image.update(entryID=bad)
        for bad in ("../../elsewhere", "/etc", "1/../2", None, [], "1e3", {}, 1e400)
    },
    "list of metadata": lambda image: image.update(metadata=["a"]),
    "infinite width": with_server(metadata={"width": 1e400}),
    "calibration in a list": with_server(metadata={"pixelCalibration": [1]}),
    "no length": with_server(
        metadata={"pixelCalibration": {"pixelWidth": {"value": {}, "unit": "µm"}}}
    ),
    "args are a text": with_server(args="--series 0"),
    "args are a number": with_server(args=7),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_one_image_is_named_and_the_others_are_done(project: Path, damage) -> None:
    before = {entry.id: entry for entry in read_project(project / "project.qpproj").images}
    change(project, lambda content: damage(content["images"][0]))
    raw = json.loads((project / "project.qpproj").read_bytes())["images"][0]
    with NativeProject(project) as opened:
        first, *others = opened.images
        assert first.problem.startswith("the entry of this image in the project's list is damaged")
        assert "\n" not in first.problem
        assert others == [before[entry.id] for entry in others]
        with pytest.raises(ProjectError, match="the project's list is damaged"):
            opened.read(first)
        with pytest.raises(ProjectError, match="the project's list is damaged"):
            opened.write(first, results_for(opened.read(others[0])), "")
        [tumour] = [entry for entry in others if entry.id == TUMOUR]
        state = opened.read(tumour)
        opened.write(tumour, results_for(state), state.stamp)
    after = json.loads((project / "project.qpproj").read_bytes())["images"]
    assert after[0] == raw
    assert after[5]["metadata"][META_GROUP] == "high"
    assert TUMOUR in our_metadata(project / "project.qpproj")
    assert difference(project, project) == []


@pytest.mark.parametrize("raw", [None, 7, "image", ["image"]], ids=repr)
def test_what_is_no_image_is_one_with_a_problem(project: Path, raw) -> None:
    change(project, lambda content: content["images"].insert(0, raw))
    first, second, *_ = read_project(project / "project.qpproj").images
    assert (first.id, first.name, bool(first.problem)) == ("?1", "image 1 of the list", True)
    assert not second.problem
    path = project / "project.qpproj"
    content = with_our_metadata(path.read_bytes(), {TUMOUR: {META_GROUP: "low"}})
    assert json.loads(content)["images"][0] == raw
    assert difference(project, project) == []


def test_images_that_share_an_id_are_named_and_the_others_are_done(project: Path) -> None:
    change(project, lambda content: content["images"][0].update(entryID=2))
    first, second, *others = read_project(project / "project.qpproj").images
    assert [first.id, second.id] == ["2", "?2"]
    for entry in (first, second):
        assert entry.problem.startswith("2 images have the same entry ID 2, so they would share")
    assert not any(entry.problem for entry in others)


def test_half_a_surrogate_pair_becomes_a_replacement_character(project: Path) -> None:
    def damage(content: dict) -> None:
        content["images"][0].update(imageName="a\ud83eb", metadata={"k\udc00": "v\ud83e"})

    path = project / "project.qpproj"
    content = json.loads(path.read_bytes())
    damage(content)
    path.write_text(json.dumps(content), "ascii")
    entry = read_project(path).images[0]
    assert (entry.name, dict(entry.metadata)) == ("a\ufffdb", {"k\ufffd": "v\ufffd"})
    changed = with_our_metadata(path.read_bytes(), {entry.id: {META_GROUP: "low"}})
    assert rb'"v\ud83e"' in changed
    assert rb'"a\ud83eb"' in changed
