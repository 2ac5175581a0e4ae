"""Intervals are named by the level that was asked for, everywhere."""

import re

import pandas as pd
import pytest

from qupath_hccmil.survival.analysis_settings import CohortRequest
from qupath_hccmil.survival.interval_level import interval, level
from qupath_hccmil.survival.output_folder import write_analysis
from qupath_hccmil.survival.statistics.variables import VariableRequest
from tests.survival.conftest import made_cohort
from tests.survival.test_output import analysed


@pytest.mark.parametrize(
    ("confidence", "told"),
    [(0.95, "95 %"), (0.9, "90 %"), (0.975, "97.5 %"), (0.999, "99.9 %"), (0.58, "58 %")],
)
def test_a_level_is_written_without_what_rounding_left(confidence, told):
    assert level(confidence) == told
    assert interval(confidence) == f"{told} interval"


def test_no_interval_of_a_report_is_named_by_another_level(tmp_path):
    frame = made_cohort(240)
    frame.loc[(frame["rfs_event"] == 0) & (frame.index % 4 == 0), "rfs_event"] = 2
    frame["hospital"] = [("North", "South", "West")[i % 3] for i in frame.index]
    tiles = pd.DataFrame({"group": ["high"] * 20 + ["low"] * 20, "stroma": [1] * 9 + [0] * 31})
    tiles.to_csv(tmp_path / "t.csv", index=False)
    others = []
    for number in range(1, 4):
        other = made_cohort(120, seed=number)
        scores, clinical = tmp_path / f"s{number}.csv", tmp_path / f"c{number}.csv"
        other[["patient", "risk_score"]].to_csv(scores, index=False)
        other.drop(columns="risk_score").to_csv(clinical, index=False)
        others.append(CohortRequest(f"Other {number}", str(scores), str(clinical)))
    found = analysed(
        tmp_path / "in",
        frame,
        confidence=0.9,
        bootstrap=5,
        imputations=2,
        event_values=("1",),
        censored_values=("0",),
        competing_values=("2",),
        centre="hospital",
        cohorts=tuple(others),
        tiles=str(tmp_path / "t.csv"),
        variables=(VariableRequest("stage"), VariableRequest("age")),
    )
    write_analysis(found, tmp_path / "out", "md")
    report = (tmp_path / "out" / "report.md").read_text("utf-8")
    headings = {"auc_competing", "cohorts_pooled", "cox_imputed", "effect_by_centre"}
    assert headings <= {path.stem for path in (tmp_path / "out" / "tables").glob("*.csv")}
    told = set(re.findall(r"([\d.]+) % (?:prediction )?(?:interval|band)", report))
    assert told == {"90"}
    figures = list((tmp_path / "out" / "figures").glob("forest_*.svg"))
    drawn = {path.stem: path.read_text("utf-8") for path in figures}
    assert {"forest_univariable", "forest_subgroups", "forest_centres"} <= drawn.keys()
    assert all("90 % interval" in text and "95 %" not in text for text in drawn.values())
