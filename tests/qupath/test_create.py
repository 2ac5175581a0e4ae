"""Projects made without QuPath."""

import json
from pathlib import Path

import pytest
from PIL import Image

from qupath_hccmil.errors import ProjectError
from qupath_hccmil.qupath.create_project import VERSIONS, NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.native.qpdata import QpData
from tests.qupath.shapes import HOLED, PLAIN, TWO


def an_image(folder: Path) -> NewImage:
    return NewImage(
        folder / "slides" / "ä b.svs",
        "ä b.svs",
        2048,
        1024,
        0.25,
        downsamples=(1.0, 4.0),
        magnification=40,
        metadata={"Patient ID": "P 1"},
        annotations=[
            NewAnnotation(HOLED, "Tumor", "mine", locked=True),
            NewAnnotation(TWO, "Tumor: Positive"),
            NewAnnotation(PLAIN),
        ],
        thumbnail=Image.new("RGBA", (64, 32), "purple"),
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_given_is_in_it(tmp_path: Path, version: str) -> None:
    path = create_project(tmp_path / "new" / "p", [an_image(tmp_path)], qupath_version=version)
    with NativeProject(path) as project:
        assert project.qupath_version == version
        (entry,) = project.images
        state = project.read(entry)
    assert (entry.name, entry.metadata) == ("ä b.svs", {"Patient ID": "P 1"})
    server = entry.server
    assert server.uri == (tmp_path / "slides" / "ä b.svs").as_uri()
    assert (server.width, server.height, server.pixel_width) == (2048, 1024, 0.25)
    assert state.image_type == "BRIGHTFIELD_H_E"
    assert [(a.class_name, a.name, a.locked, a.roi) for a in state.annotations] == [
        ("Tumor", "mine", True, "geometry"),
        ("Tumor: Positive", None, False, "geometry"),
        (None, None, False, "polygon"),
    ]
    assert len({each.id for each in state.annotations}) == 3
    home = path.parent / "data" / "1"
    with Image.open(home / "thumbnail.jpg") as thumbnail:
        assert thumbnail.size == (64, 32)
    levels = json.loads((home / "server.json").read_text("utf-8"))["metadata"]["levels"]
    assert levels[1] == {"downsample": 4.0, "width": 512, "height": 256}
    assert QpData((home / "data.qpdata").read_bytes()).qupath_version == version


def test_an_image_without_resolution_stays_without(tmp_path: Path) -> None:
    path = create_project(tmp_path / "p", [NewImage(tmp_path / "a.png", "a.png", 10, 10)])
    with NativeProject(path) as project:
        assert project.images[0].server.pixel_width is None


def test_an_empty_folder_is_taken_and_a_full_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert create_project(tmp_path / "empty", []).is_file()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "work.txt").write_text("weeks of it")
    with pytest.raises(ProjectError, match="not empty"):
        create_project(tmp_path / "full", [])
    with pytest.raises(ProjectError, match="not empty"):
        create_project(tmp_path / "empty", [])
    assert [each.name for each in (tmp_path / "full").iterdir()] == ["work.txt"]


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProjectError, match="file"):
        create_project(tmp_path / "file" / "p", [])
    with pytest.raises(ProjectError, match="file"):
        create_project(tmp_path / "file", [])
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_other_versions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"0\.4\.4"):
        create_project(tmp_path / "p", [], qupath_version="0.4.4")
