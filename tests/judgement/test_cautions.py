"""The warnings: each on a cohort that deserves it, and none on one that does not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.judgement.cautions import (
    cautions_on_data,
    cautions_on_results,
    duplicate_slides,
    outcome_of_group,
)
from qupath_hccmil.judgement.cohort_size import (
    coefficient_of,
    concordance_of,
    smallest_shown,
    what_can_be_shown,
)
from qupath_hccmil.judgement.judge import judge
from qupath_hccmil.judgement.judged_cohort import SlideFacts, judged_cohort, usual_centre
from qupath_hccmil.judgement.nested_cross_validation import NestedSettings
from qupath_hccmil.judgement.nested_splits import outer_folds
from qupath_hccmil.tables.table_reader import UserTable
from tests.judgement.small_learner import CENTRES, small_cohort

QUICK = NestedSettings(folds=3, inner=2, bootstrap=200)


def plans(cohort, folds=3):
    return [outer_folds({p: int(e) for p, e in cohort.frame["event"].items()}, folds, 0)]


def warned(cohort, folds=3):
    return cautions_on_data(cohort, plans(cohort, folds))


def test_a_large_cohort_without_faults_is_not_warned_of():
    _, cohort = small_cohort(300)
    assert warned(cohort) == []


def test_too_few_events():
    _, cohort = small_cohort(60)
    first, *rest = warned(cohort, 9)
    events = int(cohort.frame["event"].sum())
    assert first.startswith(f"Too few events: {events}, where 100 are the least")
    assert "can hardly be told from chance" in first
    assert any("fewer than 5 events" in line for line in rest)


@pytest.mark.parametrize("centre", CENTRES)
def test_the_centre_that_is_its_outcome_is_named_and_no_other(centre):
    _, cohort = small_cohort(150, confounded=centre)
    named = [line for line in warned(cohort) if "is its outcome" in line]
    assert len(named) == 1
    assert named[0].startswith(f"Centre {centre} is its outcome: ")


def test_no_centre_is_named_by_chance():
    named = [
        line for seed in range(15)
        for line in outcome_of_group(small_cohort(120, seed=seed)[1].frame, "centre__", "Centre")
    ]  # fmt: skip
    assert named == []


def test_one_scanner_a_class():
    _, cohort = small_cohort(150)
    poor = (cohort.frame["event"] == 1) & (cohort.frame["time"] < 1.6)
    frame = cohort.frame.assign(scanner__=np.where(poor, "Aperio", "Hamamatsu"))
    told = warned(replace(cohort, frame=frame))
    line = next(line for line in told if line.startswith("One scanner a class"))
    assert "good outcome were scanned on Hamamatsu, all with a poor one on Aperio" in line
    frame.loc[frame.index[poor][0], "scanner__"] = "Hamamatsu"
    told = warned(replace(cohort, frame=frame))
    assert not [line for line in told if line.startswith("One scanner a class")]


def test_a_scanner_for_each_centre_is_said():
    _, cohort = small_cohort(150, scanner_of={"Aachen": "S1", "Bonn": "S2", "Cologne": "S3"})
    assert any(line.startswith("Each centre has a scanner of its own") for line in warned(cohort))


def test_duplicate_slides_across_folds_are_named():
    _, cohort = small_cohort(60)
    fold = plans(cohort)[0][0]
    inside, outside, same = fold.held_out[0], fold.others[0], fold.held_out[1]

    def with_pixels_of(one, other):
        slides = tuple(
            replace(s, pixels="same") if s.patient in (one, other) else s for s in cohort.slides
        )
        return replace(cohort, slides=slides)

    told = duplicate_slides(with_pixels_of(inside, outside), [[fold]])
    assert len(told) == 1
    assert told[0].startswith("Duplicate slides across folds: the same pixels belong to several")
    assert f"{inside} ({inside}.svs)" in told[0]
    assert f"{outside} ({outside}.svs)" in told[0]
    told = duplicate_slides(with_pixels_of(inside, same), [[fold]])
    assert told[0].startswith("Duplicate slides: ")
    assert "in the same fold by chance" in told[0]
    twice = SlideFacts(inside, "again.svs", 3, pixels=f"pixels-{inside}")
    assert duplicate_slides(replace(cohort, slides=(*cohort.slides, twice)), [[fold]]) == []


def test_patients_in_two_centres_are_named_and_left_out():
    learner, cohort = small_cohort(60)
    table = pd.DataFrame(
        {
            "patient": [*cohort.frame.index, "P005"],
            "centre": [*cohort.frame["centre__"], "Dresden"],
        },
        dtype=object,
    )
    from pathlib import Path

    found = judged_cohort(
        UserTable(Path("c.csv"), table), learner.outcomes, cohort.slides, centre="centre"
    )
    assert "P005" not in found.frame.index
    assert found.left_out["P005"] == "in two centres"
    line = next(line for line in warned(found) if line.startswith("Patients in two centres"))
    assert "P005 (" in line
    assert "Dresden" in line


def test_leakage_through_a_confounded_centre_is_said_and_goes_with_leave_one_centre_out(tmp_path):
    learner, cohort = small_cohort(150, confounded="Bonn", strength=0.0)
    learner = replace(
        learner,
        features={p: np.r_[x[:3], abs(x[3] - 2.0)] for p, x in learner.features.items()},
    )
    random = judge(learner, cohort, tmp_path / "random", QUICK)
    assert any(line.startswith("Leakage: ") for line in random.cautions)
    apart = judge(learner, cohort, tmp_path / "apart", replace(QUICK, by_centre=True))
    assert not any(line.startswith("Leakage: ") for line in apart.cautions)
    assert any("may be chance alone" in line for line in apart.cautions)


def test_a_score_that_is_no_better_than_colour_is_said(tmp_path):
    learner, cohort = small_cohort()
    rng = np.random.default_rng(0)
    copied = {p: 128 + 20 * x[0] + rng.normal(scale=0.5) for p, x in learner.features.items()}
    frame = cohort.frame.assign(red__=[copied[p] for p in cohort.frame.index])
    found = judge(learner, replace(cohort, frame=frame), tmp_path, QUICK)
    assert any("not shown to be better than the mean colour alone" in c for c in found.cautions)
    assert not any("number of tiles alone" in c for c in cautions_on_results(
        found.compared, found.permuted))  # fmt: skip


def test_what_a_cohort_can_show():
    rng = np.random.default_rng(2)
    x = rng.normal(size=20_000)
    time = rng.exponential(np.exp(-coefficient_of(0.65) * x))
    from qupath_hccmil.method.concordance import concordance

    assert concordance(time, np.ones(20_000, bool), x) == pytest.approx(0.65, abs=0.01)
    assert concordance_of(0.0) == pytest.approx(0.5)
    assert concordance_of(coefficient_of(0.7)) == pytest.approx(0.7)
    event = np.arange(200) < 80
    table = what_can_be_shown(np.ones(200), event, draws=100)
    assert table["events_needed"].is_monotonic_decreasing
    assert (table["low"] < table["c_index"]).all()
    assert (table["c_index"] < table["high"] + 0.02).all()
    assert table["power"].is_monotonic_increasing
    assert (table["enough"] == (table["power"] >= 0.8)).all()
    assert smallest_shown(80) < smallest_shown(30)
    assert np.isnan(smallest_shown(0))


def test_the_cohort_tells_who_is_left_out_and_what_is_missing():
    learner, cohort = small_cohort(60)
    from pathlib import Path

    table = pd.DataFrame({"patient": list(cohort.frame.index), "site": "A"}, dtype=object)
    table.loc[4, "site"] = None
    source = UserTable(Path("c.csv"), table)
    assert usual_centre(table) == "site"
    with pytest.raises(DataError, match=r"column 'site' has no value for 1 patient"):
        judged_cohort(source, learner.outcomes, cohort.slides, centre="site")
    follow_up = {p: v for p, v in learner.outcomes.items() if p != "P001"}
    found = judged_cohort(source, follow_up, cohort.slides[1:])
    assert found.left_out == {"P000": "no slide", "P001": "no follow-up"}
    with pytest.raises(DataError, match="no patient has both follow-up"):
        judged_cohort(source, {}, cohort.slides)
    with pytest.raises(DataError, match="has no column 'stage' for the variable"):
        judged_cohort(source, follow_up, cohort.slides, variables=["stage"])
