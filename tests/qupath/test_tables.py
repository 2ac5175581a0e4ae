"""Export tables of a real project: every level, joined by id, with nothing made up."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import box

from qupath_hccmil.errors import DataError, HccMilError
from qupath_hccmil.method.patient_score import rule_text
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.data_types import ImageResults, ImageState, TileObjects, WorkflowStep
from qupath_hccmil.qupath.export.score_tables import table
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint, outline_fingerprint
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.run_record import OutlineRecord, RunRecord, listed_metadata
from qupath_hccmil.qupath.selection import tumour_annotations
from qupath_hccmil.qupath.tile_ids import tile_ids
from qupath_hccmil.tables.table import Table
from qupath_hccmil.tables.table_writer import write_table

WEIGHTS = "ab" * 32


def new_image(name: str, patient: str | None) -> NewImage:
    return NewImage(
        path=Path("/slides") / name,
        name=name,
        width=8000,
        height=6000,
        mpp=0.25,
        metadata={"Patient ID": patient} if patient else {},
        annotations=[
            NewAnnotation(box(0, 0, 2048, 1024), "Tumor", "left", locked=True),
            NewAnnotation(box(1024, 0, 3072, 1024), "tumour", "=right"),
            NewAnnotation(box(0, 2000, 100, 2100), "Stroma", None),
        ],
    )


def results(
    state: ImageState, logits: list[float], weights: str = WEIGHTS, fingerprint: str = ""
) -> ImageResults:
    """Write what a run of ours would: one row of tiles, the last of `left` shared with `right`."""
    left, right = tumour_annotations(state)
    bounds = np.array([[512.0 * k, 0, 512, 512] for k in range(len(logits))])
    s = np.asarray(logits, float)
    risk = 1 / (1 + np.exp(-s))
    nuclei = np.full(len(s), 0.25)
    nuclei[0] = np.nan
    m = np.mean(s**3)
    logit = float(np.cbrt(m))

    def part(rows: slice) -> TileObjects:
        classes = np.where(risk > 0.4457, names.CLASS_HIGH, names.CLASS_LOW)[rows].tolist()
        measured = {
            names.TILE_RISK: risk[rows],
            names.TILE_LOGIT: s[rows],
            names.TILE_CONTRIBUTION: s[rows] ** 3 / len(s),
            names.TILE_NUCLEI_FRACTION: nuclei[rows],
        }
        return TileObjects(bounds[rows], classes, measured)

    slide_risk = float(1 / (1 + np.exp(-logit)))
    record = RunRecord(
        risk=slide_risk,
        logit=logit,
        group="high" if slide_risk > 0.4457 else "low",
        tiles=len(s),
        p=3.0,
        threshold=0.4457,
        model="demo",
        surrogate=True,
        weights_sha256=weights,
        settings_sha256="ef" * 32,
        version="0.1.0",
        time="2026-01-01T00:00:00+00:00",
        mpp=0.25,
        mpp_source="QuPath",
        fingerprint=fingerprint or annotation_fingerprint([left, right]),
        settings={"annotation_classes": ["Tumor", "Tumour", "HCC"]},
        outlines=tuple(
            OutlineRecord(each.index, each.id, outline_fingerprint(each), count, 0, 0)
            for each, count in ((left, 2), (right, len(s) - 1))
        ),
        stain={},
        background=0,
        blurred=0,
    )
    values = {names.ANNOTATION_RISK: slide_risk, names.ANNOTATION_LOGIT: logit}
    return ImageResults(
        annotations={
            left.index: {
                **values,
                names.ANNOTATION_TILES: 2.0,
                names.ANNOTATION_HIGH_FRACTION: 0.5,
            },
            right.index: {**values, names.ANNOTATION_TILES: float(len(s) - 1)},
        },
        tiles={left.index: part(slice(0, 2)), right.index: part(slice(1, None))},
        root={
            names.SLIDE_RISK: slide_risk,
            names.SLIDE_LOGIT: logit,
            names.SLIDE_TILES: float(len(s)),
        },
        metadata=listed_metadata(record),
        step=WorkflowStep(names.STEP_NAME, "", {names.STEP_RECORD: record.to_parameter()}),
    )


# Written once: a.svs and b.svs are of one patient, c.svs of another, d.svs was never scored.
SCORED = {"a.svs": [2.0, -1.0, 0.5], "b.svs": [-0.5, -3.0, 1.0, 0.25], "c.svs": [-1.0, 0.1]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables") / "project"
    patients = {"a.svs": "P1", "b.svs": "P1", "c.svs": "P2", "d.svs": "P2"}
    create_project(folder, [new_image(name, patient) for name, patient in patients.items()])
    with NativeProject(folder) as project:
        for entry in project.images:
            if entry.name in SCORED:
                state = project.read(entry)
                project.write(entry, results(state, SCORED[entry.name]), state.stamp)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy, for tests that change the project."""
    return Path(shutil.copytree(made, tmp_path / "project"))


def rows(table: Table) -> list[dict]:
    """A table as a list of rows."""
    order = [column.name for column in table.columns]
    found: list[dict] = []
    for batch in table.batches:
        assert list(batch) == order or set(batch) == set(order)
        columns = [batch[name] for name in order]
        found += [dict(zip(order, cells, strict=True)) for cells in zip(*columns, strict=True)]
    return found


def test_images_scored_and_not(made: Path) -> None:
    a, b, c, d = rows(table(NativeProject(made), "image"))
    assert [row["image"] for row in (a, b, c, d)] == ["a.svs", "b.svs", "c.svs", "d.svs"]
    expected = float(np.cbrt(np.mean(np.asarray(SCORED["a.svs"]) ** 3)))
    assert a["risk_logit"] == expected
    assert a["risk"] == pytest.approx(1 / (1 + np.exp(-expected)), rel=1e-12)
    # the tile that two annotations share counts once
    assert a["tiles"] == 3
    assert a["high_risk_tile_fraction"] == pytest.approx(2 / 3)
    assert b["high_risk_tile_fraction"] == pytest.approx(2 / 4)
    assert a["nuclei_fraction"] == pytest.approx(0.25)
    assert (a["mpp"], a["mpp_source"], a["stale"]) == (0.25, "QuPath", False)
    assert (a["model"], a["weights_sha256"], a["patient"]) == ("demo", WEIGHTS, "P1")
    empty = {name for name, value in d.items() if value is None}
    assert set(d) - empty == {"image", "entry_id", "patient"}


def test_annotations_carry_their_own_values(made: Path) -> None:
    found = rows(table(NativeProject(made), "annotation"))
    assert len(found) == 6
    left, right = found[:2]
    assert (left["annotation_name"], left["class"]) == ("left", "Tumor")
    assert left["area_um2"] == pytest.approx(2048 * 1024 / 16)
    assert (left["tiles"], right["tiles"]) == (2, 2)
    assert left["high_risk_tile_fraction"] == 0.5
    assert right["high_risk_tile_fraction"] is None


def test_tiles_are_those_in_the_project(made: Path) -> None:
    project = NativeProject(made)
    found = [row for row in rows(table(project, "tile")) if row["image"] == "a.svs"]
    left = tumour_annotations(project.read(project.images[0]))[0]
    assert len(found) == 4
    assert [row["x_px"] for row in found] == [0, 512, 512, 1024]
    bounds = np.array(
        [[row[f"{n}_px"] for n in ("x", "y", "width", "height")] for row in found[:2]]
    )
    assert [row["tile_id"] for row in found[:2]] == [str(i) for i in tile_ids(left.id, bounds)]
    assert [row["tile_logit"] for row in found] == pytest.approx([2, -1, -1, 0.5])
    assert found[0]["tile_nuclei_fraction"] is None
    assert found[1]["tile_nuclei_fraction"] == pytest.approx(0.25)
    assert found[0]["class"] == names.CLASS_HIGH


def test_a_patients_slides_are_pooled_as_one(made: Path) -> None:
    first, second = rows(table(NativeProject(made), "patient"))
    tiles = np.asarray(SCORED["a.svs"] + SCORED["b.svs"])
    assert first["patient"] == "P1"
    assert first["risk_logit"] == pytest.approx(float(np.cbrt(np.mean(tiles**3))), rel=1e-12)
    assert first["group"] == ("high" if first["risk"] > 0.4457 else "low")
    assert (first["tiles"], first["images"], first["images_scored"]) == (7, 2, 2)
    assert first["rule"] == rule_text("pool", 3)
    assert first["high_risk_tile_fraction"] == pytest.approx(4 / 7)
    assert (second["images"], second["images_scored"], second["tiles"]) == (2, 1, 2)


def test_other_rules_take_the_slides_risks(made: Path) -> None:
    project = NativeProject(made)
    a, b = (row["risk"] for row in rows(table(project, "image"))[:2])
    for join, expected in (("max", max(a, b)), ("mean", (a + b) / 2)):
        row = rows(table(project, "patient", join=join))[0]  # type: ignore[arg-type]
        assert row["risk"] == pytest.approx(expected)
        assert row["rule"].startswith(join)


def test_a_patient_without_a_score_has_empty_values(made: Path) -> None:
    found = rows(table(NativeProject(made), "patient", patient_of=lambda entry: entry.name))
    last = found[-1]
    assert (last["patient"], last["images"], last["images_scored"]) == ("d.svs", 1, 0)
    assert {last[name] for name in ("risk", "risk_logit", "group", "tiles", "rule")} == {None}


def test_a_scored_image_without_a_patient_is_told(made: Path) -> None:
    with pytest.raises(DataError, match=r"a\.svs: has no patient") as error:
        rows(table(NativeProject(made), "patient", patient_of=lambda entry: None))
    assert "\n" not in str(error.value)


def test_two_spellings_of_a_patient_are_not_two(made: Path) -> None:
    spelled = {"a.svs": "P1", "b.svs": "p1", "c.svs": "P2", "d.svs": "P2"}
    project = NativeProject(made)
    with pytest.raises(DataError, match=r"^image b\.svs: patient 'p1', and image a\.svs: "):
        rows(table(project, "patient", patient_of=lambda entry: spelled[entry.name]))
    # the rows of images are as the project has them
    assert len(rows(table(project, "image", patient_of=lambda entry: spelled[entry.name]))) == 4


def test_slides_of_different_models_are_not_joined(folder: Path) -> None:
    with NativeProject(folder) as project:
        entry = project.images[1]
        state = project.read(entry)
        project.write(entry, results(state, [1.0, 2.0], weights="cd" * 32), state.stamp)
    with pytest.raises(DataError, match="P1: slides were scored by different models"):
        rows(table(NativeProject(folder), "patient"))


def test_an_edited_outline_makes_the_score_stale(folder: Path) -> None:
    with NativeProject(folder) as project:
        entry = project.images[0]
        state = project.read(entry)
        changed = results(state, SCORED["a.svs"], fingerprint="0" * 64)
        project.write(entry, changed, state.stamp)
    project = NativeProject(folder)
    assert [row["stale"] for row in rows(table(project, "image"))] == [True, False, False, None]
    assert rows(table(project, "patient"))[0]["stale"] is True
    # judged by another class, the outlines are others
    assert all(row["stale"] for row in rows(table(project, "image", classes=["Stroma"]))[:3])


def test_a_damaged_image_is_told_and_the_others_are_there(folder: Path) -> None:
    project = NativeProject(folder)
    data = folder / "data" / project.images[1].id / "data.qpdata"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(HccMilError):
        rows(table(project, "image"))
    told: list[str] = []
    found = rows(table(project, "image", failed=lambda entry, error: told.append(entry.name)))
    assert told == ["b.svs"]
    assert [row["image"] for row in found] == ["a.svs", "c.svs", "d.svs"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_every_level_is_written(made: Path, tmp_path: Path, suffix: str) -> None:
    project = NativeProject(made)
    tables = {
        "image": (table(project, "image"), 4),
        "annotation": (table(project, "annotation"), 6),
        "tile": (table(project, "tile"), 12),
        "patient": (table(project, "patient"), 2),
    }
    for level, (scores, expected) in tables.items():
        assert write_table(scores, tmp_path / f"{level}{suffix}") == expected


def test_a_name_cannot_become_a_formula(made: Path, tmp_path: Path) -> None:
    write_table(table(NativeProject(made), "annotation"), tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8-sig", newline="") as source:
        assert [row["annotation_name"] for row in csv.DictReader(source)][:2] == ["left", "'=right"]
