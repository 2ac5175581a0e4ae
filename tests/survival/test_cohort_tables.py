"""A cohort from tables as hospitals have them, and what is said of them."""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.analysis_cohort import SCORE, read_cohort
from qupath_hccmil.survival.analysis_settings import Settings
from qupath_hccmil.survival.statistics.variables import VariableRequest
from tests.survival.conftest import made_cohort


def cohort(tmp_path, scores: str, clinical: str, encoding="utf-8", **settings):
    one, other = tmp_path / "s.csv", tmp_path / "c.csv"
    one.write_text(scores)
    other.write_bytes(clinical.encode(encoding))
    return read_cohort(one, other, Settings(**{"event": "event", "variables": (), **settings}))


SCORES = "patient,risk\n" + "".join(f"{k},0.{k}1\n" for k in range(1, 10))


def test_a_german_table_is_read_and_every_reading_is_said(tmp_path):
    rows = "".join(f"00{k};{k},5;{k % 2};{k}.{k}00;{k},25\n" for k in range(1, 10))
    found = cohort(
        tmp_path, SCORES, f"Tumorzentrum\nPatient;RFS (Monate);Event;AFP;Größe\n{rows}", "cp1252",
        time="rfs (monate)", match="zeros", report_unit="months",
        variables=(VariableRequest("afp"), VariableRequest("GRÖSSE".replace("SS", "ß"))),
    )  # fmt: skip
    assert found.frame["time"].tolist() == [k + 0.5 for k in range(1, 10)]
    assert found.frame["AFP"].tolist() == [1100.0 * k for k in range(1, 10)]
    assert found.frame["Größe"].tolist() == [k + 0.25 for k in range(1, 10)]
    for line in ("read as Windows-1252", "1 title line", "“1.100” is read as 1100", "semicolon"):
        assert any(line in note for note in found.notes), line


def test_ids_that_nearly_match_are_counted_and_the_rule_is_an_option(tmp_path):
    scores = "patient,risk\nTCGA-2V-A95S-01Z-00-DX1,0.1\nTCGA-2V-A95T-01Z-00-DX1,0.7\n"
    clinical = "patient,t_days,event\nTCGA-2V-A95S,10,1\nTCGA-2V-A95T,20,0\n"
    with pytest.raises(
        DataError, match=r"no patient is in both .* there would be 2 .*--match tcga"
    ):
        cohort(tmp_path, scores, clinical, time="t_days")
    found = cohort(tmp_path, scores, clinical, time="t_days", match="tcga")
    assert found.frame[SCORE].to_dict() == {"TCGA-2V-A95S": 0.1, "TCGA-2V-A95T": 0.7}
    partly = clinical + "TCGA-2V-A95S-01Z-00-DX1,5,1\nTCGA-2V-A95T-01Z-00-DX1,5,0\n"
    found = cohort(tmp_path, scores + "TCGA-2V-A95U-01,0.5\n", partly + "TCGA-2V-A95U,5,1\n",
                   time="t_days")  # fmt: skip
    assert any("--match tcga" in note for note in found.notes)


def test_two_spellings_of_a_patient_are_refused_in_either_table(tmp_path):
    clinical = "patient,t_days,event\n" + "".join(f"P{k},{k}0,{k % 2}\n" for k in range(1, 9))
    scores = "patient,risk\n" + "".join(f"P{k},0.{k}\n" for k in range(1, 9))
    assert len(cohort(tmp_path, scores, clinical, time="t_days").frame) == 8
    with pytest.raises(DataError, match=r"c\.csv: column 'patient': patients 'P1' and 'p1' differ"):
        cohort(tmp_path, scores, clinical + "p1,10,1\n", time="t_days")
    with pytest.raises(DataError, match=r"s\.csv: column 'patient': patients 'P1' and 'p1' differ"):
        cohort(tmp_path, scores + "p1,0.3\n", clinical, time="t_days")
    found = cohort(tmp_path, scores, clinical + "p1,10,1\n", time="t_days", match="case")
    assert len(found.frame) == 8


def test_codes_for_missing_are_pointed_at(tmp_path):
    rows = "".join(f"{k},{k},{k % 2},{age}\n" for k, age in zip(
        range(1, 10), [50, 61, 999, 57, 70, 45, 999, 66, 39], strict=True))  # fmt: skip
    found = cohort(tmp_path, SCORES, f"patient,t_years,event,age\n{rows}", time="t_years",
                   variables=(VariableRequest("age"),))  # fmt: skip
    assert any("“age” has the value 999 in 2 rows" in note for note in found.notes)
    found = cohort(tmp_path, SCORES, f"patient,t_years,event,age\n{rows}", time="t_years",
                   variables=(VariableRequest("age"),), missing=("999",))  # fmt: skip
    assert not any("999" in note for note in found.notes)
    assert found.frame["age"].isna().sum() == 2


@pytest.mark.parametrize("code", ["999", "-9", "99999"])
def test_a_score_far_from_all_others_is_refused(tmp_path, code):
    rows = "".join(f"{k},{k},{k % 2}\n" for k in range(1, 10))
    scores = SCORES.replace("3,0.31", f"3,{code}")
    with pytest.raises(DataError, match=rf"the score {code} .* far from all .* --missing {code}"):
        cohort(tmp_path, scores, f"patient,t_years,event\n{rows}", time="t_years")


def test_an_implausible_follow_up_and_a_contrary_unit_are_refused(tmp_path):
    rows = "".join(f"{k},{k},{k % 2}\n" for k in range(1, 10))
    with pytest.raises(DataError, match="its name says months, but the given unit is days"):
        cohort(tmp_path, SCORES, f"patient,RFS (months),event\n{rows}", time="RFS (months)",
               unit="days")  # fmt: skip
    rows = rows.replace("9,9,1", "9,9999,1")
    with pytest.raises(DataError, match="follow-up of 9999 months"):
        cohort(tmp_path, SCORES, f"patient,RFS (months),event\n{rows}", time="RFS (months)")


def test_nobody_censored_is_said(tmp_path):
    rows = "".join(f"{k},{k},1\n" for k in range(1, 10))
    found = cohort(tmp_path, SCORES, f"patient,t_years,event\n{rows}", time="t_years")
    assert any("Nobody is censored" in note for note in found.notes)


def test_follow_up_between_two_dates_is_that_of_a_time(tmp_path):
    frame = made_cohort(40)
    start = pd.Timestamp("2001-02-03") + pd.to_timedelta(np.arange(40) * 17, "D")
    end = start + pd.to_timedelta(frame["rfs_days"].to_numpy(), "D")
    dated = frame.assign(
        op=start.strftime("%d.%m.%Y"), seen=end.strftime("%Y-%m-%d")
    ).drop(columns=["risk_score", "rfs_days"])  # fmt: skip
    dated.loc[3, "seen"] = None
    dated.loc[4, "seen"] = "01.01.2001"
    frame[["patient", "risk_score"]].to_csv(tmp_path / "s.csv", index=False)
    dated.to_excel(tmp_path / "c.xlsx", index=False)
    chosen = Settings(start="op", end="seen", event="rfs_event", variables=())
    found = read_cohort(tmp_path / "s.csv", tmp_path / "c.xlsx", chosen)
    assert found.time_source == "days from the date “op” to the date “seen”"
    expected = frame["rfs_days"].drop([3, 4]) / 365.25
    assert found.frame["time"].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-15)
    assert found.left_out.set_index("patient")["reason"].to_dict() == {
        "P003": "no time (a date is missing, from 'op' to 'seen')",
        "P004": "negative time ('seen' is before 'op')",
    }
    picked = read_cohort(
        tmp_path / "s.csv", tmp_path / "c.xlsx",
        Settings(start="op", end="seen", event="rfs_event", variables=(VariableRequest("op"),)),
    )  # fmt: skip
    assert "Left out: variable “op” is the follow-up itself." in picked.notes


def test_a_late_entry_may_be_a_date(tmp_path):
    frame = made_cohort(40).assign(entered=30)
    start = pd.Timestamp("2001-02-03") + pd.to_timedelta(np.arange(40) * 17, "D")

    def on(days: pd.Series) -> pd.Index:
        return (start + pd.to_timedelta(days.to_numpy(), "D")).strftime("%Y-%m-%d")

    dated = frame.assign(
        op=on(frame["entered"] * 0), seen=on(frame["rfs_days"]), came=on(frame["entered"])
    ).drop(columns=["risk_score", "rfs_days", "entered"])
    dated.loc[5, "came"] = dated.loc[5, "seen"]
    frame[["patient", "risk_score"]].to_csv(tmp_path / "s.csv", index=False)
    dated.to_csv(tmp_path / "c.csv", index=False)
    chosen = Settings(start="op", end="seen", entry="came", event="rfs_event", variables=())
    found = read_cohort(tmp_path / "s.csv", tmp_path / "c.csv", chosen)
    assert (found.frame["entry_time"] * 365.25).to_numpy() == pytest.approx(30)
    early = [f"P{k:03}" for k in np.flatnonzero(frame["rfs_days"] <= 30)]
    reasons = found.left_out.set_index("patient")["reason"]
    assert set(reasons.index) == {*early, "P005"}
    assert set(reasons) == {"follow-up ends before the entry (came)"}
