"""The clinical table of a training, in the shapes that users have it."""

import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.training.clinical_table import ClinicalColumns, read_clinical


def read(tmp_path, text, **columns):
    table = tmp_path / "t.csv"
    table.write_text(text)
    return read_clinical(table, ClinicalColumns(**columns))


def test_reads_follow_up_and_says_who_is_left_out(tmp_path):
    text = "patient,time_days,event\na,300,yes\nb,1500,no\nc,700,yes\nd,,yes\ne,900,no\nf,-3,no\n"
    found = read(tmp_path, text, time="time_days")
    assert found.cohort.labels == {"a": 0, "b": 1}
    assert found.cohort.excluded.keys() == {"c", "d", "e", "f"}
    assert found.cohort.excluded["d"] == found.cohort.excluded["f"] == "time or event missing"
    assert found.cohort.follow_up["a"] == (pytest.approx(300 / 365.25), 1)
    assert found.cohort.follow_up.keys() == {"a", "b", "c", "e"}
    assert "column 'time_days' is in days" in found.said[0]
    assert "“yes” = event" in found.said[0]
    assert found.patients == set("abcdef")


def test_a_plain_time_is_in_years_unless_that_cannot_be(tmp_path):
    assert read(tmp_path, "patient,time,event\na,6,0\n").cohort.labels == {"a": 1}
    found = read(tmp_path, "patient,time,event\na,6,0\n", unit="months")
    assert found.cohort.labels == {}
    with pytest.raises(DataError, match=r"holds 1500 years when read as years; say its unit"):
        read(tmp_path, "patient,time,event\na,1500,0\n")


def test_a_recurrence_at_exactly_the_limit_is_not_before_it(tmp_path):
    found = read(tmp_path, "patient,time,event\na,1.59,1\nb,1.6,1\nc,4,0\n")
    assert found.cohort.labels == {"a": 0, "c": 1}


def test_reads_labels_and_follow_up_beside_them(tmp_path):
    text = "case,label,time,event\na,good,2,1\nb,0,3,0\nc,Poor,,\nd,,9,0\n"
    found = read(tmp_path, text)
    assert found.cohort.labels == {"a": 1, "b": 0, "c": 0}
    assert found.cohort.excluded == {"d": "no label"}
    assert found.cohort.follow_up == {"a": (2.0, 1), "b": (3.0, 0), "d": (9.0, 0)}
    assert read(tmp_path, "patient,label\na,1\n").cohort.follow_up == {}


def test_slides_stand_in_one_cell_or_in_rows_of_their_own(tmp_path):
    text = "patient,slide,label\na,1.svs; 2.svs,1\na,3.svs,1\nb,,0\nc,4.svs,1\nc,5.svs,0\n"
    found = read(tmp_path, text)
    assert found.slides == {"a": ("1.svs", "2.svs", "3.svs"), "b": (), "c": ("4.svs", "5.svs")}
    assert found.cohort.labels == {"a": 1, "b": 0}
    assert found.cohort.excluded == {"c": "several rows that differ"}
    assert read(tmp_path, "patient,label\na,1\n").slides == {}


def test_columns_are_named_and_missing_is_told(tmp_path):
    text = "who,rfs,status,file\na,10,relapse,x\nb,60,-9,y\nc,60,fine,z\n,5,relapse,w\n"
    found = read(
        tmp_path, text, patient="who", time="rfs", event="status", slides="file", unit="months",
        censored_values=("fine",), missing=("-9",),
    )  # fmt: skip
    assert found.cohort.labels == {"a": 0, "c": 1}
    assert found.cohort.excluded == {"b": "time or event missing"}
    assert found.slides["a"] == ("x",)
    assert "1 row(s) without a value in column 'who'" in found.said[0]


def test_excel_and_parquet_are_read_too(tmp_path):
    frame = pd.DataFrame({"patient": ["a", "b"], "time": [5.5, 1], "event": [0, 1]})
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    for name in ("t.xlsx", "t.parquet"):
        assert read_clinical(tmp_path / name).cohort.labels == {"a": 1, "b": 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient,time\na,1\n", "no column 'event'; name the columns"),
        ("who,label\na,1\n", "which column names the patient"),
        ("patient,label\na,bad\n", "patient 'a': label 'bad'; use good"),
        ("patient,time,event\na,soon,1\n", "'soon' is no number"),
        ("patient,time,event\na,1,2\n", "event code '2' is not recognised"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_an_absent_table_or_column_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_clinical(tmp_path / "none.csv")
    with pytest.raises(DataError, match="no column 'rfs'"):
        read(tmp_path, "patient,time,event\na,1,0\n", time="rfs")
