"""Tables as users have them: what is read as what, and how a bad one is named."""

import unicodedata

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.tables.table_reader import (
    Reading,
    as_numbers,
    find_column,
    find_patient_column,
    read_table,
)
from tests.columns import column


def test_only_an_empty_cell_is_missing(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,invasion\n1,None\n2,NA\n3,\n")
    assert read_table(path).frame["invasion"].tolist() == ["None", "NA", None]


def test_formats_give_the_same_table(tmp_path):
    frame = pd.DataFrame({"id": ["007", "8"], "age": [61.5, 58.0], "note": ["None", "ü"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    tables = [read_table(tmp_path / f"t.{suffix}") for suffix in ("csv", "parquet", "xlsx")]
    for table in tables:
        assert table.frame["id"].tolist() == ["007", "8"]
        assert table.frame["note"].tolist() == ["None", "ü"]
        assert table.numbers("age").tolist() == [61.5, 58.0]


def test_a_european_csv_is_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffid;größe\n1;2,5\n2;3\n".encode())
    assert read_table(path).numbers("größe").tolist() == [2.5, 3.0]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("absent.csv", None, "no such file"),
        ("t.doc", b"x", "not one of .csv"),
        ("t.csv", b"id\n\x81\x8d\n", "is not UTF-8, UTF-16 or Windows-1252"),
        ("t.csv", b'id,x\n1,"2\n', "unexpected end of data"),
        ("t.csv", b"id,x\n1,2,3\n", "row 2 has 3 cells, but the header has 2"),
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
    with pytest.raises(DataError, match="no column is known to name the patient"):
        find_patient_column(frame[["Age"]], "t.csv")
    with pytest.raises(DataError, match="no column 'who'"):
        find_patient_column(frame, "t.csv", "who")


def test_a_text_among_numbers_says_what_to_do():
    with pytest.raises(DataError, match=r"'\[N/A\]' is not a number \(1 row\); give --missing"):
        as_numbers(column("1", "[N/A]"), "t.csv", ())
    assert np.isnan(as_numbers(column("1", "[N/A]"), "t.csv", ("[N/A]",)).iloc[1])


def written(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8", []),
        ("utf-8-sig", []),
        ("utf-16", ["read as UTF-16"]),
        ("utf-16-le", ["read as UTF-16"]),
        ("utf-16-be", ["read as UTF-16"]),
        ("cp1252", ["read as Windows-1252"]),
    ],
)
def test_encodings_of_hospitals_are_read_and_said(tmp_path, encoding, told):
    path = written(tmp_path, "patient,größe\r\nMüller,3\r\n".encode(encoding))
    table = read_table(path)
    assert table.frame.to_dict("list") == {"patient": ["Müller"], "größe": ["3"]}
    assert table.said == told


@pytest.mark.parametrize(
    "content",
    [
        "sep=;\nid;x\n1;2\n",
        "\ufeffsep=;\r\nid;x\r\n1;2\r\n",
        "# made by R\n# on Monday\nid,x\n1,2\n",
        "Cohort of 2024\n\nid\tx\n1\t2\n",
        "Cohort of 2024,,\nid,x,\n1,2,\n",
        "id|x\n1|2\n\n",
        "id,x\n\u200b1,\u00a02\u200b\n",
    ],
)
def test_what_stands_around_a_table_is_left_out(tmp_path, content):
    table = read_table(written(tmp_path, content))
    assert table.frame.to_dict("list") == {"id": ["1"], "x": ["2"]}


def test_headers_of_cbioportal_are_comments(tmp_path):
    path = written(
        tmp_path,
        "#Patient Identifier\tStatus\n#Identifier\tStatus\n#STRING\tSTRING\n#1\t1\n"
        "PATIENT_ID\tOS_STATUS\nTCGA-2V-A95S\t0:LIVING\n",
        "data.txt",
    )
    table = read_table(path)
    assert table.frame["OS_STATUS"].tolist() == ["0:LIVING"]
    assert table.said == ["4 comment lines (#) left out", "separated by tab"]


def test_sheets_and_titles_of_excel(tmp_path):
    path = tmp_path / "t.xlsx"
    with pd.ExcelWriter(path) as book:
        pd.DataFrame().to_excel(book, sheet_name="empty", index=False)
        rows = [["Cohort", None], ["id", "size"], ["007", 1.234], ["8", 2.5]]
        pd.DataFrame(rows).to_excel(book, sheet_name="data", index=False, header=False)
        pd.DataFrame({"id": ["9"], "size": [1]}).to_excel(book, sheet_name="more", index=False)
    table = read_table(path)
    assert table.frame["id"].tolist() == ["007", "8"]
    assert table.numbers("size").tolist() == [1.234, 2.5]
    assert table.said == [
        "sheet 'data' of empty, data, more (--sheet)",
        "1 title row before the header left out",
    ]
    assert read_table(path, Reading(sheet="more")).frame["id"].tolist() == ["9"]
    with pytest.raises(DataError, match="no sheet 'nope'; its sheets: empty, data, more"):
        read_table(path, Reading(sheet="nope"))


@pytest.mark.parametrize(
    ("content", "numbers"),
    [
        # A thousand in a table whose other column has decimal commas.
        ("id;afp;size\n1;1.234;2,5\n2;250;3\n", [1234, 250]),
        ("id;afp;size\n1;40,000;2.5\n2;250;3\n", [40000, 250]),
        ("id;afp\n1;2,5\n2;n/a\n", [2.5, np.nan]),
        ("id;afp\n1;0,123\n2;1,234\n", [0.123, 1.234]),
        ("id;afp\n1;1.234.567\n2;1.234\n", [1234567, 1234]),
        ("id;afp\n1;1.234,5\n2;2.000\n", [1234.5, 2000]),
        ("id,afp\n1,1'200\n2,250\n", [1200, 250]),
        ("id,afp\n1,1 200\n2,\u2212\n".replace("\u2212", "-5"), [1200, -5]),
        ('id,afp\n1,"40,000"\n2,1.5\n', [40000, 1.5]),
        ("id,afp\n1,1.234\n2,2.345\n", [1.234, 2.345]),
        ("id,afp\n1,1e3\n2,.5\n", [1000, 0.5]),
    ],
)
def test_numbers_as_people_write_them(tmp_path, content, numbers):
    found = read_table(written(tmp_path, content)).numbers("afp", ("n/a",))
    np.testing.assert_array_equal(found, numbers)


def test_a_number_with_two_readings_is_asked_for(tmp_path):
    path = written(tmp_path, "id;afp\n1;1.234\n2;250\n")
    with pytest.raises(DataError, match=r"'1\.234' is 1234 with .* give --decimal"):
        read_table(path).numbers("afp")
    assert read_table(path, Reading(decimal=",")).numbers("afp").tolist() == [1234, 250]
    assert read_table(path, Reading(decimal=".")).numbers("afp").tolist() == [1.234, 250]


def test_what_was_read_as_a_number_is_said(tmp_path):
    table = read_table(written(tmp_path, "id;afp;size\n1;1.234;2,5\n"))
    table.numbers("afp")
    assert "column 'afp': “1.234” is read as 1234" in table.said


def test_a_delimiter_with_two_readings_is_asked_for(tmp_path):
    path = written(tmp_path, "a;b,c;d\n1;2,3;4\n")
    with pytest.raises(DataError, match="semicolon or comma"):
        read_table(path)
    assert list(read_table(path, Reading(delimiter=",")).frame.columns) == ["a;b", "c;d"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("<5", "'<5' is a limit, not a number"),
        (">1000", "'>1000' is a limit, not a number"),
        ("60 years", "has its unit 'years' in the cell"),
        ("2.5 cm", "has its unit 'cm' in the cell"),
        ("many", "'many' is not a number"),
    ],
)
def test_what_is_no_number_gets_its_own_line(tmp_path, value, told):
    with pytest.raises(DataError, match=told):
        read_table(written(tmp_path, f"id,x\n1,{value}\n2,3\n")).numbers("x")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("id,time,time", "two columns have the name 'time'"),
        ("id,Time,time", "'Time' and 'time' differ only in case"),
        ("id,rfs time,rfs  time", "differ only in case, blanks"),
        ("id,größe," + unicodedata.normalize("NFD", "größe"), "two columns have the name 'größe'"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_two_columns_of_one_name_are_refused(tmp_path, header, told, suffix):
    path = tmp_path / f"t.{suffix}"
    if suffix == "csv":
        path.write_text(f"{header}\n1,2,3\n", encoding="utf-8")
    else:
        pd.DataFrame([header.split(","), [1, 2, 3]]).to_excel(path, index=False, header=False)
    with pytest.raises(DataError, match=told):
        read_table(path)


def test_a_name_is_found_whatever_its_case_and_unicode_form(tmp_path):
    frame = read_table(written(tmp_path, "Größe,b\n1,2\n")).frame
    assert find_column(frame, "t", unicodedata.normalize("NFD", "größe"), "size") == "Größe"


@pytest.mark.parametrize("text", ["1_000", "0_5", "1_0.5"])
def test_pythons_underscores_are_no_number(tmp_path, text):
    (tmp_path / "t.csv").write_text(f"patient,score\na,0.5\nb,{text}\n")
    with pytest.raises(DataError, match=f"'{text}' is not a number"):
        read_table(tmp_path / "t.csv").numbers("score")
