"""Objects that nobody can score are named and left as they are; the image is done all the same."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from qupath_hccmil.qupath.names import CLASS_HIGH, is_our_class
from qupath_hccmil.qupath.native.javanodes import JavaString, encode
from qupath_hccmil.qupath.native.javastream import serialise
from qupath_hccmil.qupath.native.native_project import parse
from qupath_hccmil.qupath.native.pathobjects import PathObject, full_class_name, walk
from qupath_hccmil.qupath.project_differences import difference
from tests.qupath.engines import NATIVE, assert_same_state, results_for
from tests.qupath.odd_objects import HALF_A_PAIR, ODD, odd_project

SAID = {
    "one corner": "is a polygon of fewer than three corners",
    "no corner": "is a polygon of fewer than three corners",
    "two corners": "is a polygon of fewer than three corners",
    "NaN corner": "has a corner whose position is not a number",
    "infinite corner": "has a corner whose position is not a number",
    "NaN rectangle": "has a corner whose position is not a number",
    "empty polygon": "has an empty region",
    "empty collection": "has an empty region",
    "NaN in a hole": "has a corner whose position is not a number",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return odd_project(tmp_path / "project", tmp_path / "a.svs", size=(1000, 1000)).parent


def regions(project: Path) -> dict[str, bytes]:
    """Stored form of each region and name in a data file, but of our tiles."""
    data = parse(project / "data" / "1" / "data.qpdata")
    return {
        view.id: serialise([view.node.parts[0], view.roi])
        for view, _ in walk(data.root)
        if not is_our_class(full_class_name(view.path_class))
    }


def test_odd_objects_are_named(project: Path) -> None:
    [state] = NATIVE("read", project)
    sound, *odd = state.annotations
    assert (sound.name, sound.odd, sound.geometry.area) == ("half \ufffd a pair", "", 1e6)
    assert {each.name: each.odd for each in odd} == SAID
    assert all(each.geometry is None for each in odd)
    assert state.notes == tuple(f"{name}: {why}; it is left as it is" for name, why in SAID.items())


def test_they_stay_byte_for_byte(project: Path, tmp_path: Path) -> None:
    before = shutil.copytree(project, tmp_path / "before")
    stored = regions(project)
    assert len(stored) == 2 + len(ODD)
    assert any(encode(HALF_A_PAIR) in each for each in stored.values())
    [state] = NATIVE("read", project)
    NATIVE("write", project, {"1": results_for(state)}, {"1": state.stamp})
    [scored] = NATIVE("read", project)
    assert list(scored.results.tiles) == [0]
    assert regions(project) == stored
    assert difference(before, project) == []


def test_a_difference_in_an_odd_object_is_told(project: Path, tmp_path: Path) -> None:
    before = shutil.copytree(project, tmp_path / "before")
    path = project / "data" / "1" / "data.qpdata"
    data = parse(path)
    one, two = [PathObject(each) for each in PathObject(data.root).children[1:3]]
    one.node.parts[one.class_at + 1] = two.roi
    path.write_bytes(data.to_bytes())
    [line] = difference(before, project)
    assert "one corner" in line
    assert "polygon is a polygon of fewer than three corners" in line


def test_names_that_are_no_text_do_no_harm_anywhere(project: Path) -> None:
    path = project / "data" / "1" / "data.qpdata"
    data = parse(path)
    view = PathObject(PathObject(data.root).children[0])
    name = JavaString(encode("Tumor \udc00\ud83e"))
    view.path_class.parts[view.path_class.desc.layout["name"][0]] = name
    path.write_bytes(data.to_bytes())
    [state] = NATIVE("read", project)
    assert state.annotations[0].class_name == "Tumor \ufffd\ufffd"
    NATIVE("write", project, {"1": results_for(state)}, {"1": state.stamp})
    assert name.data in path.read_bytes()


@pytest.mark.qupath
@pytest.mark.parametrize("name", ODD)
def test_both_engines_read_an_odd_object_alike(qupath, tmp_path: Path, name: str) -> None:
    project = odd_project(
        tmp_path / "project", tmp_path / "a.svs", (name,), size=(1000, 1000)
    ).parent
    [ours], [theirs] = NATIVE("read", project), qupath("read", project)
    assert_same_state(ours, theirs)
    assert ours.notes == theirs.notes == (f"{name}: {SAID[name]}; it is left as it is",)


@pytest.mark.qupath
def test_both_engines_leave_odd_objects_as_they_are(qupath, project: Path, tmp_path: Path) -> None:
    other = shutil.copytree(project, tmp_path / "other")
    before = shutil.copytree(project, tmp_path / "before")
    stored = regions(project)
    for engine, folder in ((NATIVE, project), (qupath, other)):
        [state] = engine("read", folder)
        engine("write", folder, {"1": results_for(state)}, {"1": state.stamp})
        assert regions(folder) == stored
        assert difference(before, folder) == []
    states = [
        engine("read", folder)[0] for engine in (NATIVE, qupath) for folder in (project, other)
    ]
    for state in states[1:]:
        assert_same_state(states[0], state)
    [tiles] = states[0].results.tiles.values()
    assert np.isfinite(tiles.bounds).all()
    assert CLASS_HIGH in tiles.class_names


@pytest.mark.qupath
def test_both_engines_read_names_that_are_no_text_alike(qupath, project: Path) -> None:
    path = project / "data" / "1" / "data.qpdata"
    data = parse(path)
    view = PathObject(PathObject(data.root).children[0])
    at = view.path_class.desc.layout["name"][0]
    odd = ("\ud83e", "\udc00", "a\ud83e\ud83e\udc00b", "\udc00\ud83e", "end\ud83e", "\ud83e\udd2f")
    for text in odd:
        view.node.parts[0] = JavaString(encode(f"name {text}"))
        view.path_class.parts[at] = JavaString(encode(f"class {text}"))
        path.write_bytes(data.to_bytes())
        [ours], [theirs] = NATIVE("read", project), qupath("read", project)
        assert_same_state(ours, theirs)
        assert ("\ufffd" in ours.annotations[0].name) == (text != odd[-1])
