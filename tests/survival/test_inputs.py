"""Tables, units, event codes, variables, scores and risk groups: what is recognised and refused."""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival import risk_groups as risk_groups_module
from qupath_hccmil.survival import scores as scores_module
from qupath_hccmil.survival.coding import code_events, recognise_unit
from qupath_hccmil.survival.risk_groups import HIGH, LOW, risk_groups
from qupath_hccmil.survival.scores import read_scores
from qupath_hccmil.survival.settings import Settings, read_settings
from qupath_hccmil.survival.tables_in import as_numbers, find_patient_column, read_table
from qupath_hccmil.survival.variables import VariableRequest, recognise


def column(*values: object) -> pd.Series:
    return pd.Series(values, name="x", dtype=object)


# -- tables ----------------------------------------------------------------------------------------


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


# -- units and events ------------------------------------------------------------------------------


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
        (("1", "b"), {"kind": "numeric"}, "'b' is no number"),
        (("0", "1"), {"kind": "numeric", "log": True}, "above 0"),
        ((*map(str, range(30)), "<5"), {}, "'<5' is no number"),
        (tuple(f"v{i}" for i in range(13)), {}, "13 different values"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(values, request_, told):
    with pytest.raises(DataError, match=told):
        recognise(column(*values), VariableRequest("x", **request_))


# -- scores ----------------------------------------------------------------------------------------


def write(tmp_path, text: str):
    path = tmp_path / "scores.csv"
    path.write_text(text)
    return path


def test_several_rows_of_a_patient_need_a_rule(tmp_path):
    path = write(tmp_path, "patient,score\na,0.2\na,0.6\nb,0.1\n")
    with pytest.raises(DataError, match="'a' has 2 rows; say --patient-rule max or mean"):
        read_scores(path)
    assert read_scores(path, rule="max").scores.to_dict() == {"a": 0.6, "b": 0.1}
    assert read_scores(path, rule="mean").scores.to_dict() == pytest.approx({"a": 0.4, "b": 0.1})
    with pytest.raises(DataError, match="pooling needs"):
        read_scores(path, rule="pool")


def test_our_exports_are_pooled_over_tiles_at_any_level(tmp_path):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=12)
    mean = np.mean(logits**3)
    truth = 1 / (1 + np.exp(-np.sign(mean) * abs(mean) ** (1 / 3)))
    tiles = pd.DataFrame({"patient": "a", "tile_risk": 1 / (1 + np.exp(-logits)),
                          "tile_logit": logits})  # fmt: skip
    tiles.to_csv(tmp_path / "tiles.csv", index=False)
    parts = []
    for part in (logits[:4], logits[4:]):
        one = np.mean(part**3)
        slide = np.sign(one) * abs(one) ** (1 / 3)
        parts.append(("a", 1 / (1 + np.exp(-slide)), slide, len(part)))
    images = pd.DataFrame(parts, columns=["patient", "risk", "risk_logit", "tiles"])
    images.to_csv(tmp_path / "images.csv", index=False)
    for name in ("tiles", "images"):
        found = read_scores(tmp_path / f"{name}.csv")
        assert found.scores["a"] == pytest.approx(truth)
        assert "pooled" in found.rule


def test_a_tile_in_two_outlines_counts_once_and_p_is_the_tables(tmp_path):
    path = write(
        tmp_path,
        "patient,entry_id,tile_id,tile_risk,tile_logit,p\n"
        "a,1,x,0.9,2,1\na,1,x,0.9,2,1\na,1,y,0.3,-1,1\n",
    )
    found = read_scores(path)
    assert found.scores["a"] == pytest.approx(1 / (1 + np.exp(-0.5)))
    assert "p = 1" in found.rule


def test_a_patient_export_says_its_rule_and_what_is_stale(tmp_path):
    path = write(
        tmp_path, "patient,risk,risk_logit,tiles,rule,stale\na,0.2,-1,9,max,True\nb,0.6,1,9,max,\n"
    )
    found = read_scores(path)
    assert (found.rule, found.stale) == ("max", 1)


def test_models_with_different_thresholds_do_not_mix(tmp_path):
    path = write(tmp_path, "patient,risk,threshold\na,0.2,0.5\nb,0.3,0.4\n")
    with pytest.raises(DataError, match="different threshold cannot be mixed"):
        read_scores(path)


def test_the_table_says_threshold_model_and_who_has_no_score(tmp_path):
    path = write(
        tmp_path,
        "patient,risk,threshold,model,weights_sha256\na,0.2,0.5,m,abc\nb,,0.5,m,abc\n",
    )
    found = read_scores(path)
    assert found.threshold == 0.5
    assert found.models == ("m abc",)
    assert found.excluded.to_dict("records") == [{"patient": "b", "reason": "no score"}]


def test_a_score_column_is_found_or_asked_for(tmp_path):
    path = write(tmp_path, "patient,hazard\na,1\n")
    with pytest.raises(DataError, match="which column is the score"):
        read_scores(path)
    assert read_scores(path, column="hazard").scores.to_dict() == {"a": 1.0}
    with pytest.raises(DataError, match="no column 'nope' for the score"):
        read_scores(path, column="nope")


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
        ([0.1, 0.2], "best", "none of model, median"),
        ([0.1, 0.1, 0.2], "quartiles", "too few different scores"),
        ([0.1, 0.2], "quantiles=99", "none of model"),
        ([0.1, 0.2], "inf", "no finite number"),
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
        ("= 1", "no TOML"),
        ("[variables.age]\nstep = 1", r"unknown key 'step' in \[variables.age\]"),
        ("variables = {age = 1}", "must be a table"),
        ("[variables.age]\nkind = 'date'", "kind is numeric or categorical"),
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
        ({"time": ""}, "name the columns"),
        ({"confidence": 1.0}, "confidence"),
        ({"horizons": (0.0,)}, "after time zero"),
        ({"bootstrap": -1}, "bootstrap"),
        ({"imputations": 1}, "imputed tables"),
        ({"penalty": "lasso"}, "penalty"),
        ({"report_unit": "weeks"}, "report unit"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, told):
    with pytest.raises(DataError, match=told):
        Settings(**{"time": "t", "event": "e", **change}).check()


def test_the_published_numbers_are_those_of_the_model():
    aggregation = pytest.importorskip(
        "qupath_hccmil.mil.aggregation", reason="the model's room is not in this tree"
    )
    assert aggregation.THRESHOLD == risk_groups_module.PUBLISHED_THRESHOLD
    assert aggregation.POWER == scores_module.POWER
