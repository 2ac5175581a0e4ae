"""Tables as users have them: what is read as what, and how a bad one is named."""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.tables.table_reader import as_numbers, find_patient_column, read_table
from tests.columns import column


def test_only_an_empty_cell_is_missing(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,invasion\n1,None\n2,NA\n3,\n")
    assert read_table(path)["invasion"].tolist() == ["None", "NA", None]


def test_formats_give_the_same_table(tmp_path):
    frame = pd.DataFrame({"id": ["007", "8"], "age": [61.5, 58.0], "note": ["None", "ü"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    tables = [read_table(tmp_path / f"t.{suffix}") for suffix in ("csv", "parquet", "xlsx")]
    for table in tables:
        assert table["id"].tolist() == ["007", "8"]
        assert table["note"].tolist() == ["None", "ü"]
        assert as_numbers(table["age"], "t", ()).tolist() == [61.5, 58.0]


def test_a_european_csv_is_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffid;größe\n1;2,5\n2;3\n".encode())
    assert as_numbers(read_table(path)["größe"], path, ()).tolist() == [2.5, 3.0]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("absent.csv", None, "no such file"),
        ("t.doc", b"x", "none of .csv"),
        ("t.csv", b"id\n\xff\xfe\n", "not UTF-8"),
        ("t.csv", b"id,x\n", "no rows"),
        ("t.csv", b"", "cannot be read"),
        ("t.xlsx", b"no zip", "cannot be read as .xlsx"),
        ("t.parquet", b"no parquet", "cannot be read as .parquet"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(tmp_path, name, content, told):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=told) as error:
        read_table(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_patient_column_is_found_or_asked_for():
    frame = pd.DataFrame({"Age": [1], "Patient ID": ["a"]})
    assert find_patient_column(frame, "t.csv") == "Patient ID"
    with pytest.raises(DataError, match="which column names the patient"):
        find_patient_column(frame[["Age"]], "t.csv")
    with pytest.raises(DataError, match="no column 'who'"):
        find_patient_column(frame, "t.csv", "who")


def test_a_text_among_numbers_says_what_to_do():
    with pytest.raises(DataError, match=r"'\[N/A\]' is no number \(1 row\(s\)\); say --missing"):
        as_numbers(column("1", "[N/A]"), "t.csv", ())
    assert np.isnan(as_numbers(column("1", "[N/A]"), "t.csv", ("[N/A]",)).iloc[1])
