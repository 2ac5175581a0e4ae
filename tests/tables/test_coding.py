"""Units and event codes: what is recognised, told and refused."""

import numpy as np
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.tables.endpoint_coding import code_events, recognise_unit
from tests.columns import column


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("rfs_days", "days"),
        ("OS.months", "months"),
        ("pfs_mo", "months"),
        ("Time (years)", None),
        ("follow_up_yr", "years"),
        ("Days", "days"),
        ("rfsdays", None),
    ],
)
def test_the_unit_is_the_end_of_the_name(name, unit):
    if unit is None:
        with pytest.raises(DataError, match="in which unit"):
            recognise_unit(name)
        assert recognise_unit(name, "days") == "days"
    else:
        assert recognise_unit(name) == unit


def test_a_unit_that_contradicts_the_name_is_refused():
    with pytest.raises(DataError, match="says days by its name and the unit given is months"):
        recognise_unit("rfs_days", "months")


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
