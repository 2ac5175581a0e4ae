"""``export``: every level, both formats, and GeoJSON."""

import csv
import json

import pyarrow.parquet as pq
import pytest

NATIVE = ("--engine", "native")


@pytest.fixture
def scored(cli, project):
    cli("score", project, *NATIVE, "--quiet")
    return project


def read(path):
    with path.open(encoding="utf-8-sig", newline="") as source:
        return list(csv.DictReader(source))


def test_every_level_as_csv_and_parquet(cli, scored, tmp_path):
    counts = {}
    for level in ("image", "annotation", "tile", "patient"):
        ran = cli("export", scored, tmp_path / f"{level}.csv", "--level", level, *NATIVE)
        assert ran.code == 0, ran.err
        rows = read(tmp_path / f"{level}.csv")
        cli("export", scored, tmp_path / f"{level}.parquet", "--level", level, *NATIVE)
        table = pq.read_table(tmp_path / f"{level}.parquet")
        assert table.num_rows == len(rows)
        assert table.column_names == list(rows[0])
        counts[level] = len(rows)
    assert counts["image"] == counts["patient"] == 1
    assert counts["tile"] > counts["annotation"] >= 1


def test_a_single_slides_patient_has_the_slides_score(cli, scored, tmp_path):
    cli("export", scored, tmp_path / "image.csv", *NATIVE)
    cli("export", scored, tmp_path / "patient.csv", "--level", "patient", *NATIVE)
    (image,), (patient,) = read(tmp_path / "image.csv"), read(tmp_path / "patient.csv")
    assert patient["patient"] == "Demo"
    assert float(patient["risk"]) == pytest.approx(float(image["risk"]), abs=1e-9)
    assert patient["group"] == image["group"]
    assert patient["rule"].startswith("pool")


def test_patients_from_a_table(cli, scored, tmp_path):
    table = tmp_path / "patients.csv"
    table.write_text("image,patient\ndrawn-liver-tumour.tif,P-17\n")
    out = tmp_path / "scores.csv"
    cli("export", scored, out, "--level", "patient", "--patients", table, *NATIVE)
    assert [row["patient"] for row in read(out)] == ["P-17"]


def test_a_table_with_two_spellings_of_a_patient_is_refused(cli, scored, tmp_path):
    table = tmp_path / "patients.csv"
    table.write_text("image,patient\ndrawn-liver-tumour.tif,P-17\nother.tif,p-17\n")
    ran = cli("export", scored, tmp_path / "out.csv", "--patients", table, *NATIVE)
    assert ran.code == 1
    assert "patients.csv: column 'patient': patients 'P-17' and 'p-17' differ only in" in ran.err


def test_patients_from_a_table_as_excel_saves_it(cli, scored, tmp_path):
    table = tmp_path / "patients.csv"
    rows = "sep=;\nImage;Patient\ndrawn-liver-tumour.tif;Müller\ngone.tif;P-18\n"
    table.write_bytes(rows.encode("cp1252"))
    out = tmp_path / "scores.csv"
    ran = cli("export", scored, out, "--level", "patient", "--patients", table, *NATIVE)
    assert [row["patient"] for row in read(out)] == ["Müller"]
    assert "read as Windows-1252" in ran.err
    assert "rows that match no image of the project: 1 (gone.tif)" in ran.err


def test_geojson_holds_outlines_and_tiles(cli, scored, tmp_path):
    ran = cli("export", scored, tmp_path / "geojson", "--geojson", *NATIVE)
    assert ran.code == 0
    (path,) = (tmp_path / "geojson").glob("*.geojson")
    kinds = [f["properties"]["objectType"] for f in json.loads(path.read_text())["features"]]
    assert kinds.count("tile") > kinds.count("annotation") >= 1
