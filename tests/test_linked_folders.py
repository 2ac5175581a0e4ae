"""A folder is searched with the folders that are linked in it, each real one once."""

import os
from pathlib import Path

import pytest

from qupath_hccmil.errors import DataError, SlideError
from qupath_hccmil.linked_folders import walk
from qupath_hccmil.qupath.data_types import ImageEntry, Server
from qupath_hccmil.qupath.slide_location import locate_slide
from qupath_hccmil.slide_sources.outlined_slides import SAME_NAME, folder_slides
from qupath_hccmil.slides.slide_files import slide_files
from qupath_hccmil.training.image_folders import patient_images
from qupath_hccmil.training.prepare_bags import kind_of


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Another disk, to which folders are linked."""
    (tmp_path / "disk" / "2024").mkdir(parents=True)
    (tmp_path / "disk" / "2024" / "far.svs").touch()
    return tmp_path / "disk"


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "near.svs").touch()
    return tmp_path / "slides"


def located(name: str, slides: Path) -> Path:
    entry = ImageEntry("1", "Case 7", Server("uri", "p", f"file:/gone/{name}"))
    return locate_slide(entry, slides / "p.qpproj", None, slides)


def test_linked_folders_are_entered(slides: Path, disk: Path) -> None:
    (slides / "link").symlink_to(disk)
    assert located("far.svs", slides) == slides / "link" / "2024" / "far.svs"
    assert slide_files(slides) == [slides / "link" / "2024" / "far.svs", slides / "near.svs"]


def test_loops_end(slides: Path, disk: Path) -> None:
    (slides / "up").symlink_to(slides.parent)
    (slides / "self").symlink_to(slides)
    (disk / "back").symlink_to(slides)
    (slides / "a").symlink_to(slides / "b")
    (slides / "b").symlink_to(slides / "a")
    (slides / "gone").symlink_to(slides / "nothing")
    found = [parent / name for parent, names in walk(slides) for name in names]
    assert sorted(path.name for path in found) == ["far.svs", "near.svs"]
    assert located("far.svs", slides).samefile(disk / "2024" / "far.svs")


def test_a_folder_is_entered_once_and_by_its_own_path_first(slides: Path, disk: Path) -> None:
    (slides / "a link").symlink_to(slides / "own")
    (slides / "own").mkdir()
    (slides / "own" / "x.svs").touch()
    for name in ("one", "two"):
        (slides / name).symlink_to(disk)
    assert [parent.relative_to(slides).as_posix() for parent, _ in walk(slides)] == [
        ".",
        "own",
        "one",
        "one/2024",
    ]
    assert located("x.svs", slides) == slides / "own" / "x.svs"
    assert located("far.svs", slides) == slides / "one" / "2024" / "far.svs"


def test_a_file_and_links_to_it_are_one(slides: Path, disk: Path) -> None:
    (slides / "by year").symlink_to(disk)
    (slides / "far.svs").symlink_to(disk / "2024" / "far.svs")
    (slides / "other name.svs").symlink_to(disk / "2024" / "far.svs")
    assert located("far.svs", slides) == slides / "far.svs"
    assert located("other name.svs", slides) == slides / "other name.svs"
    assert [path.name for path in slide_files(slides)] == [
        "far.svs",
        "near.svs",
        "other name.svs",
    ]


def test_two_files_of_one_name_are_told_through_links_too(slides: Path, disk: Path) -> None:
    (slides / "link").symlink_to(disk)
    (disk / "near.svs").touch()
    with pytest.raises(SlideError, match=r"2 files named near\.svs"):
        located("near.svs", slides)
    collected = folder_slides(slides, ("Tumor",))
    assert [slide.name for slide in collected.slides] == ["far.svs"]
    assert {(each.name, each.reason) for each in collected.left_out} == {("near.svs", SAME_NAME)}


def test_a_folder_that_is_itself_a_link_is_searched(slides: Path, disk: Path) -> None:
    (slides.parent / "entry").symlink_to(disk)
    assert located("far.svs", slides.parent / "entry").samefile(disk / "2024" / "far.svs")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything may be read here")
def test_a_folder_that_may_not_be_read_is_passed_over(slides: Path) -> None:
    (slides / "closed").mkdir(mode=0)
    try:
        assert located("near.svs", slides) == slides / "near.svs"
    finally:
        (slides / "closed").chmod(0o755)


def test_tiffs_below_the_top_are_no_slides(slides: Path) -> None:
    (slides / "masks").mkdir()
    (slides / "masks" / "near.tif").touch()
    (slides / "top.tif").touch()
    assert [path.name for path in slide_files(slides)] == ["near.svs", "top.tif"]


def test_what_a_folder_holds_is_told_with_links(slides: Path, disk: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "P1").symlink_to(disk)
    assert kind_of(source) == "folder of slides"
    (source / "P2").mkdir()
    (source / "P2" / "field.png").touch()
    # a patient's folder of images may hold the slide that they were cut from
    assert kind_of(source) == "folders of images"
    assert kind_of(slides) == "folder of slides"


def test_one_folder_is_not_two_patients(tmp_path: Path) -> None:
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / "field.png").touch()
    (tmp_path / "P2").symlink_to(tmp_path / "P1")
    with pytest.raises(DataError, match=r"P2: is the same folder as .*P1"):
        patient_images(tmp_path)
