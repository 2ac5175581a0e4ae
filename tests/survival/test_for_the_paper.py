"""What a paper needs: Table 1, NR, risk tables, the command, and documents of the report."""

import json

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.survival.figures.style import INK
from qupath_hccmil.survival.figures.survival_curves import kaplan_meier_figure
from qupath_hccmil.survival.report.build import build_report
from qupath_hccmil.survival.report.number_format import time_span
from qupath_hccmil.survival.statistics.kaplan_meier import curves
from qupath_hccmil.survival.statistics.table_one import standardised_difference, table_one
from qupath_hccmil.survival.statistics.variables import Variable, VariableRequest
from tests.survival.conftest import made_cohort
from tests.survival.test_output import analysed


@pytest.fixture
def grouped() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "time": np.arange(1.0, 13), "event": [1, 0] * 6, "g": ["a"] * 6 + ["b"] * 6,
            "age": [50, 60, 70, 55, 65, np.nan, 60, 70, 80, 65, 75, 90],
            "stage": ["I", "I", "II", "III", "I", "II", "II", "III", "III", "III", "II", "I"],
            "sex": ["m", "f"] * 6,
        }
    )  # fmt: skip


def test_table_one_counts_events_and_measures_how_far_groups_are_apart(grouped):
    stage = Variable("stage", "categorical", ("I", "II", "III", "IV"))
    table = table_one(grouped, [Variable("age", "numeric"), stage], "g")
    inside = table[(table["level"] == "I") & (table["group"] == "All patients")].iloc[0]
    assert (inside["count"], inside["events"]) == (4, 2)
    gone = table[(table["level"] == "Missing") & (table["group"] == "a")].iloc[0]
    assert (gone["count"], gone["events"]) == (1, 0)
    a, b = grouped["age"][:5], grouped["age"][6:]
    apart = (b.mean() - a.mean()) / np.sqrt((a.var() + b.var()) / 2)
    assert table["standardised_difference"].iloc[0] == pytest.approx(apart)


def test_the_difference_of_two_categories_is_that_of_their_shares(grouped):
    grouped["sex"] = ["m"] * 4 + ["f"] * 2 + ["m"] + ["f"] * 5
    found = standardised_difference(grouped, Variable("sex", "categorical", ("f", "m")), "g")
    p, q = 4 / 6, 1 / 6
    assert found == pytest.approx((p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / 2))
    three = grouped.assign(g=["a", "b", "c"] * 4)
    pairs = [
        standardised_difference(three[three["g"] != out], Variable("age", "numeric"), "g")
        for out in "abc"
    ]
    assert standardised_difference(three, Variable("age", "numeric"), "g") == max(pairs)


def test_groups_without_spread_have_no_standardised_difference(grouped):
    grouped["sex"] = ["m"] * 6 + ["f"] * 6
    found = standardised_difference(grouped, Variable("sex", "categorical", ("f", "m")), "g")
    assert not np.isfinite(found)


def test_what_is_not_reached_is_nr():
    assert time_span(float("inf"), 3.2, float("inf")) == "NR (3.20 to NR)"
    assert time_span(2.0, 1.0, 3.0) == "2.00 (1.00 to 3.00)"


def test_a_report_has_nr_events_differences_and_variables_as_used(tmp_path):
    stage = VariableRequest("stage", label="Stage", merge={"II": "II+", "III": "II+"})
    frame = made_cohort(80)
    frame.loc[(frame["risk_score"] < 0.4457) & (frame.index > 8), "rfs_event"] = 0
    found = analysed(tmp_path / "in", frame, variables=(stage, VariableRequest("age")))
    tables = {table.key: table for table in build_report(found).tables()}
    assert any(row[3].startswith("NR (") for row in tables["medians"].rows)
    assert "NR: not reached." in tables["medians"].note
    assert tables["table_1"].header == (
        "", "All patients", "Events", "Low risk", "High risk", "Std. difference",
    )  # fmt: skip
    assert [row[0] for row in tables["table_1"].rows[:2]] == ["Patients", "Events"]
    assert tables["variables"].rows[0] == (
        "Stage", "stage", "categories; reference I", "I, II+", "II + III → II+", "—",
    )  # fmt: skip


def test_numbers_at_risk_have_names_and_are_in_ink():
    table = curves(
        pd.DataFrame({"time": [1.0, 2, 3, 4], "event": [1, 0, 1, 1], "g": ["low", "high"] * 2}), "g"
    )
    figure = kaplan_meier_figure(table, unit="years", endpoint="x")
    figure.draw_without_rendering()
    written = {text.get_text(): text for text in figure.axes[0].texts}
    assert {"At risk", "low", "high", "2"} <= written.keys()
    assert {written[name].get_color() for name in ("low", "high", "2")} == {INK}
    edge = figure.bbox.x0
    assert all(text.get_window_extent().x0 >= edge for text in written.values())


def test_the_command_is_in_the_report(tmp_path):
    from click.testing import CliRunner

    from qupath_hccmil.cli.survival import survival

    frame = made_cohort(60)
    scores, clinical, out = tmp_path / "s.csv", tmp_path / "my c.csv", tmp_path / "out"
    frame[["patient", "risk_score"]].to_csv(scores, index=False)
    frame.drop(columns="risk_score").to_csv(clinical, index=False)
    given = [
        str(scores), str(clinical), "--out", str(out), "--time", "rfs_days", "--event", "rfs_event",
        "--variable", "stage", "--variable", "age", "--horizon", "2.0", "--bootstrap", "0",
        "--quiet",
    ]  # fmt: skip
    CliRunner().invoke(survival, given, catch_exceptions=False)
    told = json.loads((out / "results.json").read_text(encoding="utf-8"))["provenance"]["Command"]
    assert told.startswith(f"survival {scores} '{clinical}' --out {out} --time rfs_days")
    assert "--variable stage --variable age" in told
    assert "--seed" not in told
    assert told.endswith("--quiet")
