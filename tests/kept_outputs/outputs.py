"""What a small project comes to: its scores and tables, and its files with results that are given.

    python -m tests.kept_outputs.outputs

makes the reference anew. Do that only where a change of outputs is meant, and say so in the
changelog.
"""

import csv
import hashlib
import io
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from qupath_hccmil.cli.main import run
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import ImageResults, ImageState, TileObjects, WorkflowStep
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint, outline_fingerprint
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.run_record import OutlineRecord, RunRecord, listed_metadata
from qupath_hccmil.qupath.selection import tumour_annotations

HERE = Path(__file__).parent
REFERENCE = HERE / "reference"
DATA = HERE.parent / "data"
SCORED_PROJECT = "qupath-0.6.0"
SCORED_IMAGE = "objects*"
# QuPath stores an identity of objects since 0.4: without one, results have nothing to hold on to
WRITTEN_PROJECTS = ("qupath-0.4.4", "qupath-0.5.1", "qupath-0.6.0", "qupath-0.7.0")
# Its outlines have areas that processors may round differently, which only tables hold.
CURVED = "objects 肝 🧬.tif"
WRITTEN_IMAGES = (CURVED, "pyramid.tif", "rotated 90.tif")
LEVELS = ("image", "annotation", "tile")
# Of a run's time and version; the settings' hash has the version in it.
VOLATILE = ("version", "time", "settings_sha256")
MOMENT = 1_700_000_000_000_000_000


def scored(folder: Path) -> dict[str, Any]:
    """Score an image through the command line, and read its tables and its GeoJSON.

    Returns
    -------
    dict
        A list of rows for each level, numbers as numbers, and the GeoJSON.
    """
    project = Path(shutil.copytree(DATA / "projects" / SCORED_PROJECT, folder / "project"))
    native = ("--engine", "native", "--quiet")
    command(
        *("score", project, *native, "--slides", DATA / "slides", "--image", SCORED_IMAGE),
        *("--min-inside", "0.3", "--precision", "f32"),
    )
    content: dict[str, Any] = {}
    for level in LEVELS:
        out = folder / f"{level}.csv"
        command("export", project, out, "--level", level, *native)
        content[level] = [row for row in table(out.read_bytes()) if row.get("risk", "0") != ""]
    command("export", project, folder / "geojson", "--geojson", *native)
    (geojson,) = (folder / "geojson").iterdir()
    content["geojson"] = json.loads(geojson.read_text(encoding="utf-8"))
    return content


def command(*words: object) -> None:
    """Run a command line that must go well."""
    assert run([str(word) for word in words]) == 0, words


def table(content: bytes) -> list[dict[str, Any]]:
    """Rows of a CSV, without what differs in every run; numbers as numbers."""
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    return [{key: number(text) for key, text in row.items() if key not in VOLATILE} for row in rows]


def number(text: str) -> float | str:
    """What a cell says."""
    try:
        return float(text)
    except ValueError:
        return text


def written(folder: Path) -> dict[str, bytes]:
    """Write results that are given into projects of every QuPath, and export them.

    Returns
    -------
    dict of str to bytes
        Files of the projects that are new or were changed, but our backups, and the tables of one
        project.
    """
    found: dict[str, bytes] = {}
    with mock.patch.object(time, "time_ns", return_value=MOMENT):
        for name in WRITTEN_PROJECTS:
            path = Path(shutil.copytree(DATA / "projects" / name, folder / name))
            with NativeProject(path) as project:
                project.add_classes(names.CLASS_COLOURS)
                for entry in project.images:
                    in_tables = name == SCORED_PROJECT
                    if entry.name in WRITTEN_IMAGES and not (in_tables and entry.name == CURVED):
                        state = project.read(entry)
                        project.write(entry, given_results(state), state.stamp)
            for file in sorted(path.rglob("*")):
                place = file.relative_to(folder).as_posix()
                before = DATA / "projects" / place
                if file.is_file() and "hccmil-backups" not in place:
                    content = file.read_bytes()
                    if not before.exists() or content != before.read_bytes():
                        found[place] = content
    native = ("--engine", "native", "--quiet")
    for level in LEVELS:
        out = folder / f"{level}.csv"
        command("export", folder / SCORED_PROJECT, out, "--level", level, *native)
        found[out.name] = out.read_bytes()
    command("export", folder / SCORED_PROJECT, folder / "geojson", "--geojson", *native)
    for file in sorted((folder / "geojson").iterdir()):
        found[f"geojson/{file.name}"] = file.read_bytes()
    return found


def given_results(state: ImageState) -> ImageResults:
    """Results whose numbers every processor has to the bit: three tiles in each tumour outline."""
    outlines = tumour_annotations(state)
    parts = {each.index: tiles_of(place) for place, each in enumerate(outlines)}
    record = RunRecord(
        risk=0.625,
        logit=0.5,
        group="high",
        tiles=3 * len(outlines),
        p=3.0,
        threshold=0.4457,
        model="given",
        surrogate=True,
        weights_sha256="ab" * 32,
        settings_sha256="cd" * 32,
        version="0.2.0",
        time="2026-01-01T00:00:00+00:00",
        mpp=0.5,
        mpp_source="QuPath",
        fingerprint=annotation_fingerprint(outlines),
        settings={"annotation_classes": ["Tumor", "Tumour", "HCC"]},
        outlines=tuple(
            OutlineRecord(each.index, each.id, outline_fingerprint(each), 3, 1, 0)
            for each in outlines
        ),
        stain={},
        background=len(outlines),
        blurred=0,
        measurements=tuple(sorted(names.MEASUREMENTS)),
    )
    values = {
        names.ANNOTATION_RISK: 0.75,
        names.ANNOTATION_LOGIT: 1.125,
        names.ANNOTATION_TILES: 3.0,
        names.ANNOTATION_HIGH_FRACTION: 0.5,
        names.ANNOTATION_NUCLEI_FRACTION: 0.25,
    }
    return ImageResults(
        annotations={index: dict(values) for index in parts},
        tiles=parts,
        root={
            names.SLIDE_RISK: record.risk,
            names.SLIDE_LOGIT: record.logit,
            names.SLIDE_TILES: float(record.tiles),
        },
        metadata=listed_metadata(record),
        step=WorkflowStep(names.STEP_NAME, "run()", {names.STEP_RECORD: record.to_parameter()}),
    )


def tiles_of(place: int) -> TileObjects:
    """Three tiles, of both classes; one has no share of nuclei."""
    steps = np.arange(3.0)
    bounds = np.column_stack(
        [40 + 64.25 * steps, 30 + 8 * place + 0 * steps, 0 * steps + 64.25, 0 * steps + 64]
    )
    return TileObjects(
        bounds=bounds,
        class_names=[names.CLASS_HIGH, names.CLASS_LOW, names.CLASS_HIGH],
        measurements={
            names.TILE_RISK: (steps + 1) / 4,
            names.TILE_LOGIT: steps - 1.5,
            names.TILE_CONTRIBUTION: steps / 8,
            names.TILE_NUCLEI_FRACTION: np.array([0.5, np.nan, 0.25]),
        },
    )


def sha256(content: bytes) -> str:
    """Hash by which a file is known in the reference."""
    return hashlib.sha256(content).hexdigest()


def is_text(place: str) -> bool:
    """Whether a file stands in the reference as it is, so that a difference can be read."""
    return place.endswith((".csv", ".geojson"))


def main() -> None:
    """Make the reference anew."""
    shutil.rmtree(REFERENCE, ignore_errors=True)
    REFERENCE.mkdir()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        content = scored(Path(one))
        (REFERENCE / "scored.json").write_text(
            json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        files = written(Path(two))
    for place, content_of in files.items():
        if is_text(place):
            path = REFERENCE / "written" / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content_of)
    hashes = {place: sha256(content_of) for place, content_of in files.items()}
    (REFERENCE / "written.json").write_text(
        json.dumps(hashes, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
