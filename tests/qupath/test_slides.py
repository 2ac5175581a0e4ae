"""A slide is found wherever QuPath would find it, and in the folder the user names."""

import os
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from qupath_hccmil.errors import SlideError, SlideMissingError
from qupath_hccmil.qupath.data_types import ImageEntry, Server
from qupath_hccmil.qupath.slide_location import locate_slide, path_of_uri


def entry(uri: str, name: str = "Case 7") -> ImageEntry:
    return ImageEntry(id="1", name=name, server=Server(builder="uri", provider="p", uri=uri))


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:/data/a.svs", PurePosixPath("/data/a.svs")),
        ("file:///data/a.svs", PurePosixPath("/data/a.svs")),
        ("file://localhost/data/a.svs", PurePosixPath("/data/a.svs")),
        ("FILE:/data/a.svs", PurePosixPath("/data/a.svs")),
        ("file:/data/a%20b%23c%3F.svs", PurePosixPath("/data/a b#c?.svs")),
        ("file:/data/a+b.svs", PurePosixPath("/data/a+b.svs")),
        ("file:/data/%E8%82%9D%E7%99%8C.svs", PurePosixPath("/data/肝癌.svs")),
        ("file:/data/肝癌.svs", PurePosixPath("/data/肝癌.svs")),
        ("file:/data/a.vsi?name=x#2", PurePosixPath("/data/a.vsi")),
        ("/data/a b.svs", PurePosixPath("/data/a b.svs")),
        ("file:/C:/My%20slides/a.svs", PureWindowsPath("C:/My slides/a.svs")),
        ("file:///D:/a.svs", PureWindowsPath("D:/a.svs")),
        ("C:\\slides\\a.svs", PureWindowsPath("C:/slides/a.svs")),
        ("file:////server/share/a.svs", PureWindowsPath("//server/share/a.svs")),
        ("file://server/share/a.svs", PureWindowsPath("//server/share/a.svs")),
        ("\\\\server\\share\\a.svs", PureWindowsPath("//server/share/a.svs")),
        ("https://idr.example.org/image/1", None),
        ("omero:iid=3", None),
    ],
)
def test_every_spelling_of_a_uri_is_understood(uri, path):
    found = path_of_uri(uri)
    assert found == path
    assert type(found) is type(path)


@pytest.mark.parametrize("name", ["a.svs", "a b#c%20.svs", "肝癌 ü.svs"])
def test_the_stored_place_comes_first(tmp_path, name):
    slide = tmp_path / name
    slide.touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / name).touch()
    found = locate_slide(entry(slide.as_uri()), tmp_path / "p.qpproj", None, tmp_path / "other")
    assert found == slide


@pytest.mark.parametrize(
    ("stored", "previous"),
    [
        ("file:/old/slides/a b.svs", "file:/old/projects/p/project.qpproj"),
        ("file:///old/slides/a%20b.svs", "file:/old/projects/p/project.qpproj"),
        ("file:/C:/old/slides/a%20b.svs", "file:/c:/OLD/projects/p/project.qpproj"),
        (
            "file:////server/share/slides/a%20b.svs",
            "file://server/share/projects/p/project.qpproj",
        ),
    ],
)
def test_a_slide_that_moved_with_its_project_is_found(tmp_path, stored, previous):
    (tmp_path / "slides").mkdir()
    slide = tmp_path / "slides" / "a b.svs"
    slide.touch()
    project = tmp_path / "projects" / "p" / "project.qpproj"
    assert locate_slide(entry(stored), project, previous) == slide


@pytest.mark.parametrize(
    ("stored", "previous"),
    [
        ("file:/D:/slides/a.svs", "file:/C:/p/project.qpproj"),
        ("file:/C:/slides/a.svs", "file:/home/p/project.qpproj"),
        ("file:/slides/a.svs", "not a uri"),
    ],
)
def test_places_that_have_nothing_in_common_are_just_missing(tmp_path, stored, previous):
    with pytest.raises(SlideMissingError, match="Case 7"):
        locate_slide(entry(stored), tmp_path / "project.qpproj", previous)


def test_a_folder_of_slides_is_searched_by_file_name(tmp_path):
    slide = tmp_path / "slides" / "2024" / "b" / "a b.svs"
    slide.parent.mkdir(parents=True)
    slide.touch()
    found = locate_slide(
        entry("file:/gone/a%20b.svs"), tmp_path / "p.qpproj", None, tmp_path / "slides"
    )
    assert found == slide


def test_accents_match_however_a_system_writes_them(tmp_path):
    slide = tmp_path / unicodedata.normalize("NFC", "Müller.svs")
    slide.touch()
    uri = "file:/gone/" + unicodedata.normalize("NFD", "Müller.svs")
    assert locate_slide(entry(uri), tmp_path / "p.qpproj", None, tmp_path) == slide


def test_two_files_of_one_name_are_not_guessed_between(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "s.svs").touch()
    with pytest.raises(SlideError) as error:
        locate_slide(entry("file:/gone/s.svs"), tmp_path / "p.qpproj", None, tmp_path)
    message = str(error.value)
    assert str(tmp_path / "a" / "s.svs") in message
    assert str(tmp_path / "b" / "s.svs") in message
    assert "\n" not in message


@pytest.mark.parametrize("uri", ["file:/gone/s.svs", "https://idr.example.org/s.svs"])
def test_a_missing_slide_is_named_with_what_to_do(tmp_path, uri):
    with pytest.raises(SlideMissingError, match=r"Case 7: .*s\.svs.*--slides DIR") as error:
        locate_slide(entry(uri), tmp_path / "p.qpproj")
    assert "\n" not in str(error.value)
    with pytest.raises(
        SlideMissingError, match=r"Case 7: there is no file s\.svs in .*--slides DIR"
    ):
        locate_slide(entry(uri), tmp_path / "p.qpproj", None, tmp_path)


def test_a_slide_of_a_web_server_may_be_on_disk_too(tmp_path):
    (tmp_path / "s.svs").touch()
    found = locate_slide(
        entry("https://idr.example.org/s.svs?x=1"), tmp_path / "p.qpproj", None, tmp_path
    )
    assert found == tmp_path / "s.svs"


def test_the_folder_of_slides_must_be_one(tmp_path):
    with pytest.raises(SlideError, match="is not a folder"):
        locate_slide(entry("file:/gone/s.svs"), tmp_path / "p", None, tmp_path / "nope")


def test_the_real_project_finds_its_slide(data_dir: Path):
    slide = locate_slide(
        entry("file:///data/hcc/slides/CMU-1-Small-Region.svs"),
        data_dir / "projects" / "qupath-0_6_0" / "project.qpproj",
        "file:/data/hcc/projects/qupath-0_6_0/project.qpproj",
    )
    assert slide == (data_dir / "slides" / "CMU-1-Small-Region.svs").absolute()


@pytest.mark.parametrize(
    "uri",
    [
        "slides/a b.svs",
        "./slides/a b.svs",
        "file:slides/a%20b.svs",
        "slides/a%20b.svs",
        "slides\\a b.svs",
        "../project/slides/a b.svs",
    ],
)
def test_a_relative_place_starts_at_the_project(tmp_path, monkeypatch, uri):
    for folder in ("project", "elsewhere"):
        (tmp_path / folder / "slides").mkdir(parents=True)
        (tmp_path / folder / "slides" / "a b.svs").touch()
    monkeypatch.chdir(tmp_path / "elsewhere")
    previous = "file:/old/p/project.qpproj"
    found = locate_slide(entry(uri), tmp_path / "project" / "p.qpproj", previous)
    assert found == tmp_path / "project" / "slides" / "a b.svs"
    (tmp_path / "project" / "slides" / "a b.svs").unlink()
    with pytest.raises(SlideMissingError):
        locate_slide(entry(uri), tmp_path / "project" / "p.qpproj", previous)


@pytest.mark.skipif(os.name == "nt", reason="there it is a place of its own")
@pytest.mark.parametrize("uri", ["file:/C:/slides/a.svs", "C:\\slides\\a.svs"])
def test_a_place_of_windows_does_not_lead_into_the_working_folder(tmp_path, monkeypatch, uri):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "C:\\slides\\a.svs").touch()
    for drive in ("C:", "C:\\"):
        (tmp_path / drive / "slides").mkdir(parents=True)
        (tmp_path / drive / "slides" / "a.svs").touch()
    with pytest.raises(SlideMissingError):
        locate_slide(entry(uri), tmp_path / "p.qpproj")


OMERO = "qupath.lib.images.servers.omero.OmeroWebImageServerBuilder"


@pytest.mark.parametrize(
    ("uri", "number"),
    [
        ("https://omero.example.org/webclient/?show=image-4495402", "4495402"),
        ("https://omero.example.org/webclient/img_detail/123/?dataset=9", "123"),
        ("https://omero.example.org/iviewer/?images=17", "17"),
        ("omero:iid=3", "3"),
        ("https://omero.example.org/webclient/", None),
        ("https://slides.example.org/a%20b.svs?token=1", None),
    ],
)
def test_an_image_on_a_server_says_how_to_have_its_pixels(tmp_path, uri, number):
    remote = ImageEntry("1", "a b.svs [0]", Server("uri", OMERO if "omero" in uri else "p", uri))
    with pytest.raises(SlideMissingError) as caught:
        locate_slide(remote, tmp_path / "p.qpproj")
    said = str(caught.value)
    assert uri in said
    assert "keep its name a b.svs, and give the folder that it is in with --slides DIR" in said
    assert ("from OMERO" in said) == ("omero" in uri)
    assert (f"(omero download Image:{number} DIR)" in said) == (number is not None)
    (tmp_path / "slides").mkdir()
    with pytest.raises(SlideMissingError, match=r"no file a b\.svs in "):
        locate_slide(remote, tmp_path / "p.qpproj", None, tmp_path / "slides")
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "a b.svs").touch()
    found = locate_slide(remote, tmp_path / "p.qpproj", None, tmp_path / "copies")
    assert found.name == "a b.svs"
