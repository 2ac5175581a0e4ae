"""Every table of ours goes through one writer: guarded, UTF-8 for spreadsheets, exact when read."""

import ast
import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qupath_hccmil
from qupath_hccmil.learning.training_log import write_log
from qupath_hccmil.slide_sources.left_out import LeftOut, write_left_out
from qupath_hccmil.tables.export_columns import columns_of
from qupath_hccmil.tables.spreadsheet_text import guarded, unguarded
from qupath_hccmil.tables.table import Table
from qupath_hccmil.tables.table_reader import read_table
from qupath_hccmil.tables.table_writer import write_rows, write_table
from qupath_hccmil.training.clinical_table import read_clinical

PACKAGE = Path(qupath_hccmil.__file__).parent
PATIENTS = (
    "=A1",
    "-3",
    "+49 170",
    "@home",
    "'=A1",
    "''-3",
    "'tis",
    "it's",
    "Müller 肝 🧬",
    "-3.5e2",
)
WRITERS = ("csv.writer", "DictWriter", "to_csv", "to_parquet", "to_excel", "ParquetWriter")
BOM = b"\xef\xbb\xbf"


@given(st.text(alphabet="'=+-@\t\r\nab1", max_size=6))
def test_a_text_comes_back_as_it_was(text):
    assert unguarded(guarded(text)) == text
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@pytest.mark.parametrize("patient", PATIENTS)
def test_a_patient_of_any_name_is_the_same_after_writing_and_reading(tmp_path, patient):
    batch = {column.name: [None] for column in columns_of("image")}
    batch |= {"patient": [patient]}
    write_table(Table("image", [batch]), tmp_path / "exported.csv")
    write_rows(tmp_path / "small.csv", ["patient", "r"], [[patient, -0.5]])
    for name in ("exported.csv", "small.csv"):
        assert (tmp_path / name).read_bytes().startswith(BOM)
        assert read_table(tmp_path / name).frame["patient"].tolist() == [patient]


def test_numbers_are_written_to_the_last_bit_and_no_value_is_an_empty_cell(tmp_path):
    values = [0.1 + 0.2, -1e-17, -3, np.float64(2) / 3, np.int64(4), None, np.nan, "-3"]
    names = [f"c{k}" for k in range(len(values))]
    write_rows(tmp_path / "t.csv", names, [values])
    with (tmp_path / "t.csv").open(encoding="utf-8-sig", newline="") as file:
        head, row = csv.reader(file)
    assert head == names
    assert [float(cell) for cell in row[:5]] == values[:5]
    assert row[5:] == ["", "", "'-3"]


def test_pandas_and_python_read_the_mark_away(tmp_path):
    write_rows(tmp_path / "t.csv", ["patient"], [["Größe 肝"]])
    assert pd.read_csv(tmp_path / "t.csv")["patient"].tolist() == ["Größe 肝"]


def test_half_a_surrogate_pair_ends_no_table(tmp_path):
    write_rows(tmp_path / "t.csv", ["image"], [["Gr\udcf6\ud800e.svs"]])
    assert read_table(tmp_path / "t.csv").frame["image"].tolist() == ["Gr\\udcf6\\ud800e.svs"]
    batch = {column.name: [None] for column in columns_of("image")} | {"image": ["Gr\udcf6\ud800e"]}
    for suffix in (".csv", ".parquet"):
        write_table(Table("image", [batch]), tmp_path / f"u{suffix}")
        assert read_table(tmp_path / f"u{suffix}").frame["image"].tolist() == ["Gr\\udcf6\\ud800e"]


def test_who_is_left_out_is_read_by_a_spreadsheet_as_text(tmp_path):
    left_out = [LeftOut("patient", "=A1", "no slide", "-x"), LeftOut("slide", "ö", "y")]
    write_left_out(tmp_path / "l.csv", left_out)
    with (tmp_path / "l.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["'=A1", "ö"]
    assert rows[0]["detail"] == "'-x"


def test_a_log_that_misses_a_value_has_an_empty_cell(tmp_path):
    log = [{"epoch": 1.0, "loss": 0.5}, {"epoch": 2.0, "loss": float("nan")}]
    write_log(tmp_path, log, {"loss": "loss"})
    assert (tmp_path / "log.csv").read_bytes() == BOM + b"epoch,loss\r\n1.0,0.5\r\n2.0,\r\n"


def test_a_clinical_table_made_of_ours_names_the_same_patients(tmp_path):
    rows = [[patient, label] for patient, label in zip(PATIENTS, ["good", "poor"] * 5, strict=True)]
    write_rows(tmp_path / "c.csv", ["patient", "label"], rows)
    cohort = read_clinical(tmp_path / "c.csv").cohort
    assert cohort.labels.keys() == set(PATIENTS)


def test_no_other_module_writes_tables():
    """csv.writer, csv.DictWriter and to_csv or to_parquet stand in the one writer alone."""
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path == PACKAGE / "tables" / "table_writer.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node).endswith(WRITERS):
                wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong
