"""A project of slides: made whole, made longer, and nothing in it changed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from shapely.geometry import MultiPolygon, Polygon, box, mapping

from qupath_hccmil.errors import ConflictError, ProjectError
from qupath_hccmil.qupath import project_of_slides as module
from qupath_hccmil.qupath.data_types import ImageResults
from qupath_hccmil.qupath.export.patient_of_image import PatientTable
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.project_of_slides import SlideChoice, project_of_slides
from qupath_hccmil.qupath.writing.restore_backup import backups
from tests.qupath.conftest import copied
from tests.qupath.engines import NATIVE, assert_same_state, files

FIXTURES = Path(__file__).parents[1] / "data" / "projects"


def slide(path: Path, *, tissue: bool = True, mpp: tuple[float, float] | None = (0.5, 0.5)) -> Path:
    """A tiled TIFF that OpenSlide reads, 1200 x 800 px, with a pink square in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((800, 1200, 3), 243, np.uint8)
    if tissue:
        pixels[200:600, 300:800] = (200, 120, 170)
    scale = {} if mpp is None else {"resolution": [1e4 / side for side in mpp]}
    unit = None if mpp is None else tifffile.RESUNIT.CENTIMETER
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", resolutionunit=unit, **scale)
    return path


def geojson(path: Path, *features: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


def feature(shape, **properties) -> dict:
    return {
        "type": "Feature",
        "geometry": mapping(shape) if not isinstance(shape, dict) else shape,
        "properties": {"objectType": "annotation", **properties},
    }


def states(folder: Path, slides: list[Path], **choice) -> list[tuple[str, str]]:
    found = project_of_slides(folder, slides, SlideChoice(**choice))
    return [(outcome.name, outcome.state) for outcome in found]


def test_slides_become_a_project_with_outlines_patients_and_pixel_sizes(tmp_path: Path) -> None:
    slides = [
        slide(tmp_path / "s" / "ä b.tif", mpp=(0.25, 0.26)),
        slide(tmp_path / "s" / "plain.tif", mpp=None),
    ]
    hole = box(300, 200, 800, 600) - box(400, 300, 500, 400)
    two = MultiPolygon([box(0, 0, 10, 10), box(5, 5, 20, 20)])  # they overlap: not valid
    line = {"type": "LineString", "coordinates": [[0, 0], [5, 5]]}
    geojson(
        tmp_path / "o" / "ä b.geojson",
        feature(hole, classification={"name": "Tumor"}, name="Knoten", isLocked=True),
        feature(two),
        feature(line, name="ruler"),
    )
    table = PatientTable(tmp_path / "t.csv", {"ä b": "P1", "other": "P2"}, [])
    outcomes = list(
        project_of_slides(
            tmp_path / "p",
            slides,
            SlideChoice(tmp_path / "o", "Stroma", tissue=True, patients=table),
        )
    )
    assert [(each.state, each.outlines) for each in outcomes] == [("added", 2), ("added", 1)]
    (notes, plain) = (each.notes for each in outcomes)
    assert notes == ("ä b.geojson: 1 annotations are lines, points or on other planes; left out",)
    assert [note.split(":")[0].split(" in ")[0] for note in plain] == [
        "no outlines of it",
        "no patient",
        "the file states no pixel size",
    ]
    one, two_ = NATIVE("read", tmp_path / "p")
    assert (one.entry.server.pixel_width, one.entry.server.pixel_height) == (
        pytest.approx(0.25),
        pytest.approx(0.26),
    )
    assert two_.entry.server.pixel_width is None
    assert [(a.class_name, a.name, a.locked) for a in one.annotations] == [
        ("Tumor", "Knoten", True),
        ("Stroma", None, False),
    ]
    assert one.annotations[0].geometry.equals(hole)
    assert one.annotations[1].geometry.is_valid
    assert one.annotations[1].geometry.area == 100 + 225 - 25
    assert one.entry.metadata == {"Patient ID": "P1"}
    (tissue,) = two_.annotations
    assert tissue.class_name == "Region*"
    assert tissue.geometry.area == pytest.approx(500 * 400, rel=0.1)
    with Image.open(tmp_path / "p" / "data" / "1" / "thumbnail.jpg") as thumbnail:
        assert max(thumbnail.size) == 1000
    assert table.not_of(["ä b.tif", "plain.tif"]) == ["other"]


def test_more_slides_leave_what_is_there_as_it_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    first = [slide(tmp_path / "a" / f"{n}.tif") for n in range(3)]
    project = tmp_path / "p"
    assert [state for _, state in states(project, first)] == ["added"] * 3
    before = files(project)
    again = [*first, *(slide(tmp_path / "b" / f"{n}.tif") for n in range(3))]
    assert states(project, again) == [
        *((f"{n}.tif", "there") for n in range(3)),
        *((f"b - {n}.tif", "added") for n in range(3)),
    ]
    after = files(project)
    kept = {name: after[name] for name in before if name != "project.qpproj"}
    assert kept == {name: before[name] for name in kept}
    old, new = (json.loads(each["project.qpproj"]) for each in (before, after))
    assert new["images"][:3] == old["images"]
    assert [each["entryID"] for each in new["images"]] == [1, 2, 3, 4, 5, 6]
    assert new["lastID"] == 6
    assert [len(state.annotations) for state in NATIVE("read", project)] == [0] * 6
    # what was done in an image since is not ours to take back
    assert backups(project) == []
    done = files(project)
    assert [state for _, state in states(project, again)] == ["there"] * 6
    assert files(project) == done


def test_a_slide_that_cannot_be_read_costs_itself_only(tmp_path: Path) -> None:
    good = slide(tmp_path / "good.tif")
    (tmp_path / "bad.svs").write_text("no slide")
    damaged = slide(tmp_path / "damaged.tif")
    geojson(tmp_path / "o" / "damaged.geojson").write_text("{")
    wanted = [tmp_path / "bad.svs", tmp_path / "gone.svs", damaged, good]
    outcomes = list(project_of_slides(tmp_path / "p", wanted, SlideChoice(tmp_path / "o")))
    assert [each.state for each in outcomes] == ["failed", "failed", "failed", "added"]
    for each, said in zip(outcomes, ("bad.svs", "gone.svs", "damaged.geojson"), strict=False):
        assert said in each.reason
        assert "\n" not in each.reason
    assert [each.entry.name for each in NATIVE("read", tmp_path / "p")] == ["good.tif"]
    (nothing,) = project_of_slides(tmp_path / "q", [tmp_path / "gone.svs"])
    assert nothing.state == "failed"
    assert not (tmp_path / "q").exists()


def test_outlines_of_another_slide_are_noticed(tmp_path: Path) -> None:
    path = slide(tmp_path / "a.tif")
    geojson(tmp_path / "o" / "a.geojson", feature(box(5000, 5000, 6000, 6000)))
    (outcome,) = project_of_slides(tmp_path / "p", [path], SlideChoice(tmp_path / "o"))
    assert "lie beyond the slide" in outcome.notes[0]


def test_a_folder_with_other_things_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "work.txt").write_text("weeks of it")
    with pytest.raises(ProjectError, match=r"no \.qpproj"):
        states(tmp_path, [slide(tmp_path / "s" / "a.tif")])


def test_a_list_that_qupath_saves_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    project = tmp_path / "p"
    slides = [slide(tmp_path / f"{n}.tif") for n in range(2)]
    states(project, slides[:1])
    lists = project / "project.qpproj"
    saved = lists.read_bytes() + b"\n"

    from qupath_hccmil.qupath import add_images as adding

    original = adding.image_files

    def slow(*args, **options):
        lists.write_bytes(saved)
        return original(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adding, "image_files", slow)
        with pytest.raises(ConflictError, match="the same command adds"):
            states(project, slides)
    assert lists.read_bytes() == saved
    assert not (project / "data" / "2").exists()
    assert states(project, slides) == [("0.tif", "there"), ("1.tif", "added")]


def test_data_that_an_image_left_are_not_taken_for_those_of_a_new_one(tmp_path: Path) -> None:
    project = tmp_path / "p"
    states(project, [slide(tmp_path / "0.tif")])
    shutil.copytree(project / "data" / "1", project / "data" / "7")
    states(project, [slide(tmp_path / "1.tif")])
    listed = json.loads((project / "project.qpproj").read_text())["images"]
    assert [each["entryID"] for each in listed] == [1, 8]


@pytest.mark.parametrize("name", ["qupath-0.5.1", "qupath-0.6.0", "qupath-0.7.0"])
def test_a_project_of_qupath_gets_slides(tmp_path: Path, name: str) -> None:
    project = copied(FIXTURES / name, tmp_path / name)
    before, text = NATIVE("read", project), (project / "project.qpproj").read_text("utf-8")
    states(project, [slide(tmp_path / "new.tif")], tissue=True)
    after = NATIVE("read", project)
    for old, new in zip(before, after[:-1], strict=True):
        assert_same_state(old, new)
    assert after[-1].annotations[0].class_name == "Region*"
    last = json.loads(text)["images"][-1]
    kept = text[: text.index(last["randomizedName"])]
    assert (project / "project.qpproj").read_text("utf-8").startswith(kept.split('"lastID"')[0])


@pytest.mark.qupath
def test_qupath_opens_and_saves_what_was_made(qupath, tmp_path: Path) -> None:
    slides = [slide(tmp_path / f"{n}.tif") for n in range(2)]
    project = tmp_path / "p"
    geojson(
        tmp_path / "o" / "0.geojson",
        feature(box(300, 200, 800, 600) - box(400, 300, 500, 400), classification="Tumor"),
        feature(Polygon([(0, 0), (50, 50), (50, 0), (0, 50)]), classification="Tumor: Positive"),
    )
    table = PatientTable(tmp_path / "t.csv", {"0": "P1", "1": "P2"}, [])
    choice = {"outlines": tmp_path / "o", "tissue": True, "patients": table}
    for some in (slides[:1], slides):
        states(project, some, **choice)
    before = NATIVE("read", project)
    found = qupath("saved", project)
    assert found == [
        {
            "name": f"{n}.tif",
            "type": "BRIGHTFIELD_H_E",
            "stains": "H&E default",
            "size": (1200, 800),
            "mpp": pytest.approx(0.5),
            "thumbnail": True,
            "annotations": classes,
            "metadata": {"Patient ID": f"P{n + 1}"},
        }
        for n, classes in enumerate([["Tumor", "Tumor: Positive"], ["Region*"]])
    ]
    for old, new in zip(before, NATIVE("read", project), strict=True):
        assert [a.geometry.wkt for a in old.annotations] == [
            a.geometry.wkt for a in new.annotations
        ]
    for one, two in zip(NATIVE("read", project), qupath("read", project), strict=True):
        assert_same_state(one, two)
    # ours and QuPath's go on together
    with NativeProject(project) as opened:
        for entry in opened.images:
            opened.write(entry, ImageResults(), opened.read(entry).stamp)
