"""Images with many cells: what is not ours stays bytes, and comes back byte for byte."""

import json
import shutil
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.data_types import ImageResults
from qupath_hccmil.qupath.native import measurements
from qupath_hccmil.qupath.native.javaclasses import class_name
from qupath_hccmil.qupath.native.javanodes import RESET, JavaObject, JavaString, Part, block
from qupath_hccmil.qupath.native.javastream import load, serialise
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.native.native_results import (
    add_results,
    counts,
    name_pool,
    read_data,
    remove_results,
)
from qupath_hccmil.qupath.native.pathobjects import (
    ANNOTATION,
    PathObject,
    full_class_name,
    walk,
    walk_unparsed,
)
from qupath_hccmil.qupath.native.qpdata import QpData
from qupath_hccmil.qupath.native.record_runs import Run
from qupath_hccmil.qupath.native.run_rules import RUN_RULES
from qupath_hccmil.qupath.project_differences import difference
from qupath_hccmil.qupath.results_comparison import same_results
from tests.conftest import ROOT, qupath_dirs
from tests.qupath.big_image import MEASUREMENTS, big_data, write_big_project
from tests.qupath.big_results import STATUS, some_results
from tests.qupath.conftest import QuPathProcess

CELLS = 600

QuPaths = Callable[[Path], QuPathProcess]


@pytest.fixture(scope="module")
def content() -> bytes:
    return b"".join(big_data(CELLS))


def runs(data: QpData) -> list[Run]:
    """All runs that are in the tree."""
    return [
        part
        for group in walk_unparsed(data.root)
        if not group.unparsed
        for part in group.view.node.parts
        if isinstance(part, Run)
    ]


def all_parsed(content: bytes) -> QpData:
    """The same data with a node for each object."""
    data = QpData(content)
    list(walk(data.root))
    return data


def described(data: QpData) -> list[tuple[object, ...]]:
    """Each object in plain words."""
    return [
        (
            view.kind,
            view.id,
            parent.id if parent else None,
            full_class_name(view.path_class) if parent else None,
            repr(measurements.read(view.measurements)),
        )
        for view, parent in walk(data.root)
    ]


def outlines(data: QpData) -> list[PathObject]:
    return [group.view for group in walk_unparsed(data.root) if group.view.kind == ANNOTATION]


def test_most_cells_are_unparsed_and_counted(content: bytes) -> None:
    data = QpData(content)
    unparsed = sum(len(run) for run in runs(data))
    assert unparsed > CELLS - 10
    assert counts(data)["objectTypeCounts"]["Cells"] == CELLS
    assert counts(data) == counts(all_parsed(content))
    annotations, others, results = read_data(data)
    assert (len(annotations), others, bool(results)) == (2, CELLS, False)
    # reading has made no nodes of them
    assert sum(len(run) - len(run.parsed) for run in runs(data)) == unparsed


def test_unparsed_objects_are_the_objects_that_they_would_be(content: bytes) -> None:
    plain = QpData.__new__(QpData)
    plain.stream = load(content)
    nodes = {
        view.id: serialise([view.node])
        for view, _ in walk(
            next(
                part for part in plain.stream.contents if class_name(part) == "PathObjectHierarchy"
            ).parts[0]
        )
    }
    found = {view.id: serialise([view.node]) for view, _ in walk(QpData(content).root)}
    assert len(nodes) == CELLS + 3
    assert found == nodes


def test_unparsed_or_not_the_same_is_written(content: bytes) -> None:
    written = []
    for data in (QpData(content), all_parsed(content)):
        results = some_results(list(range(len(outlines(data)))), 50)
        add_results(data, results)
        written.append(data.to_bytes())
        again = QpData(written[-1])
        assert same_results(read_data(again)[2], results)
        remove_results(again)
        assert again.to_bytes() == content
    assert written[0] == written[1]


def test_our_own_tiles_are_unparsed_too(content: bytes) -> None:
    data = QpData(content)
    results = some_results(list(range(len(outlines(data)))), 40, missing=True)
    add_results(data, results)
    again = QpData(data.to_bytes())
    assert sum(len(run) for run in runs(again)) > CELLS + 60
    assert same_results(read_data(again)[2], results)
    assert same_results(read_data(all_parsed(data.to_bytes()))[2], results)
    assert read_data(again)[1] == CELLS


def test_tiles_before_the_cells_take_what_the_cells_share_with_them(content: bytes) -> None:
    """What our tiles were the first to mention, the next object must describe when they go."""
    data = QpData(content)
    last = outlines(data)[-1]
    cells = last.children
    last.children = []
    base = data.to_bytes()
    results = some_results([1], 30)
    add_results(data, results)
    # the user's tiles behind ours share names, class and identity's key with ours
    last.children = [*last.children, *cells]
    mixed = QpData(data.to_bytes())
    assert described(mixed)[-1][0] == "PathCellObject"
    remove_results(mixed)
    after = described(QpData(mixed.to_bytes()))
    assert Counter(each[0] for each in after)["PathCellObject"] == CELLS
    assert {each[1] for each in after} == {each[1] for each in described(QpData(content))}
    assert len(base) < len(content)


def test_users_tiles_behind_ours_describe_what_they_shared(content: bytes) -> None:
    """A run whose class is described inside a tile that goes is written with the description."""
    data = QpData(content)
    last = outlines(data)[-1]
    last.children = []
    results = some_results([0], 300)
    add_results(data, results)
    tiles = [PathObject(part).node for part in outlines(data)[0].parse_children()]
    pool = name_pool(data)
    for number, node in enumerate(tiles[100:]):
        # the user takes these over: without a name of ours they are his
        view = PathObject(node)
        names = ["Mine: a", "Mine: b"]
        view.measurements = pool.float_list(names, struct.pack(">ff", number, -number))
    scored = QpData(data.to_bytes())
    assert runs(scored)
    before = [each for each in described(scored) if "Mine" in str(each)]
    assert len(before) == 200
    assert len(read_data(scored)[2].tiles[0]) == 100
    remove_results(scored)
    cleared = QpData(scored.to_bytes())
    assert [each for each in described(cleared) if "Mine" in str(each)] == before
    assert not read_data(cleared)[2]


def test_one_cell_can_be_changed_in_a_run(content: bytes) -> None:
    data = QpData(content)
    (run,) = runs(data)
    number = len(run) // 2
    node = run.copy(number)
    assert not run.parsed
    run.parse(number)
    run.parsed[number].parts[0] = JavaString.of("the one")
    view = outlines(data)[-1]
    assert view.child_count == CELLS
    assert len(view.children) > 3
    names = [view.name for view, _ in walk(QpData(data.to_bytes()).root)]
    assert [name for name in names if name] == ["the one"]
    # its bytes, and all others, are as they were but for the name
    run.parsed[number].parts[0] = None
    assert serialise([node]) == serialise([run.parsed[number]])
    assert data.to_bytes() == content


def test_a_mention_of_what_is_in_a_run_opens_its_record(content: bytes) -> None:
    """QuPath shares equal texts: a later object may mention the text of an earlier cell."""
    data = all_parsed(content)
    cells = [view for view, _ in walk(data.root) if view.kind == "PathCellObject"]
    cells[300].node.parts[0] = shared = JavaString.of("shared")
    cells[400].node.parts[0] = shared
    for cell in cells[100:120]:
        cell.node.parts[0] = JavaString.of("its own")
    written = data.to_bytes()
    again = QpData(written)
    assert again.to_bytes() == written
    names = Counter(view.name for view, _ in walk(again.root))
    assert names["shared"] == 2
    assert names["its own"] == 20
    nodes = [view.node.parts[0] for view, _ in walk(again.root) if view.name == "shared"]
    assert nodes[0] is nodes[1]


def test_cells_of_many_kinds_are_unparsed_together(content: bytes) -> None:
    """Locked, named, without a nucleus, without measurements, of another class: in any order."""
    data = all_parsed(content)
    maker = name_pool(data).book
    cells = [view for view, _ in walk(data.root) if view.kind == "PathCellObject"]
    rng = np.random.default_rng(0)
    other = maker.object(
        "qupath.lib.objects.classes.PathClass", maker.integer(-1), JavaString.of("Stroma"), None
    )
    locked = maker.boolean(True)
    changes: list[Callable[[list[Part]], None]] = [
        lambda parts: parts.__setitem__(0, JavaString.of("a" * int(rng.integers(1, 9)))),
        lambda parts: parts.__setitem__(3, None),
        lambda parts: parts.__setitem__(5, locked),
        lambda parts: parts.__setitem__(6, other),
        lambda parts: parts.__setitem__(6, None),
        lambda parts: parts.__setitem__(9, None),
    ]
    for cell in cells[20:]:
        changes[int(rng.integers(len(changes)))](cell.node.parts)
    written = data.to_bytes()
    again = QpData(written)
    assert again.to_bytes() == written
    assert sum(len(run) - len(run.parsed) for run in runs(again)) > CELLS / 2
    assert counts(again) == counts(data)
    assert described(again) == described(data)


def test_bytes_that_look_like_a_cell_are_no_cell(content: bytes) -> None:
    """A value may hold the very bytes that a cell begins with."""
    data = QpData(content)
    (run,) = runs(data)
    changed = bytearray(content)
    for number in range(40, 60):
        start = int(run.starts[number])
        values = content.index(struct.pack(">i", MEASUREMENTS), start) + 4
        changed[values + 8 : values + 16] = content[start : start + 8]
    again = QpData(bytes(changed))
    assert again.to_bytes() == changed
    assert counts(again) == counts(data)


@pytest.mark.parametrize("where", ["class", "count", "code", "names", "metadata"])
def test_a_damaged_cell_in_a_run_is_refused_or_kept(content: bytes, where: str) -> None:
    data = QpData(content)
    (run,) = runs(data)
    start = int(run.starts[200])
    offset = {"class": 5, "count": 210, "code": 8, "names": 100, "metadata": 30}[where]
    for value in (0, 0x70, 0x71, 0x73, 0x78, 0xFF):
        changed = bytearray(content)
        changed[start + offset] = value
        try:
            again = QpData(bytes(changed))
        except UnsupportedDataError:
            continue
        assert again.to_bytes() == changed


def test_a_truncated_run_is_refused(content: bytes) -> None:
    (run,) = runs(QpData(content))
    for number, extra in ((5, 0), (100, 1), (200, 300), (len(run) - 1, 5)):
        with pytest.raises(UnsupportedDataError):
            QpData(content[: int(run.starts[number]) + extra])


def test_a_wrong_number_of_children_is_refused(content: bytes) -> None:
    for wrong in (CELLS - 1, CELLS + 1, 2**31 - 1):
        changed = content.replace(
            block(struct.pack(">i", CELLS)), block(struct.pack(">i", wrong)), 1
        )
        with pytest.raises(UnsupportedDataError):
            QpData(changed)


def test_handles_begin_anew_behind_a_reset(content: bytes) -> None:
    """The same objects twice, with a reset between them: each run mentions its own."""
    hierarchy = next(
        part for part in load(content).contents if class_name(part) == "PathObjectHierarchy"
    )
    twice = serialise([JavaString.of("before"), hierarchy, RESET, hierarchy])
    stream = load(twice, RUN_RULES)
    trees = [part.parts[0] for part in stream.contents if isinstance(part, JavaObject)]
    found = [[serialise([view.node]) for view, _ in walk(tree)] for tree in trees]
    assert len(found[0]) == CELLS + 3
    assert found[0] == found[1]
    assert serialise(stream.contents) == twice


def test_real_cells_are_unparsed_and_come_back(data_dir: Path) -> None:
    unparsed = 0
    for path in sorted(data_dir.glob("projects/*/data/1/data.qpdata")):
        content = path.read_bytes()
        data = QpData(content)
        unparsed += sum(len(run) for run in runs(data))
        assert data.to_bytes() == content
        assert described(data) == described(all_parsed(content))
        # and unparsed children write what nodes write
        assert serialise(load(content).contents) == content
    assert unparsed > 100


def test_a_project_with_many_cells_is_scored_and_cleared(tmp_path: Path) -> None:
    folder = write_big_project(tmp_path / "p", 5000).parent
    path = folder / "data" / "1" / "data.qpdata"
    original = path.read_bytes()
    with NativeProject(folder) as project:
        (entry,) = project.images
        state = project.read(entry)
        assert state.object_count == 5000
        results = some_results([each.index for each in state.annotations], 200)
        project.write(entry, results, state.stamp)
        state = project.read(entry)
        assert same_results(state.results, results)
        assert state.object_count == 5000
        project.write(entry, ImageResults(), state.stamp)
    assert path.read_bytes() == original


def test_a_check_of_two_states_does_not_look_at_each_cell(tmp_path: Path) -> None:
    folders = [write_big_project(tmp_path / "a", 3000).parent, tmp_path / "b"]
    shutil.copytree(*folders)
    with NativeProject(folders[1]) as project:
        (entry,) = project.images
        state = project.read(entry)
        results = some_results([each.index for each in state.annotations], 20)
        project.write(entry, results, state.stamp)
    assert difference(*folders) == []


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells the peak of a process")
@pytest.mark.parametrize(("what", "most"), [("native", 6), ("info", 4)])
def test_memory_is_bounded_by_the_file(tmp_path: Path, what: str, most: int) -> None:
    """In a process of its own: reading, adding tiles, writing and checking together."""
    folder = write_big_project(tmp_path / "p", 50_000).parent
    size = (folder / "data" / "1" / "data.qpdata").stat().st_size
    done = subprocess.run(
        [sys.executable, "-m", "tests.qupath.big_results", what, str(folder), "2000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1])["peak"] < most * size


def test_objects_of_one_kind_share_a_group(content: bytes) -> None:
    (run,) = runs(QpData(content))
    groups = run.groups()
    assert sum(len(group.rows) for group in groups) == len(run)
    # three lengths of outline are one shape: a count stands before each
    assert len(groups) == 1
    assert isinstance(groups[0].example, JavaObject)
    assert class_name(groups[0].example) == "PathCellObject"


@pytest.mark.qupath
def test_paquo_looks_at_no_cell_alone(tmp_path: Path, qupaths: QuPaths) -> None:
    """Ten times the cells are not a step more in Python."""
    if not qupath_dirs():
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    folders = [write_big_project(tmp_path / str(n), n).parent for n in (100, 1000)]
    start = qupaths(qupath_dirs()[-1])
    # with results of ours in it there is more to do
    start("steps_while_scoring", folders[1:], 10)
    few, many = start("steps_while_scoring", folders, 10)
    assert few > 100
    assert many < 1.02 * few


@pytest.mark.qupath
def test_qupath_finds_all_cells_in_what_was_written(tmp_path: Path, qupath: QuPathProcess) -> None:
    folder = write_big_project(tmp_path / "p", 2000).parent
    untouched = qupath("read", folder)[0]
    assert untouched.object_count == 2000
    with NativeProject(folder) as project:
        (entry,) = project.images
        state = project.read(entry)
        results = some_results([each.index for each in state.annotations], 40)
        project.write(entry, results, state.stamp)
        ours = project.read(entry)
    theirs = qupath("read", folder)[0]
    assert theirs.object_count == ours.object_count == 2000
    assert same_results(theirs.results, ours.results)
    assert [each.measurements for each in theirs.annotations] == [
        each.measurements for each in ours.annotations
    ]
