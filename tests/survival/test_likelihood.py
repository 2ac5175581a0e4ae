"""Likelihoods that are flat, slopes that are analytic, and ties that are ties."""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.cox import EFRON, FIRTH, fit_cox, independent, refit
from qupath_hccmil.survival.statistics.discrimination import CLINICAL, HARRELL, discrimination
from qupath_hccmil.survival.statistics.firth import _problem, fit_firth
from qupath_hccmil.survival.statistics.partial_likelihood import RiskSets
from qupath_hccmil.survival.statistics.variables import Variable, weighed_sum


def cohort(patients: int, columns: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, (patients, columns)).astype(float)
    time = np.ceil(rng.exponential(np.exp(-x[:, 0] / 2) * 20))
    return time, rng.random(patients) < 0.6, x


# -- monotone likelihood ---------------------------------------------------------------------------


@pytest.fixture
def nearly_binary():
    """A covariate that is 0 but in eight patients, of whom none has an event."""
    time, event, _ = cohort(400, 1)
    x = np.zeros(400)
    x[:8] = np.linspace(0.8, 1.2, 8)
    event[:8] = False
    time[:8] = time.max()
    return pd.DataFrame({"time": time, "event": event.astype(int), "x": x})


def test_a_nearly_binary_covariate_without_a_maximum_is_noticed(nearly_binary):
    fit = fit_cox(nearly_binary, [Variable("x", "numeric")])
    assert fit.method == FIRTH
    row = fit.table.iloc[0]
    assert 0 < row["hazard_ratio"] < row["upper"] < 1
    assert row["se"] < 10
    with pytest.raises(DataError, match=r"has no maximum.*--penalty firth"):
        fit_cox(nearly_binary, [Variable("x", "numeric")], penalty="none")


def test_a_covariate_that_tells_the_order_of_events_has_no_maximum(nearly_binary):
    frame = nearly_binary.assign(x=-1000.0 * nearly_binary["time"], event=1)
    assert fit_cox(frame, [Variable("x", "numeric")], penalty="auto").method == FIRTH


def test_a_strong_effect_has_a_maximum(nearly_binary):
    rng = np.random.default_rng(1)
    x = rng.normal(size=400)
    frame = nearly_binary.assign(x=x, event=1, time=rng.exponential(np.exp(-4 * x)))
    fit = fit_cox(frame, [Variable("x", "numeric")])
    assert fit.method == EFRON
    assert fit.coefficients[0] == pytest.approx(4, abs=0.6)


# -- Firth's slopes and intervals ------------------------------------------------------------------


def test_the_slope_of_the_penalty_is_that_of_finite_differences():
    time, event, x = cohort(60, 4)
    sets, beta = RiskSets(time, event, x), np.array([0.5, -0.3, 0.2, 0.0])
    moments = sets.moments(beta)
    assert sets.fraction.any(), "the data must have ties"

    def log_determinant(at):
        return np.linalg.slogdet(sets.moments(at).variances.sum(axis=0))[1]

    step = 1e-5 * np.eye(4)
    numeric = [(log_determinant(beta + d) - log_determinant(beta - d)) / 2e-5 for d in step]
    inverse = np.linalg.inv(moments.variances.sum(axis=0))
    np.testing.assert_allclose(
        sets.third_moments(beta, moments, inverse), numeric, rtol=1e-6, atol=1e-8
    )


def test_profile_intervals_of_many_coefficients_take_few_evaluations(monkeypatch):
    time, event, x = cohort(150, 21)
    x[:, 20] = np.arange(150) < 6
    event[:6] = False
    calls = 0
    plain = RiskSets.moments

    def counted(self, beta):
        nonlocal calls
        calls += 1
        return plain(self, beta)

    monkeypatch.setattr(RiskSets, "moments", counted)
    fit = fit_firth(time, event, x)
    # Finite differences took 43 of these a step, and a root search a dozen fits for each end.
    assert calls < 42 * 60
    assert np.isfinite(fit.lower).all()
    assert np.isfinite(fit.upper).all()
    monkeypatch.undo()
    spread, problem = _problem(time, event, x)
    for index in (0, 20):
        for end in (fit.lower, fit.upper):
            gap = fit.log_likelihood - problem.profile(
                fit.coefficients * spread, index, end[index] * spread[index]
            )
            assert gap == pytest.approx(3.841458820694124 / 2, abs=1e-6)


# -- ties of fitted models -------------------------------------------------------------------------


def test_equal_rows_have_equal_predictors_wherever_they_stand():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(16, 7))
    beta = rng.normal(size=7)
    once = weighed_sum(rows, beta)
    order = rng.integers(0, 16, 1003)
    assert (weighed_sum(rows[order], beta) == once[order]).all()
    assert (weighed_sum(np.asfortranarray(rows[order]), beta) == once[order]).all()


def test_patients_of_equal_covariates_are_ties_in_c():
    time, event, x = cohort(300, 4)
    frame = pd.DataFrame({"time": time, "event": event.astype(int), "score": x[:, 0] + time})
    names = [f"x{k}" for k in range(4)]
    frame[names] = x
    variables = [Variable(name, "numeric") for name in names]
    fit = fit_cox(frame, variables)
    # One number for each of the 16 kinds of patients, as R has it.
    kinds = frame[names].assign(lp=fit.linear_predictor(frame)).drop_duplicates()
    assert len(kinds) == len(frame[names].drop_duplicates())
    lp = kinds.set_index(names)["lp"][list(map(tuple, frame[names].to_numpy()))].to_numpy()
    before, ties = 0.0, 0.0
    usable = 0
    for i in np.flatnonzero(event):
        later = (time > time[i]) | ((time == time[i]) & ~event)
        usable += later.sum()
        before += (lp[later] < lp[i] - 1e-9).sum()
        ties += (np.abs(lp[later] - lp[i]) <= 1e-9).sum()
    truth = (before + ties / 2) / usable
    shuffled = frame.sample(frac=1, random_state=5)
    for one in (frame, shuffled):
        table = discrimination(one, "score", variables, 20.0, repeats=0).table
        row = table[(table["model"] == CLINICAL) & (table["statistic"] == HARRELL)]
        assert row["apparent"].iloc[0] == pytest.approx(truth, abs=1e-12)


def test_columns_that_are_one_in_a_bootstrap_sample_cost_nothing():
    time, event, x = cohort(80, 3)
    twice = np.column_stack([x, x[:, 1], x[:, 0] + x[:, 2], np.full(80, 0.1)])
    assert independent(twice).sum() == 3
    predicted = weighed_sum(twice, refit(time, event, twice))
    alone = weighed_sum(x, refit(time, event, x))
    shift = predicted - alone
    np.testing.assert_allclose(shift, shift[0], atol=1e-7)
