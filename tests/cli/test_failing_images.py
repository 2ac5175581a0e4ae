"""Whatever one image raises, it is a failed row with a reason, and the other images are done."""

import errno
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely

from qupath_hccmil.errors import ModelError
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.scoring.score_project import BatchOptions, ImageOutcome, score_project
from qupath_hccmil.scoring.score_settings import ScoreSettings
from qupath_hccmil.scoring.scorer import ScorerSource
from tests.drawn_slides import write_pyramid
from tests.qupath.conftest import QuPathProcess, qupath_dirs
from tests.qupath.odd_objects import ODD, odd_project

NATIVE = ("--engine", "native")
SIZE = (1024, 1024)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.full((*SIZE, 3), 200, np.uint8)
    return write_pyramid(tmp_path_factory.mktemp("slides") / "slide.tif", pixels, mpp=0.25)


@pytest.fixture
def three(slide: Path, tmp_path: Path) -> Path:
    """A project of three images."""
    tumour = [NewAnnotation(shapely.box(0, 0, *SIZE), "Tumor", "main")]
    images = [
        NewImage(slide, name, *SIZE, 0.25, annotations=tumour) for name in ("one", "two", "three")
    ]
    return create_project(tmp_path / "project", images).parent


class Breaks:
    """A display that breaks at one image, as anything may."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def start(self, image: str, n_tiles: int) -> None:
        if image == "two":
            raise self.error

    def advance(self, n_tiles: int) -> None:
        pass

    def finish(self, outcome: ImageOutcome) -> None:
        pass


def outcomes(project: Path, error: BaseException) -> Iterator[ImageOutcome]:
    with NativeProject(project) as opened:
        yield from score_project(
            opened, ScorerSource(None), ScoreSettings(), BatchOptions(dry_run=True), Breaks(error)
        )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("first\nsecond"), "unexpected RuntimeError: first second (run again with"),
        (KeyError("x"), "unexpected KeyError: 'x' (run again with --debug, and please report it)"),
        (RecursionError("deep"), "unexpected RecursionError: deep"),
        (MemoryError(), "not enough memory; close other programs"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/a"), "/a: No space left on device"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_that_nobody_foresaw_is_one_row(three: Path, error, reason: str) -> None:
    found = list(outcomes(three, error))
    assert [each.status for each in found] == ["planned", "failed", "planned"]
    assert found[1].reason.startswith(reason)
    assert "\n" not in found[1].reason


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ModelError("no weights")])
def test_what_is_of_no_image_ends_the_batch(three: Path, error) -> None:
    with pytest.raises(type(error)):
        list(outcomes(three, error))


def test_a_traceback_is_told_with_debug_alone(cli, three: Path, caplog) -> None:
    (three / "data" / "2" / "data.qpdata").write_bytes(b"")
    package = logging.getLogger("qupath_hccmil")
    before = package.level
    try:
        for debug in ((), ("--debug",)):
            # an earlier command in this process may have left it at debug
            package.setLevel(logging.WARNING)
            caplog.clear()
            ran = cli("score", three, *NATIVE, "--dry-run", *debug)
            assert ran.code == 3
            assert "two: FAILED: " in ran.err
            assert ("Traceback" in caplog.text) == bool(debug)
    finally:
        package.setLevel(before)


@pytest.mark.parametrize("lost", [None, "serverBuilder", "entryID"])
def test_one_image_that_the_list_has_wrong_is_one_row(cli, three: Path, lost, tmp_path) -> None:
    path = three / "project.qpproj"
    text = path.read_text("utf-8")
    at = text.index("serverBuilder", text.index('"imageName": "one"'))
    if lost is None:
        end = text.index('"entryID"', at)
        text = text[: at + len('serverBuilder"')] + ": null,\n      " + text[end:]
    else:
        at = text.index(lost, at)
        text = text[:at] + "un" + text[at:]
    path.write_text(text, "utf-8")
    ran = cli("score", three, *NATIVE, "--dry-run")
    assert ran.code == 3
    assert ran.err.count("FAILED: the entry of this image in the project's list is damaged") == 1
    assert "one: would score" in ran.out
    assert "three: would score" in ran.out
    ran = cli("project", "info", three, *NATIVE)
    assert (ran.code, ran.out.count("the project's list is damaged")) == (0, 1)
    ran = cli("project", "check", three, *NATIVE)
    assert (ran.code, ran.out.count("the project's list is damaged")) == (3, 1)
    ran = cli("export", three, tmp_path / "out.csv", *NATIVE)
    assert (ran.code, "2 rows" in ran.out, "FAILED" in ran.err) == (3, True, True)
    ran = cli("project", "clear", three, *NATIVE)
    assert (ran.code, ran.out.count("has no results of ours")) == (3, 2)


def test_an_image_with_odd_objects_is_scored(cli, slide: Path, tmp_path: Path) -> None:
    project = odd_project(tmp_path / "project", slide, size=SIZE)
    ran = cli("score", project, *NATIVE, "--dry-run")
    assert ran.code == 0
    for name in ODD:
        assert f"  note: {name}: " in ran.out
    ran = cli("project", "check", project, *NATIVE)
    assert (ran.code, ran.out.startswith("sound\n"), ran.out.count("note: ")) == (0, True, len(ODD))
    assert cli("project", "info", project, *NATIVE).out.count("it is left as it is") == len(ODD)


def test_outlines_that_enclose_nothing_are_named(cli, slide: Path, tmp_path: Path) -> None:
    boxes = [shapely.box(0, 0, *SIZE), shapely.box(5, 5, 5, 900)]
    tumours = [NewAnnotation(box, "Tumor", f"number {n}") for n, box in enumerate(boxes)]
    project = create_project(
        tmp_path / "project", [NewImage(slide, "a", *SIZE, 0.25, annotations=tumours)]
    )
    ran = cli("score", project, *NATIVE, "--dry-run")
    assert "note: number 1: encloses no area, so it has no score" in ran.out
    assert "number 0" not in ran.out


@pytest.mark.qupath
@pytest.mark.parametrize("folder", qupath_dirs() or [None])
def test_errors_of_java_are_one_row_too(three: Path, slide: Path, tmp_path: Path, folder) -> None:
    if folder is None:
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    damaged = three / "data" / "2" / "data.qpdata"
    damaged.write_bytes(damaged.read_bytes()[:-300])
    odd = odd_project(tmp_path / "odd", slide, size=SIZE).parent
    shutil.copy(odd / "data" / "1" / "data.qpdata", three / "data" / "3" / "data.qpdata")
    process = QuPathProcess(folder)
    try:
        printed = process("command", ["score", str(three), "--engine", "paquo", "--dry-run"])
        assert "one: would score" in printed
        assert "three: would score" in printed
        for name in ODD:
            assert f"note: {name}: " in printed
        found = process("java_error_at", three, "two")
        no_memory = process("said_of_no_memory", damaged)
    finally:
        process.close()
    assert [status for status, _ in found] == ["planned", "failed", "planned"]
    assert found[1][1].startswith("unexpected java.lang.IllegalStateException: first second (run")
    for said in no_memory:
        assert said.startswith(f"{damaged}: Java ran out of memory (java.lang.OutOfMemoryError: ")
        assert said.endswith("PAQUO_JAVA_OPTS=-Xmx12g, or use --engine native")
