"""Event codes: what is recognised, told and refused."""

import numpy as np
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.tables.endpoint_coding import code_events
from tests.columns import column


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        (("0", "1"), [0, 1]),
        (("0.0", "1.0"), [0, 1]),
        (("No", "YES"), [0, 1]),
        (("False", "True"), [0, 1]),
        (("alive", "Deceased"), [0, 1]),
        (("0:LIVING", "1:DECEASED"), [0, 1]),
        (("Disease-free", "Recurrence"), [0, 1]),
        (("censored", "relapse"), [0, 1]),
        (("0:DiseaseFree", "1:Recurred/Progressed"), [0, 1]),
        (("NED", "Rezidiv"), [0, 1]),
        (("vivant", "décédé"), [0, 1]),
        (("décédé", "1"), [1, 1]),
        (("no_recurrence", "recurrence"), [0, 1]),
    ],
)
def test_event_codes_are_recognised_and_told(values, codes):
    found, coding = code_events(column(*values, None))
    assert found.tolist()[:2] == codes
    assert np.isnan(found.iloc[2])
    assert "recognised from the values" in coding.describe()
    assert values[1].lower().removesuffix(".0") in coding.describe()


def test_event_codes_that_are_not_known_are_refused_and_can_be_named():
    with pytest.raises(DataError, match="event code '2' is not recognised"):
        code_events(column("1", "2"))
    found, coding = code_events(
        column("0", "1", "2"), competing=("2",), events=("1",), censored=("0",)
    )
    assert found.tolist() == [0, 1, 2]
    assert "“2” = competing event" in coding.describe()
    found, _ = code_events(column("1", "2"), censored=("1",), events=("2",))
    assert found.tolist() == [0, 1]
    with pytest.raises(DataError, match="two meanings"):
        code_events(column("0", "1"), events=("1",), censored=("1",))


def test_where_a_value_is_named_what_is_not_named_has_no_meaning():
    # The fault: --event-value 2 of 1/2 made everybody an event.
    with pytest.raises(DataError, match="'1' is not among the given codes"):
        code_events(column("1", "2"), events=("2",))


def test_a_status_of_none_or_unknown_is_missing_and_never_censored():
    found, coding = code_events(column("0", "1", "None", "unknown", "[Not Available]", "unbekannt"))
    assert found.isna().tolist() == [False, False, True, True, True, True]
    assert "“none”" in coding.describe()
    assert "= missing" in coding.describe()
    found, _ = code_events(column("none", "1"), censored=("none",), events=("1",))
    assert found.tolist() == [0, 1]


def test_nobody_censored_is_a_warning():
    assert "Nobody is censored" in code_events(column("1", "1"))[1].warnings()[0]
    assert code_events(column("1", "0"))[1].warnings() == []


@pytest.mark.parametrize(
    "name",
    [
        "alive", "Censored", "event_free", "Recurrence-free", "recurrence free", "NED", "zensiert",
        "rezidivfrei", "kein Rezidiv", "vivant", "sans récidive", "no_recurrence",
        "censoring_status",
    ],
)  # fmt: skip
def test_a_column_that_says_the_contrary_of_an_event_is_not_taken_untold(name):
    values = column("0", "1", name=name)
    with pytest.raises(DataError, match="its name suggests the opposite of an event"):
        code_events(values)
    assert code_events(values, events=("0",), censored=("1",))[0].tolist() == [1, 0]
    # Words say themselves what they are.
    assert code_events(column("alive", "dead", name=name))[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    "name",
    ["event", "recurrence", "rfs_status", "Recurrence-free survival status", "Überlebensstatus"],
)
def test_the_status_of_an_endpoint_is_its_event(name):
    assert code_events(column("0", "1", name=name))[0].tolist() == [0, 1]
