"""Units of follow-up: what a column's name says, and what contradicts it."""

import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.tables.units import recognise_unit, refuse_implausible, unit_in_name


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("rfs_days", "days"),
        ("OS.months", "months"),
        ("pfs_mo", "months"),
        ("Time (years)", "years"),
        ("RFS (months)", "months"),
        ("Zeit [Monate]", "months"),
        ("Follow-up in Jahren", "years"),
        ("suivi (en mois)", "months"),
        ("délai jours", "days"),
        ("OS (mo.)", "months"),
        ("t (d)", "days"),
        ("follow_up_yr", "years"),
        ("OS_MONTHS", "months"),
        ("Days", "days"),
        ("rfsdays", ""),
        ("plan", ""),
        ("time_m", ""),
    ],
)
def test_the_unit_is_in_brackets_or_the_last_word(name, unit):
    assert unit_in_name(name) == unit
    if not unit:
        with pytest.raises(DataError, match="its unit is not known"):
            recognise_unit(name)
        assert recognise_unit(name, "days") == "days"


@pytest.mark.parametrize("name", ["rfs_days", "RFS (days)", "RFS [Tage]"])
def test_a_unit_that_contradicts_the_name_is_refused(name):
    with pytest.raises(DataError, match="its name says days, but the given unit is months"):
        recognise_unit(name, "months")


def test_a_follow_up_of_a_century_is_refused():
    refuse_implausible(pd.Series([36000.0]), "days", "t", "c.csv")
    with pytest.raises(DataError, match=r"follow-up of 9999 months; .* --missing 9999"):
        refuse_implausible(pd.Series([12.0, 9999.0]), "months", "t", "c.csv")
