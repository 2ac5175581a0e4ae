"""Dates as hospitals write them: what is read, what is asked, what is refused."""

from datetime import date, datetime

import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.tables.dates import days_between
from qupath_hccmil.tables.table_reader import read_table
from tests.columns import column

TODAY = date(2024, 6, 1)


def days(starts, ends, **given):
    start, end = column(*starts, name="surgery"), column(*ends, name="last")
    return days_between(start, end, "c.csv", today=TODAY, **given)


@pytest.mark.parametrize(
    "text",
    [
        "2015-03-14", "2015/3/14", "2015.03.14", "20150314", "2015-03-14T10:22:00Z",
        "2015-03-14 00:00:00", "2015-03-14 10:22:31.5+01:00", "14.03.2015", "14.3.15",
        "14. 3. 2015", "14.03.2015 08:15", "14/03/2015", "14-03-2015", "14-Mar-2015", "14MAR2015",
        "14 March 2015", "March 14, 2015", "Mar 14 2015", "March 14th, 2015", "14. März 2015",
        "14. Mrz. 2015", "14 mars 2015", "42077", "42077.5", "3/14/2015", "03/14/15 3:05 PM",
    ],
)  # fmt: skip
def test_one_day_in_every_writing(text):
    if "Mrz" in text:
        text = text.replace("Mrz", "Mär")
    assert days([text], ["2015-03-24"]).days.tolist() == [10]
    assert days(["2015-03-04"], [text]).days.tolist() == [10]


def test_missing_dates_and_an_end_before_the_start():
    found = days(["2015-01-01", None, "2015-01-01", "?"], ["2014-12-31", "2015-01-01", None, "x"],
                 missing=("?", "x"))  # fmt: skip
    assert found.days.iloc[0] == -1
    assert found.days.iloc[1:].isna().all()
    assert found.said == []


def test_days_are_those_of_the_calendar_through_leap_years():
    found = days(["28.02.2012", "28.02.2011"], ["01.03.2012", "01.03.2011"])
    assert found.days.tolist() == [2, 1]


def test_the_other_dates_of_both_columns_say_whether_the_day_is_first():
    found = days(["03/04/2015", "01/02/2015"], ["03/05/2015", "25/12/2015"])
    assert found.days.tolist() == [30, 327]
    assert found.said == [
        "column 'surgery': the date “03/04/2015” is read as 2015-04-03 (day first)",
        "column 'last': the date “03/05/2015” is read as 2015-05-03 (day first)",
    ]
    assert days(["03/04/2015"], ["12/25/2015"]).days.tolist() == [296]


def test_two_readings_are_asked_for_unless_they_are_one_or_written_with_points():
    told = (
        "'surgery': '03/04/2015' is 2015-04-03 with the day first, but 2015-03-04 with the month "
        "first.*--date-order dmy or mdy"
    )
    with pytest.raises(DataError, match=told):
        days(["03/04/2015"], ["05/05/2015"])
    assert days(["03/04/2015"], ["05/05/2015"], order="dmy").days.tolist() == [32]
    assert days(["03/04/2015"], ["05/05/2015"], order="mdy").days.tolist() == [62]
    assert days(["03/03/2015"], ["05/05/2015"]).days.tolist() == [63]
    assert days(["03.04.2015"], ["05.05.2015"]).days.tolist() == [32]
    # German points say nothing about dates with slashes.
    with pytest.raises(DataError, match="give --date-order"):
        days(["13.04.2015"], ["06/05/2015"])
    found = days(["13.04.2015"], ["06/05/2015"], order="mdy")
    assert found.days.tolist() == [53]


def test_years_of_two_digits_and_serial_numbers_are_told():
    found = days(["14.03.98", "36000"], ["14.03.15", "36010"])
    assert found.days.tolist() == [6209, 10]
    assert found.said == [
        "column 'surgery': the date “14.03.98” is read as 1998-03-14",
        "column 'surgery': the spreadsheet number “36000” is read as 1998-07-24",
        "column 'last': the date “14.03.15” is read as 2015-03-14",
        "column 'last': the spreadsheet number “36010” is read as 1998-08-03",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("31.02.2015", r"'31.02.2015' is no day of the calendar \(2 rows\); correct it, or"),
        ("2015-13-01", "no day of the calendar"),
        ("20151301", "no day of the calendar"),
        ("31 Apr 2015", "no day of the calendar"),
        ("2015", "'2015' is not a date of day, month and year"),
        ("03/2015", "not a date of day, month and year"),
        ("14032015", "no day of the calendar"),
        ("unknown", "--missing 'unknown'"),
        ("14 Brumaire 2015", "not a date"),
        ("14-03/2015", "not a date"),
        ("31.12.9999", "lies in the future"),
        ("2.6.2024", r"lies in the future \(today is 2024-06-01\)"),
        ("1.1.1899", "is before 1900"),
        ("01.01.1900", r"'01.01.1900' \('surgery'\) to '2015-01-01' .* more than 100 years"),
    ],
)
def test_what_is_no_date_is_named(text, told):
    with pytest.raises(DataError, match=told):
        days([text, "2015-01-01", text], ["2015-01-01"] * 3)


def test_dates_that_contradict_each_other_or_the_option():
    with pytest.raises(DataError, match="'25/12/2015' in column 'last' has the day first, but "
                       "'12/31/2014' in column 'surgery' the month"):  # fmt: skip
        days(["12/31/2014"], ["25/12/2015"])
    with pytest.raises(DataError, match="no day of the calendar with the month first"):
        days(["25/12/2014"], ["25/12/2015"], order="mdy")
    with pytest.raises(DataError, match="date order 'ymd'"):
        days(["25/12/2014"], ["25/12/2015"], order="ymd")


@pytest.mark.parametrize("suffix", ["xlsx", "parquet", "csv"])
def test_cells_with_dates_of_a_spreadsheet_and_of_parquet(tmp_path, suffix):
    frame = pd.DataFrame(
        {"patient": ["a", "b"], "start": [datetime(2015, 3, 14, 9, 30), datetime(2012, 2, 28)],
         "end": [datetime(2016, 3, 14), None]}
    )  # fmt: skip
    path = tmp_path / f"t.{suffix}"
    write = {"xlsx": frame.to_excel, "parquet": frame.to_parquet, "csv": frame.to_csv}[suffix]
    write(path, index=False)
    table = read_table(path).frame
    found = days_between(table["start"], table["end"], path)
    assert found.days.iloc[0] == 366
    assert found.days.isna().tolist() == [False, True]
