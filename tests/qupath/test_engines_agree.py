"""Both engines read and write the same, with every QuPath, and what is the user's stays."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from qupath_hccmil.errors import (
    ConflictError,
    ProjectError,
    SlideMissingError,
    UnsupportedDataError,
    WriteError,
)
from qupath_hccmil.qupath.data_types import (
    ImageResults,
)
from qupath_hccmil.qupath.names import (
    ANNOTATION_RISK,
    CLASS_COLOURS,
    CLASS_HIGH,
    CLASS_LOW,
    DEFAULT_CLASSES,
    SLIDE_RISK,
    is_our_measurement,
    is_our_metadata,
)
from qupath_hccmil.qupath.native.native_project import parse
from qupath_hccmil.qupath.native.pathobjects import TILE, class_colour, full_class_name, walk
from qupath_hccmil.qupath.native.rois import read_roi
from qupath_hccmil.qupath.project_differences import difference
from qupath_hccmil.qupath.qpproj import opaque
from qupath_hccmil.qupath.results_comparison import same_results
from qupath_hccmil.qupath.slide_location import locate_slide
from tests.conftest import qupath_dirs
from tests.qupath.conftest import REAL, QuPathProcess
from tests.qupath.engines import NATIVE, assert_same_state, files, results_for

pytestmark = [pytest.mark.qupath, pytest.mark.data]

Engine = Callable[..., object]


@pytest.fixture(params=["paquo", "native"])
def engine(request: pytest.FixtureRequest):
    if request.param == "native":
        return NATIVE
    if not qupath_dirs():
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    return request.getfixturevalue("qupaths")(qupath_dirs()[-1])


def score(engine: Engine, project: Path, **how) -> ImageResults:
    state = engine("read", project)[0]
    results = results_for(state, **how)
    engine("write", project, {state.entry.id: results}, {state.entry.id: state.stamp})
    return results


def clear(engine: Engine, project: Path) -> None:
    state = engine("read", project)[0]
    engine("write", project, {state.entry.id: ImageResults()}, {state.entry.id: state.stamp})


def data_file(project: Path) -> Path:
    return project / "data" / "1" / "data.qpdata"


def written_tiles(project: Path) -> dict[str, tuple]:
    """Our tiles in a data file by their UUID."""
    return {
        view.id: (
            full_class_name(view.path_class),
            class_colour(view.path_class),
            read_roi(view.roi).geometry.bounds,
            parent.id,
            view.locked,
        )
        for view, parent in walk(parse(data_file(project)).root)
        if view.kind == TILE
    }


@pytest.mark.parametrize("name", [*REAL, "coscialab-0_6_0"])
def test_both_read_the_same(qupath: QuPathProcess, data_dir: Path, name: str):
    project = data_dir / "projects" / name
    before = files(project)
    theirs, ours = qupath("read", project)[0], NATIVE("read", project)[0]
    assert_same_state(theirs, ours)
    assert theirs.stamp == ours.stamp
    assert not theirs.results
    assert files(project) == before


@pytest.mark.parametrize("name", REAL)
def test_both_write_the_same(qupath: QuPathProcess, real_project, name: str):
    original = real_project(name, "original")
    one, two = real_project(name, "paquo"), real_project(name, "native")
    results = results_for(NATIVE("read", original)[0])
    for engine, project in ((qupath, one), (NATIVE, two)):
        engine("write", project, {"1": results}, {"1": engine("read", project)[0].stamp})
    assert sum(map(len, results.tiles.values())) > 300

    states = [who("read", where)[0] for who in (qupath, NATIVE) for where in (one, two)]
    for state in states:
        assert_same_state(state, states[0])
        assert same_results(state.results, results)
        assert state.results.metadata == results.metadata
    assert written_tiles(one) == written_tiles(two)
    assert len(written_tiles(one)) == sum(map(len, results.tiles.values()))
    assert qupath("entry_metadata", two) == qupath("entry_metadata", one)
    assert dict(results.metadata).items() <= qupath("entry_metadata", two).items()

    assert difference(original, one) == []
    assert difference(original, two) == []

    shown = qupath("shown", two)
    assert (shown["annotations"], shown["cells"]) == (8, 40)
    assert shown["tiles"].keys() == written_tiles(two).keys()
    assert shown == qupath("shown", one)


@pytest.mark.parametrize("name", REAL)
def test_what_is_the_users_is_untouched(engine, real_project, name: str):
    project = real_project(name)
    before = engine("read", project)[0]
    score(engine, project)
    after = engine("read", project)[0]
    assert after.object_count == 40
    assert len(after.annotations) == 8
    by_id = {each.id: each for each in after.annotations}
    [ellipse] = [each for each in after.annotations if each.name == "nested ellipse"]
    assert by_id[ellipse.parent].class_name == "Region*"
    for old, new in zip(before.annotations, after.annotations, strict=True):
        kept = {
            key: value for key, value in new.measurements.items() if not is_our_measurement(key)
        }
        assert (new.id, new.name, new.locked, new.class_name, new.parent, kept) == (
            old.id,
            old.name,
            old.locked,
            old.class_name,
            old.parent,
            old.measurements,
        )
        assert new.geometry.equals_exact(old.geometry, 0)
    others = {k: v for k, v in after.entry.metadata.items() if not is_our_metadata(k)}
    assert others == before.entry.metadata


@pytest.mark.parametrize("name", REAL)
def test_a_second_run_replaces_the_first_and_clear_leaves_nothing(engine, real_project, name):
    original, project = real_project(name, "original"), real_project(name)
    score(engine, project, size=100)
    results = score(engine, project, size=200)
    assert same_results(engine("read", project)[0].results, results)
    assert len(written_tiles(project)) == sum(map(len, results.tiles.values()))
    clear(engine, project)
    assert not engine("read", project)[0].results
    assert not written_tiles(project)
    assert difference(original, project) == []
    assert (project / "project.qpproj").read_bytes() == (original / "project.qpproj").read_bytes()


def test_one_engine_replaces_what_the_other_wrote(qupath: QuPathProcess, real_project):
    original, project = real_project(REAL[1], "original"), real_project(REAL[1])
    for first, second in ((qupath, NATIVE), (NATIVE, qupath)):
        score(first, project, size=90)
        results = score(second, project, size=110)
        assert same_results(first("read", project)[0].results, results)
        clear(first, project)
        assert difference(original, project) == []
        assert not second("read", project)[0].results


def test_every_qupath_reads_what_every_other_wrote(qupaths, real_project):
    running = [qupaths(folder) for folder in qupath_dirs()]
    if len(running) < 2:
        pytest.skip("needs two versions of QuPath")
    for number, writer in enumerate(running):
        project = real_project(REAL[0], f"by {number}")
        results = score(writer, project)
        for reader in running:
            assert same_results(reader("read", project)[0].results, results)


def test_objects_inside_our_tiles_move_up(qupath: QuPathProcess, real_project):
    one, two = real_project(REAL[1], "paquo"), real_project(REAL[1], "native")
    score(NATIVE, one)
    assert qupath("put_into_our_tile", data_file(one)) == 40
    shutil.copyfile(data_file(one), data_file(two))
    shutil.copyfile(one / "project.qpproj", two / "project.qpproj")
    clear(qupath, one)
    clear(NATIVE, two)
    assert difference(one, two) == []
    state = NATIVE("read", one)[0]
    assert state.object_count == 40
    parents = {
        parent.id for view, parent in walk(parse(data_file(one)).root) if "Cell" in view.kind
    }
    assert parents == {state.annotations[0].id}


def test_qupath_shows_our_classes(qupath: QuPathProcess, real_project):
    project = real_project(REAL[1])
    NATIVE("classes", project, {"Tumor": 0x112233})
    qupath("classes", project, CLASS_COLOURS)
    before = files(project)
    NATIVE("classes", project, CLASS_COLOURS)
    assert files(project) == before
    shown = qupath("project_classes", project)
    assert list(shown) == [*DEFAULT_CLASSES, *CLASS_COLOURS]
    assert {name: colour & 0xFFFFFF for name, colour in shown.items()} == {
        **DEFAULT_CLASSES,
        "Tumor": 0x112233,
        **CLASS_COLOURS,
    }


def test_a_change_since_reading_is_a_conflict(engine, real_project):
    project = real_project(REAL[1])
    state = engine("read", project)[0]
    data_file(project).write_bytes(data_file(real_project(REAL[2])).read_bytes())
    before = files(project)
    with pytest.raises(ConflictError, match=r"data\.qpdata: was changed by another program"):
        engine("write", project, {"1": results_for(state)}, {"1": state.stamp})
    assert files(project) == before


def test_results_of_an_annotation_that_is_not_there_are_refused(engine, real_project):
    project = real_project(REAL[1])
    state = engine("read", project)[0]
    before = files(project)
    results = ImageResults(annotations={111: {ANNOTATION_RISK: 0.5}})
    with pytest.raises(
        WriteError, match=r"contains no annotation number 111; read the image again"
    ):
        engine("write", project, {"1": results}, {"1": state.stamp})
    assert files(project) == before


def test_data_of_an_old_qupath_are_read_and_never_written(engine, real_project):
    project = real_project(REAL[1])
    content = data_file(project).read_bytes()
    assert content.count(b'"qupathVersion":"0.6.0"') == 1
    data_file(project).write_bytes(
        content.replace(b'"qupathVersion":"0.6.0"', b'"qupathVersion":"0.3.2"')
    )
    before = files(project)
    state = engine("read", project)[0]
    assert len(state.annotations) == 8
    with pytest.raises(UnsupportedDataError, match=r"QuPath 0\.3\.2"):
        engine("write", project, {"1": results_for(state)}, {"1": state.stamp})
    assert files(project) == before


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[9:]])
def test_damaged_data_are_refused_in_one_line(engine, real_project, damage):
    project = real_project(REAL[1])
    data_file(project).write_bytes(damage(data_file(project).read_bytes()))
    with pytest.raises((UnsupportedDataError, ProjectError), match=r"data\.qpdata: ") as error:
        engine("read", project)
    assert "\n" not in str(error.value)


def test_an_image_that_was_never_saved_has_nothing_to_write_to(engine, real_project):
    project = real_project(REAL[1])
    data_file(project).unlink()
    # with a summary the data are lost, not never saved
    data_file(project).with_name("summary.json").unlink()
    state = engine("read", project)[0]
    assert (state.stamp, state.annotations, state.image_type) == ("", [], "UNSET")
    with pytest.raises(WriteError, match="was never saved in QuPath"):
        engine("write", project, {"1": ImageResults(root={SLIDE_RISK: 0.5})}, {"1": ""})
    clear(engine, project)
    assert not data_file(project).exists()


def test_clearing_what_was_never_scored_changes_nothing(engine, real_project):
    project = real_project(REAL[1])
    before = files(project)
    clear(engine, project)
    assert files(project) == before


def test_a_full_disk_leaves_the_project_as_it_was(qupath: QuPathProcess, real_project):
    project = real_project(REAL[1])
    results = results_for(NATIVE("read", project)[0])
    before = files(project)
    with pytest.raises(WriteError, match="the project is unchanged"):
        qupath("write_on_a_full_disk", project, {"1": results}, 40_000)
    assert files(project) == before


def test_a_slide_that_is_gone_is_named_and_its_objects_can_be_written(engine, real_project):
    project = real_project("coscialab-0_6_0")
    original = real_project("coscialab-0_6_0", "original")
    before = files(project)
    state = engine("read", project)[0]
    with pytest.raises(SlideMissingError, match=r"TD_01_verysmall_mIF\.ome\.tif.*--slides DIR"):
        locate_slide(state.entry, project / "project.qpproj", None)
    assert files(project) == before
    assert (len(state.annotations), state.object_count) == (10, 121)
    results = score(engine, project)
    assert same_results(engine("read", project)[0].results, results)
    assert difference(original, project) == []


def many_images(project: Path, n: int) -> None:
    """Make a project's one image many."""
    path = project / "project.qpproj"
    content = json.loads(path.read_text("utf-8"))
    [image] = content["images"]
    content["images"] = [{**image, "entryID": number} for number in range(1, n + 1)]
    path.write_text(json.dumps(content), "utf-8")
    for number in range(2, n + 1):
        shutil.copytree(project / "data" / "1", project / "data" / str(number))


def test_colours_of_one_image_do_not_reach_the_next(qupath: QuPathProcess, real_project):
    original, project = real_project(REAL[1], "original"), real_project(REAL[1])
    for each in (original, project):
        many_images(each, 3)
        other = each / "data" / "2" / "data.qpdata"
        # Tumor is red, and green in the second image
        content = other.read_bytes()
        assert b"\xff\xc8\x00\x00" in content
        other.write_bytes(content.replace(b"\xff\xc8\x00\x00", b"\xff\x00\xc8\x00"))
    states = qupath("read", project)
    results = {each.entry.id: results_for(each) for each in states}
    qupath("write", project, results, {each.entry.id: each.stamp for each in states})
    assert difference(original, project) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(qupaths, real_project):
    if not qupath_dirs():
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    process = qupaths(qupath_dirs()[-1])
    project = real_project(REAL[1])
    results = results_for(NATIVE("read", project)[0], size=400)
    many_images(project, 100)
    early, late = process("used_memory_while", project, results, [20, 100])
    assert late < early + 1_000_000


@pytest.mark.parametrize("chosen", [False, True], ids=["our former colour", "a user's colour"])
def test_only_our_former_colour_of_a_class_is_replaced(
    engine, real_project, monkeypatch: pytest.MonkeyPatch, chosen: bool
):
    project = real_project(REAL[1])
    former = {CLASS_HIGH: 0x123456 if chosen else 0xC8321E, CLASS_LOW: 0x2D6EB4}
    with monkeypatch.context() as earlier:
        for name, colour in former.items():
            earlier.setitem(CLASS_COLOURS, name, colour)
        NATIVE("classes", project, CLASS_COLOURS)
        score(NATIVE, project)
    assert {each[:2] for each in written_tiles(project).values()} == {
        (name, opaque(colour)) for name, colour in former.items()
    }

    engine("classes", project, CLASS_COLOURS)
    score(engine, project)

    high = 0x123456 if chosen else CLASS_COLOURS[CLASS_HIGH]
    after = {CLASS_HIGH: high, CLASS_LOW: CLASS_COLOURS[CLASS_LOW]}
    listed = json.loads((project / "classifiers" / "classes.json").read_bytes())["pathClasses"]
    named = {each["name"]: each["color"] & 0xFFFFFF for each in listed}
    assert {name: named[name] for name in after} == after
    if engine is not NATIVE:  # without Java tiles that are made anew have the default colours
        assert {each[:2] for each in written_tiles(project).values()} == {
            (name, opaque(colour)) for name, colour in after.items()
        }


def test_a_users_tile_of_our_class_keeps_its_colour(
    engine, real_project, monkeypatch: pytest.MonkeyPatch
):
    project = real_project(REAL[1])
    with monkeypatch.context() as earlier:
        earlier.setitem(CLASS_COLOURS, CLASS_HIGH, 0xC8321E)
        earlier.setitem(CLASS_COLOURS, CLASS_LOW, 0x2D6EB4)
        score(NATIVE, project)
    data = parse(data_file(project))
    mine = next(
        view
        for view, _ in walk(data.root)
        if view.kind == TILE and full_class_name(view.path_class) == CLASS_HIGH
    )
    mine.measurements = None
    data_file(project).write_bytes(data.to_bytes())
    [before] = [tile for key, tile in written_tiles(project).items() if key == mine.id]

    score(engine, project)

    after = written_tiles(project)
    assert after[mine.id] == before
    low = {tile[1] for tile in after.values() if tile[0] == CLASS_LOW}
    assert low == {opaque(CLASS_COLOURS[CLASS_LOW])}
