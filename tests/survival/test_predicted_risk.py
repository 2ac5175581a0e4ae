"""Baseline, calibration, Brier score and decision curve: R's numbers, and the odd cohorts."""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.baseline import (
    Baseline,
    cross_fitted,
    fit_baseline,
    read_baseline,
)
from qupath_hccmil.survival.statistics.brier import brier_scores
from qupath_hccmil.survival.statistics.decision_curve import net_benefit
from qupath_hccmil.survival.statistics.horizon_calibration import calibration
from tests.survival.frozen import frozen, frozen_at

HORIZONS = [1.0, 2.0, 4.0]


FITTED = [("gbsg2", "gbsg2-fitted"), ("tcga", "tcga")]


@pytest.fixture(scope="module")
def baseline(gbsg2) -> Baseline:
    return fit_baseline(gbsg2, "score", name="GBSG2", unit="years")


@pytest.mark.parametrize(("name", "item"), FITTED)
def test_predicted_risk_is_that_of_r(frame_of, name, item):
    frame = frame_of(name)
    fitted = fit_baseline(frame, "score", name=name, unit="years")
    truth = frozen(item, "risk")
    for year, column in ((1, "year1"), (2, "year2"), (4, "year4")):
        risk = 1 - fitted.survival(frame["score"].to_numpy()[:5], year)
        np.testing.assert_allclose(risk, truth[column], atol=1e-9)


def test_baseline_survives_its_file(baseline, tmp_path):
    path = tmp_path / "baseline.json"
    path.write_text(baseline.to_json())
    assert read_baseline(path) == baseline
    path.write_text("{}")
    with pytest.raises(DataError, match="is not a baseline"):
        read_baseline(path)


def test_baseline_knows_nothing_past_its_follow_up(baseline):
    with pytest.raises(DataError, match="ends at"):
        baseline.survival(np.array([0.5]), 99)


def test_cross_fitting_predicts_as_well_as_it_can(gbsg2):
    predicted = cross_fitted(gbsg2, "score", [3.0], seed=1)[:, 0]
    whole = fit_baseline(gbsg2, "score", name="all", unit="years")
    fitted = whole.survival(gbsg2["score"].to_numpy(), 3.0)
    assert np.corrcoef(predicted, fitted)[0, 1] > 0.99
    assert not np.allclose(predicted, fitted, atol=1e-6)


@pytest.mark.parametrize(("column", "horizon"), [("predicted", 3), ("predicted5", 5)])
def test_calibration_is_that_of_r(gbsg2, column, horizon):
    truth = frozen("gbsg2", "calibration").loc[str(horizon)]
    found = calibration(gbsg2, column, float(horizon), repeats=0).summary.set_index("quantity")
    for ours, theirs in (
        ("Observed risk", "observed"),
        ("Mean predicted risk", "expected"),
        ("Observed / expected", "oe"),
        ("Calibration slope", "slope"),
        ("ICI", "ici"),
        ("E50", "e50"),
        ("E90", "e90"),
        ("Emax", "emax"),
    ):
        assert found.loc[ours, "estimate"] == pytest.approx(truth[theirs], abs=1e-6), ours
    wide = np.log(found.loc["Observed / expected", "upper"] / truth["oe"]) / 1.959963984540054
    assert wide == pytest.approx(truth["oe_se_log"], abs=1e-6)


def test_a_score_that_is_true_calibrates():
    rng = np.random.default_rng(5)
    rate = np.exp(rng.normal(-1.5, 0.7, 4000))
    event_time, censored = rng.exponential(1 / rate), rng.uniform(1, 8, 4000)
    frame = pd.DataFrame(
        {
            "time": np.minimum(event_time, censored),
            "event": (event_time <= censored).astype(int),
            "risk": 1 - np.exp(-rate * 2),
        }
    )
    found = calibration(frame, "risk", 2.0, repeats=10).summary.set_index("quantity")
    assert found.loc["Observed / expected", "estimate"] == pytest.approx(1, abs=0.08)
    assert found.loc["Calibration slope", "estimate"] == pytest.approx(1, abs=0.1)
    assert found.loc["ICI", "estimate"] < 0.03
    assert found.loc["ICI", "lower"] < found.loc["ICI", "upper"]


def test_two_different_predictions_are_enough(gbsg2):
    coarse = gbsg2.assign(risk=np.where(gbsg2["pnodes"] > 3, 0.6, 0.25))
    found = calibration(coarse, "risk", 3.0, repeats=0)
    assert len(found.groups) == 2
    assert found.summary["estimate"].notna().all()


@pytest.mark.parametrize(
    ("change", "horizon", "told"),
    [
        ({"predicted": 1.2}, 3.0, "between 0 and 1"),
        ({}, 99.0, "after the last follow-up"),
        ({"event": 0}, 3.0, "no event up to the horizon"),
    ],
)
def test_what_cannot_be_calibrated_is_named(gbsg2, change, horizon, told):
    with pytest.raises(DataError, match=told):
        calibration(gbsg2.assign(**change), "predicted", horizon, repeats=0)


def test_brier_score_is_that_of_riskregression(gbsg2):
    found = brier_scores(gbsg2, gbsg2[["predicted", "predicted5"]].to_numpy(), [], [3.0, 5.0])
    table = found.table
    np.testing.assert_allclose(
        table["brier"], frozen_at("gbsg2", "brier-model")["brier"], atol=1e-9
    )
    np.testing.assert_allclose(table["scaled"], frozen_at("gbsg2", "brier-model")["ipa"], atol=1e-9)
    np.testing.assert_allclose(
        table["null"], frozen_at("gbsg2", "brier-Null model")["brier"], atol=1e-9
    )


@pytest.mark.parametrize(("name", "item"), FITTED)
def test_integrated_brier_score_is_that_of_riskregression(frame_of, name, item):
    frame = frame_of(name)
    fitted = fit_baseline(frame, "score", name=name, unit="years")
    grid, score = np.linspace(0.05, 4, 80), frame["score"].to_numpy()
    risk = np.column_stack([1 - fitted.survival(score, at) for at in [*grid, *HORIZONS]])
    found = brier_scores(frame, risk, grid.tolist(), HORIZONS, repeats=5)
    truth = frozen_at(item, "brier-cox")
    np.testing.assert_allclose(found.table["brier"], truth["brier"], atol=1e-9)
    np.testing.assert_allclose(found.table["scaled"], truth["ipa"], atol=1e-9)
    for ours, theirs in (("brier", "ibs-cox"), ("null", "ibs-Null model")):
        assert found.integrated[ours] == pytest.approx(
            frozen(item, theirs)["ibs"].iloc[0], abs=1e-9
        )
    assert (found.table["lower"] < found.table["upper"]).all()


def test_brier_score_past_follow_up_is_not_known(gbsg2):
    found = brier_scores(gbsg2, np.full((len(gbsg2), 1), 0.5), [], [99.0])
    assert np.isnan(found.table["brier"].iloc[0])


def test_net_benefit_is_that_of_r(gbsg2):
    truth = frozen_at("gbsg2", "net-benefit")
    found = net_benefit(gbsg2, "predicted", 3.0, truth.index.tolist())
    np.testing.assert_allclose(found["model"], truth["model"], atol=1e-9)
    np.testing.assert_allclose(found["all"], truth["all"], atol=1e-9)


def test_a_threshold_below_every_risk_treats_all(gbsg2):
    row = net_benefit(gbsg2, "predicted", 3.0, [0.01]).iloc[0]
    assert row["treated"] == 1
    assert row["model"] == pytest.approx(row["all"])
    assert net_benefit(gbsg2, "predicted", 3.0, [0.999])["model"].iloc[0] <= 0
