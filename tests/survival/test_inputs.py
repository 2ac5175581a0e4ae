"""Variables, risk groups and settings: what is recognised and refused."""

import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.analysis_settings import Settings, read_settings
from qupath_hccmil.survival.statistics.risk_groups import (
    HIGH,
    LOW,
    risk_groups,
)
from qupath_hccmil.survival.statistics.variables import VariableRequest, recognise
from tests.columns import column

# -- variables -------------------------------------------------------------------------------------


def test_numbers_and_categories_are_told_apart():
    variable, _ = recognise(column("1.5", "2", "3", "4", "5", "6"), VariableRequest("x"))
    assert (variable.kind, variable.per) == ("numeric", 1.0)
    variable, values = recognise(column("1", "0", "1.0", None), VariableRequest("x"))
    assert (variable.kind, variable.levels) == ("categorical", ("0", "1"))
    assert values.isna().sum() == 1
    variable, _ = recognise(column("Macro", "None", "Micro"), VariableRequest("x"))
    assert variable.levels == ("None", "Macro", "Micro")
    variable, _ = recognise(column("[Not Available]", "Stage II", "Stage I"), VariableRequest("x"))
    assert variable.levels == ("Stage I", "Stage II", "[Not Available]")


def test_levels_merge_and_order_as_told():
    request = VariableRequest(
        "x", levels=("I", "II+"), merge={"II": "II+", "III": "II+"}, missing=("?",)
    )
    variable, values = recognise(column("III", "I", "II", "?"), request)
    assert variable.levels == ("I", "II+")
    assert values.astype(object).tolist()[:3] == ["II+", "I", "II+"]
    assert values.isna().tolist() == [False, False, False, True]
    variable, _ = recognise(column("a", "b", "c"), VariableRequest("x", reference="b"))
    assert variable.levels == ("b", "a", "c")


def test_a_logarithm_is_for_a_doubling():
    variable, values = recognise(column("1", "8"), VariableRequest("x", kind="numeric", log=True))
    assert values.tolist() == [0, 3]
    assert variable.step == "per doubling"


@pytest.mark.parametrize(
    ("values", "request_", "told"),
    [
        ((None, None), {}, "no value"),
        (("a", "a"), {}, "in every patient"),
        (("a", "b"), {"reference": "c"}, "'c' does not occur"),
        (("a", "b"), {"levels": ("a",)}, "'b' is not among the given levels"),
        (("1", "b"), {"kind": "numeric"}, "'b' is not a number"),
        (("0", "1"), {"kind": "numeric", "log": True}, "above 0"),
        ((*map(str, range(30)), "<5"), {}, "'<5' is not a number"),
        (tuple(f"v{i}" for i in range(13)), {}, "13 different values"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(values, request_, told):
    with pytest.raises(DataError, match=told):
        recognise(column(*values), VariableRequest("x", **request_))


# -- risk groups -----------------------------------------------------------------------------------

SCORE = pd.Series([0.1, 0.4457, 0.4458, 0.9], index=list("abcd"))


def test_above_the_threshold_is_high_risk():
    found = risk_groups(SCORE)
    assert found.groups.tolist() == [LOW, LOW, HIGH, HIGH]
    assert not found.from_data
    assert risk_groups(SCORE, threshold=0.95).groups.tolist() == [LOW] * 4


def test_cuts_on_the_data_say_so():
    found = risk_groups(SCORE, "median")
    assert found.from_data
    assert found.groups.tolist() == [LOW, LOW, HIGH, HIGH]
    found = risk_groups(SCORE, "quartiles")
    assert found.from_data
    assert found.groups.tolist() == ["Q1 (lowest)", "Q2", "Q3", "Q4 (highest)"]
    assert not risk_groups(SCORE, "0.3").from_data


@pytest.mark.parametrize(
    ("scores", "cut", "told"),
    [
        ([-1.0, 2.0], "model", "for risks in \\[0, 1\\]"),
        ([0.1, 0.2], "best", "not one of model, median"),
        ([0.1, 0.1, 0.2], "quartiles", "too few different scores"),
        ([0.1, 0.2], "quantiles=99", "not one of model"),
        ([0.1, 0.2], "inf", "not a finite number"),
        ([0.1, 0.2], "0_1", "'0_1' is not one of model, .* or a number"),
        ([0.1, 0.2], "value=1_0", "'value=1_0' is not one of"),
        ([0.1, 0.2], "nan", "'nan' is not one of"),
    ],
)
def test_a_cut_that_makes_no_groups_is_refused(scores, cut, told):
    with pytest.raises(DataError, match=told):
        risk_groups(pd.Series(scores), cut)


# -- settings --------------------------------------------------------------------------------------


def test_settings_come_from_toml(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(
        'time = "t_days"\nevent = "e"\nhorizons = [1, 3]\nmissing = "?"\n'
        '[exclude]\narm = ["x", "y"]\n'
        '[variables.stage]\nlevels = ["I", "II"]\nmerge = {III = "II"}\n[variables.age]\nper = 10\n'
    )
    found = read_settings(path)
    assert (found.time, found.horizons, found.missing) == ("t_days", (1.0, 3.0), ("?",))
    assert found.exclude == (("arm", "x"), ("arm", "y"))
    assert [request.name for request in found.variables] == ["stage", "age"]
    assert found.variables[0].merge == {"III": "II"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tiem = 'x'", "unknown key 'tiem'"),
        ("= 1", "not valid TOML"),
        ("seed = 'x'", "seed: 'x': Input should be a valid integer"),
        ("[variables.age]\nname = 'x'", r"\[variables.age\]: unknown key 'name'"),
        ("[variables.age]\nstep = 1", r"\[variables.age\]: unknown key 'step'"),
        ("variables = {age = 1}", "must be a table"),
        ("[variables.age]\nkind = 'date'", r"\[variables.age\]: kind: 'date': Input should be"),
    ],
)
def test_a_wrong_toml_is_named(tmp_path, text, told):
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=told):
        read_settings(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"time": ""}, "give the columns"),
        ({"confidence": 1.0}, "confidence"),
        ({"horizons": (0.0,)}, "after time zero"),
        ({"bootstrap": -1}, "bootstrap"),
        ({"imputations": 1}, "imputations must"),
        ({"penalty": "lasso"}, "penalty"),
        ({"report_unit": "weeks"}, "report unit"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, told):
    with pytest.raises(DataError, match=told):
        Settings(**{"time": "t", "event": "e", **change}).check()
