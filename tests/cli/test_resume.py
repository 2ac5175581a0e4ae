"""``score --resume`` after outlines were edited, added or deleted: those alone are scored again."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapely.geometry import Polygon, box

from qupath_hccmil.method.aggregation import contributions, risk, slide_logit
from qupath_hccmil.method.published_numbers import POWER
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.data_types import ImageState
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.scoring import score_project as batch
from tests.conftest import qupath_dirs
from tests.qupath.conftest import QuPathProcess

NATIVE = ("--engine", "native")
SIDE = 512
FIRST, SECOND, THIRD = (
    box(SIDE, SIDE, 3 * SIDE, 2 * SIDE),
    box(SIDE, 2 * SIDE, 3 * SIDE, 4 * SIDE),
    box(3 * SIDE, SIDE, 4 * SIDE, 3 * SIDE),
)
# one tile row is left of the second, and it reaches into the third
EDITED = box(SIDE, 2 * SIDE, 4 * SIDE, 3 * SIDE)
ADDED = box(3 * SIDE, 3 * SIDE, 4 * SIDE, 4 * SIDE)

Outlines = Callable[[list[Polygon]], Path]


@pytest.fixture
def outlines(drawn_demo: Path, tmp_path: Path) -> Outlines:
    """A project with these outlines; made again it keeps what was scored, as QuPath does."""
    folder = tmp_path / "project"
    (slide,) = (drawn_demo / "slides").glob("*.tif")

    def make(shapes: list[Polygon]) -> Path:
        before = state_of(folder) if folder.exists() else None
        shutil.rmtree(folder, ignore_errors=True)
        annotations = [
            NewAnnotation(shape, "Tumor", f"Nodule {number}")
            for number, shape in enumerate(shapes, 1)
        ]
        create_project(
            folder, [NewImage(slide, "Slide", 3000, 2400, 0.25, annotations=annotations)]
        )
        if before is not None:
            with NativeProject(folder) as project:
                (entry,) = project.images
                state = project.read(entry)
                there = {each.id: each.index for each in state.annotations}
                moved = {each.index: there.get(each.id, -1) for each in before.annotations}
                found = before.results
                kept = replace(
                    found,
                    annotations={
                        moved[k]: v for k, v in found.annotations.items() if moved[k] >= 0
                    },
                    tiles={moved[k]: v for k, v in found.tiles.items() if moved[k] >= 0},
                )
                project.write(entry, kept, state.stamp)
        return folder

    return make


def state_of(folder: Path) -> ImageState:
    with NativeProject(folder) as project:
        return project.read(project.images[0])


def resume(cli: Any, folder: Path, *more: str) -> dict[str, Any]:
    ran = cli("score", folder, *NATIVE, "--resume", "--json", *more)
    assert ran.code == 0, ran.err
    (image,) = json.loads(ran.out)["images"]
    return image


def of_outline(state: ImageState, key: int) -> tuple[Any, ...]:
    """All values of an outline and its tiles but the tiles' shares of the slide."""
    tiles = state.results.tiles[key]
    measured = {
        name: values.tobytes()
        for name, values in tiles.measurements.items()
        if name != names.TILE_CONTRIBUTION
    }
    return (
        dict(state.results.annotations[key]),
        tiles.bounds.tobytes(),
        list(tiles.class_names),
        measured,
    )


def assert_adds_up(state: ImageState) -> None:
    """The slide's values are those of all its tiles, each counted once."""
    tiles = {
        tuple(np.rint(bounds).astype(int)): (logit, share)
        for part in state.results.tiles.values()
        for bounds, logit, share in zip(
            part.bounds,
            part.measurements[names.TILE_LOGIT],
            part.measurements[names.TILE_CONTRIBUTION],
            strict=True,
        )
    }
    logits, shares = np.array(list(tiles.values())).T
    assert shares == pytest.approx(contributions(logits, POWER), rel=1e-6)
    logit = slide_logit(logits, POWER)
    assert state.results.root[names.SLIDE_LOGIT] == pytest.approx(logit, rel=1e-9)
    assert state.results.root[names.SLIDE_RISK] == pytest.approx(float(risk(logit)), rel=1e-9)
    assert state.results.root[names.SLIDE_TILES] == len(tiles)


def test_only_edited_and_added_outlines_are_scored_again(cli: Any, outlines: Outlines) -> None:
    folder = outlines([FIRST, SECOND, THIRD])
    assert cli("score", folder, *NATIVE, "--quiet").code == 0
    before = state_of(folder)
    first, second, third = (each.index for each in before.annotations)
    outlines([FIRST, EDITED, THIRD, ADDED])
    told = cli("project", "info", folder, *NATIVE).out
    assert "STALE: outlines changed since: 1 edited (Nodule 2), 1 added (Nodule 4)" in told
    image = resume(cli, folder)
    after = state_of(folder)
    fourth = after.annotations[3].index
    for key in (first, third):
        assert of_outline(after, key) == of_outline(before, key)
    assert of_outline(after, second) != of_outline(before, second)
    assert len(after.results.tiles[second]) == 3
    assert len(after.results.tiles[fourth]) == 1
    assert_adds_up(after)
    # tiles of the two that were kept; the one that the edited one shares is theirs too
    assert (image["status"], image["reused"], image["tiles"]) == ("scored", 4, 7)
    assert "1 edited, 1 added; the scores of 2 outlines are kept" in image["notes"][0]
    assert resume(cli, folder)["status"] == "up to date"
    assert "STALE" not in cli("project", "info", folder, *NATIVE).out


def test_a_deleted_outline_takes_its_share_along(cli: Any, outlines: Outlines) -> None:
    folder = outlines([FIRST, SECOND, THIRD])
    assert cli("score", folder, *NATIVE, "--quiet").code == 0
    before = state_of(folder)
    outlines([FIRST, SECOND])
    assert "1 deleted" in cli("project", "info", folder, *NATIVE).out
    image = resume(cli, folder)
    after = state_of(folder)
    assert image["reused"] == image["tiles"] == 6
    for key in after.results.tiles:
        assert of_outline(after, key) == of_outline(before, key)
    assert_adds_up(after)
    assert resume(cli, folder)["status"] == "up to date"


def test_the_whole_slide_is_scored_where_nothing_can_be_kept(cli: Any, outlines: Outlines) -> None:
    folder = outlines([FIRST, SECOND])
    assert cli("score", folder, *NATIVE, "--quiet").code == 0
    outlines([SECOND, FIRST])
    assert resume(cli, folder)["reused"] == 0
    outlines([SECOND, EDITED])
    # other settings
    assert resume(cli, folder, "--force", "--min-inside", "0.9")["reused"] == 0
    outlines([SECOND, FIRST])
    # a random choice is one over all outlines
    again = resume(cli, folder, "--force", "--max-tiles", "3", "--min-inside", "0.9")
    assert again["reused"] == 0


def test_an_outline_whose_tiles_were_changed_is_scored_again(cli: Any, outlines: Outlines) -> None:
    folder = outlines([FIRST, SECOND])
    assert cli("score", folder, *NATIVE, "--quiet").code == 0
    before = state_of(folder)
    outlines([FIRST, SECOND, THIRD])
    with NativeProject(folder) as project:
        state = project.read(project.images[0])
        key, part = next(iter(state.results.tiles.items()))
        fewer = replace(
            part,
            bounds=part.bounds[1:],
            class_names=part.class_names[1:],
            measurements={name: values[1:] for name, values in part.measurements.items()},
        )
        tiles = {**state.results.tiles, key: fewer}
        project.write(state.entry, replace(state.results, tiles=tiles), state.stamp)
    image = resume(cli, folder)
    after = state_of(folder)
    assert image["reused"] == 4
    assert of_outline(after, key) == of_outline(before, key)
    assert_adds_up(after)


def test_a_list_that_contradicts_its_image_is_told_and_repaired(
    cli: Any, outlines: Outlines
) -> None:
    """As when QuPath was open while we wrote, and saves its own list afterwards."""
    folder = outlines([FIRST])
    listed = folder / "project.qpproj"
    old = listed.read_bytes()
    assert cli("score", folder, *NATIVE, "--quiet").code == 0
    listed.write_bytes(old)
    told = cli("project", "info", folder, *NATIVE).out
    assert "the project's list differs from the image" in told
    assert cli("project", "check", folder, *NATIVE).code == 3
    image = resume(cli, folder)
    assert image["status"] == "up to date"
    assert "it was repaired" in image["notes"][0]
    assert cli("project", "check", folder, *NATIVE).out == "sound\n"


def test_an_image_saved_while_it_was_scored_is_done_again_on_resume(
    cli: Any, outlines: Outlines, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = outlines([FIRST])
    data = folder / "data" / "1" / "data.qpdata"
    saved = data.read_bytes()
    outlines([SECOND])
    real = batch.score_slide

    def meanwhile(*arguments: Any, **settings: Any) -> Any:
        data.write_bytes(saved)
        return real(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(batch, "score_slide", meanwhile)
        ran = cli("score", folder, *NATIVE)
    assert ran.code == 3
    assert "Slide: FAILED" in ran.err
    assert "was changed by another program" in ran.err
    assert data.read_bytes() == saved
    assert resume(cli, folder)["status"] == "scored"
    (bounds,) = {tuple(part.bounds[0]) for part in state_of(folder).results.tiles.values()}
    assert bounds[:2] == (SIDE, SIDE)


def test_a_project_that_another_run_writes_is_not_scored(cli: Any, outlines: Outlines) -> None:
    """It is told before hours of work, and waited for as long as asked."""
    folder = outlines([FIRST])
    with NativeProject(folder) as other:
        other.begin()
        for command in (
            ("score", folder, *NATIVE),
            ("project", "clear", folder, *NATIVE),
            ("score", folder, *NATIVE, "--wait", 0.2),
        ):
            ran = cli(*command)
            assert ran.code == 1
            assert f"process {os.getpid()} on" in ran.err.splitlines()[-1]
        assert cli("score", folder, *NATIVE, "--dry-run").code == 0
        assert cli("project", "info", folder, *NATIVE).code == 0


@pytest.fixture
def qupath() -> Iterator[QuPathProcess]:
    installed = qupath_dirs()
    if not installed:
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    process = QuPathProcess(installed[-1])
    yield process
    process.close()


@pytest.mark.qupath
def test_outlines_that_qupath_edits_are_scored_again(
    cli: Any, qupath: QuPathProcess, outlines: Outlines
) -> None:
    """Scored by the native engine, edited by QuPath's objects, looked at and resumed by paquo."""
    folder = outlines([FIRST, SECOND, THIRD])
    assert cli("score", folder, *NATIVE, "--quiet").code == 0
    before = state_of(folder)
    first, _, third = (each.index for each in before.annotations)
    qupath("edit_outlines", folder / "data" / "1" / "data.qpdata", EDITED.bounds, ADDED.bounds)
    told = qupath("command", ["project", "info", str(folder), "--engine", "paquo"])
    assert "1 edited (Nodule 2), 1 added" in told
    assert "1 deleted" in told
    told = qupath("command", ["score", str(folder), "--resume", "--json", "--engine", "paquo"])
    (image,) = json.loads(told)["images"]
    assert (image["reused"], image["tiles"]) == (2, 6)
    after = state_of(folder)
    assert of_outline(after, first) == of_outline(before, first)
    gone = before.annotations[third].id
    assert gone not in {each.id for each in after.annotations}
    assert_adds_up(after)
