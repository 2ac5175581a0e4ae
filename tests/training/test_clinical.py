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
    assert "time: column “time_days” in days" in found.said[0]
    assert "“yes” = event" in found.said[0]
    assert found.patients == set("abcdef")


def test_a_time_without_a_unit_is_asked_for_and_an_implausible_one_refused(tmp_path):
    with pytest.raises(DataError, match="column 'time': its unit is not known"):
        read(tmp_path, "patient,time,event\na,6,0\n")
    found = read(tmp_path, "patient,time,event\na,6,0\n", unit="months")
    assert found.cohort.labels == {}
    assert read(tmp_path, "patient,Time (years),event\na,6,0\n").cohort.labels == {"a": 1}
    with pytest.raises(DataError, match=r"follow-up of 1500 years; correct the unit"):
        read(tmp_path, "patient,time_years,event\na,1500,0\n")
    with pytest.raises(DataError, match="follow-up of 99999 days"):
        read(tmp_path, "patient,time_days,event\na,99999,0\n")


def test_a_code_for_missing_and_nobody_censored_are_pointed_at(tmp_path):
    said = read(tmp_path, "patient,time_days,event\na,999,1\nb,999,1\nc,5,1\n").said
    assert "column 'time_days': 999 in 2 rows may mean a missing value (--missing 999)" in said
    assert any("Nobody is censored" in line for line in said)


@pytest.mark.parametrize("label", ["0", "1"])
def test_a_label_in_figures_may_mean_either_outcome(tmp_path, label):
    with pytest.raises(DataError, match=f"label '{label}' may mean either outcome; write good"):
        read(tmp_path, f"patient,label\na,{label}\n")


def test_a_german_table_from_excel_is_read(tmp_path):
    table = tmp_path / "t.csv"
    text = "Kohorte\n\npatient;Zeit (Monate);event\n007;60,5;nein\n8;3;ja\n"
    table.write_bytes(text.encode("cp1252"))
    found = read_clinical(table, ClinicalColumns(time="zeit (monate)", match="zeros"))
    assert found.cohort.labels == {"7": 1, "8": 0}
    assert found.named == {"007", "8"}


def test_a_recurrence_at_exactly_the_limit_is_not_before_it(tmp_path):
    found = read(tmp_path, "patient,time_years,event\na,1.59,1\nb,1.6,1\nc,4,0\n")
    assert found.cohort.labels == {"a": 0, "c": 1}


def test_reads_labels_and_follow_up_beside_them(tmp_path):
    text = "case,label,time_years,event\na,good,2,1\nb,schlecht,3,0\nc,Poor,,\nd,,9,0\n"
    found = read(tmp_path, text)
    assert found.cohort.labels == {"a": 1, "b": 0, "c": 0}
    assert found.cohort.excluded == {"d": "no label"}
    assert found.cohort.follow_up == {"a": (2.0, 1), "b": (3.0, 0), "d": (9.0, 0)}
    assert read(tmp_path, "patient,label\na,good\n").cohort.follow_up == {}


def test_slides_stand_in_one_cell_or_in_rows_of_their_own(tmp_path):
    text = (
        "patient,slide,label\na,1.svs; 2.svs,good\na,3.svs,good\nb,,poor\nc,4.svs,good\n"
        "c,5.svs,poor\n"
    )
    found = read(tmp_path, text)
    assert found.slides == {"a": ("1.svs", "2.svs", "3.svs"), "b": (), "c": ("4.svs", "5.svs")}
    assert found.cohort.labels == {"a": 1, "b": 0}
    assert found.cohort.excluded == {"c": "several rows that differ"}
    assert read(tmp_path, "patient,label\na,good\n").slides == {}


def test_columns_are_named_and_missing_is_told(tmp_path):
    text = "who,rfs,status,file\na,10,relapse,x\nb,60,-9,y\nc,60,fine,z\n,5,relapse,w\n"
    found = read(
        tmp_path, text, patient="who", time="rfs", event="status", slides="file", unit="months",
        censored_values=("fine",), event_values=("relapse",), missing=("-9",),
    )  # fmt: skip
    assert found.cohort.labels == {"a": 0, "c": 1}
    assert found.cohort.excluded == {"b": "time or event missing"}
    assert found.slides["a"] == ("x",)
    assert "left out: 1 row without a value in column 'who'" in found.said[0]


def test_excel_and_parquet_are_read_too(tmp_path):
    frame = pd.DataFrame({"patient": ["a", "b"], "time_years": [5.5, 1], "event": [0, 1]})
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    for name in ("t.xlsx", "t.parquet"):
        assert read_clinical(tmp_path / name).cohort.labels == {"a": 1, "b": 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient,time_years\na,1\n", "no column 'event'; give the columns"),
        ("who,label\na,1\n", "no column is known to name the patient"),
        ("patient,label\na,bad\n", "patient 'a': label 'bad' may mean"),
        ("patient,time_years,event\na,soon,1\n", "'soon' is not a number"),
        ("patient,time_years,event\na,1,2\n", "event code '2' is not recognised"),
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
        read(tmp_path, "patient,time_years,event\na,1,0\n", time="rfs")


def test_follow_up_may_come_from_two_dates(tmp_path):
    text = "patient,op,last,event\na,14.03.2015,14.05.2015,1\nb,2015-03-14,2020-03-14,0\n"
    text += "c,14.03.2015,,1\nd,14.03.2015,13.03.2015,1\n"
    found = read(tmp_path, text, start="OP", end="last")
    assert found.cohort.labels == {"a": 0, "b": 1}
    assert found.cohort.follow_up["a"] == (pytest.approx(61 / 365.25), 1)
    assert found.cohort.excluded == dict.fromkeys("cd", "time or event missing")
    assert "days from the date “op” to the date “last”" in found.said[0]
    for wrong, told in (
        ({"start": "op"}, "give both dates, with --start-date and --end-date"),
        ({"start": "op", "end": "died"}, "no column 'died' for the end"),
        ({"start": "op", "end": "last", "time": "event"}, "give either --time, or"),
        ({"start": "op", "end": "last", "unit": "days"}, "between dates, days are counted"),
    ):
        with pytest.raises(DataError, match=told):
            read(tmp_path, text, **wrong)
