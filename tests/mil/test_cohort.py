import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.mil.cohort import outcome, read_cohort


@pytest.mark.parametrize(
    ("time", "event", "label"),
    [
        (1.59, 1, 0),
        (1.6, 1, None),
        (0.5, 0, None),
        (3.99, 0, None),
        (4.0, 0, 1),
        (9.0, 0, 1),
        (9.0, 1, None),
        (0.0, 1, 0),
        (None, 1, None),
        (5.0, None, None),
    ],
)
def test_only_distinct_outcomes_have_a_label(time, event, label):
    found, reason = outcome(time, event)
    assert found == label
    assert bool(reason) == (label is None)


def test_reads_follow_up_in_any_unit_and_says_who_is_left_out(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("patient,time,event\na,300,1\nb,1500,0\nc,700,1\nd,,1\ne,900,0\n")
    cohort = read_cohort(table, "days")
    assert cohort.labels == {"a": 0, "b": 1}
    assert set(cohort.excluded) == {"c", "d", "e"}
    assert cohort.summary().startswith("1 good, 1 poor, 3 excluded (1 ")
    assert "time or event missing" in cohort.summary()


def test_reads_labels(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("patient,label\na,good\nb,0\nc,Poor\nd,\n")
    cohort = read_cohort(table)
    assert cohort.labels == {"a": 1, "b": 0, "c": 0}
    assert cohort.excluded == {"d": "label missing"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient,time\na,1\n", "no column 'event'"),
        ("who,label\na,1\n", "no column 'patient'"),
        ("patient,label\na,1\na,0\n", "line 3: patient 'a' a second time"),
        ("patient,label\na,bad\n", "line 2: label 'bad'"),
        ("patient,time,event\na,soon,1\n", "time 'soon' isn't a number"),
        ("patient,time,event\na,-1,1\n", "time '-1'"),
        ("patient,time,event\na,1,2\n", "event '2'"),
        ("patient,label\n,1\n", "line 2: no patient"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, text, message):
    table = tmp_path / "t.csv"
    table.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_cohort(table)
    assert "\n" not in str(caught.value)


def test_absent_table_and_unknown_unit(tmp_path):
    with pytest.raises(DataError, match="no such table"):
        read_cohort(tmp_path / "none.csv")
    with pytest.raises(DataError, match="time unit 'weeks'"):
        read_cohort(tmp_path / "none.csv", "weeks")
