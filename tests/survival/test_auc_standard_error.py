"""The standard error of AUC(t) is that of the estimator itself, also where R's differs.

The influence of a patient is the slope of the estimate in the patient's weight. Here it is taken
numerically, from nothing but the definition of the estimate. Where events and censorings are tied,
riskRegression's standard error is away from it, and ours is not.
"""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.survival.statistics.auc import NO_INTERVAL, auc_over_time

TIED = 0.5
# riskRegression 2022.11.28: Score(list(score), Surv(time, event) ~ 1, times = 3, metrics = "auc")
# on the tied patients below.
FROM_R = 0.0474187256545


def weighted_auc(time, event, higher, at, weight):
    """AUC(t) of patients who count `weight` times; `higher` is 1, 0.5 or 0 for each pair."""
    free = np.ones(len(time))  # of censoring, just before the time of each patient
    for moment in np.unique(time[~event]):
        here = time == moment
        at_risk = weight[time >= moment].sum() - weight[here & event].sum()
        # At equal times an event comes before a censoring.
        free[time > moment] *= 1 - weight[here & ~event].sum() / at_risk
    cases = np.where(event & (time <= at), weight / free, 0.0)
    controls = np.where(time > at, weight, 0.0)
    return cases @ higher @ controls / (cases.sum() * controls.sum())


@pytest.mark.parametrize("step", [0.001, TIED], ids=["few ties", "heavy ties"])
def test_the_standard_error_is_that_of_the_numerical_influence(gbsg2, step):
    rows = gbsg2.iloc[:150]
    time = np.ceil(rows["time"].to_numpy() / step) * step
    event = rows["event"].to_numpy(bool)
    marker = rows["score"].to_numpy()
    higher = (marker[:, None] > marker) + 0.5 * (marker[:, None] == marker)
    at, count, shift = 3.0, len(rows), 1e-4
    influence = []
    for patient in range(count):
        weights = np.ones(count), np.ones(count)
        weights[0][patient] += shift
        weights[1][patient] -= shift
        up, down = (weighted_auc(time, event, higher, at, weight) for weight in weights)
        influence.append(count * (up - down) / (2 * shift))
    expected = np.std(influence, ddof=1) / np.sqrt(count)
    frame = pd.DataFrame({"time": time, "event": event.astype(int), "score": marker})
    found = auc_over_time(frame, ["score"], [at]).table.iloc[0]
    plain = weighted_auc(time, event, higher, at, np.ones(count))
    assert found["auc"] == pytest.approx(plain, abs=1e-12)
    assert found["se"] == pytest.approx(expected, abs=1e-8)
    if step == TIED:
        assert abs(FROM_R - expected) > 1e-6


def test_a_standard_error_of_0_gives_no_interval_and_no_test():
    """Four cases above all controls do not make it certain that every case is."""
    time = np.r_[0.5, 0.6, 0.7, 0.8, np.linspace(2, 9, 26)]
    event = np.r_[np.ones(4), np.arange(26) % 2]
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"time": time, "event": event.astype(int), "weak": rng.uniform(size=30)})
    frame["one"] = frame["other"] = np.where(time < 1, 5, 1) + frame["weak"] / 9
    frame["same"] = 3.0
    found = auc_over_time(frame, ["one", "other", "weak", "same"], [1.0, 5.0])
    early = found.table[found.table["time"] == 1].set_index("marker")
    limits = ["lower", "upper", "band_lower", "band_upper"]
    for marker, auc in (("one", 1), ("other", 1), ("same", 0.5)):
        assert early.loc[marker, "auc"] == pytest.approx(auc, abs=1e-12)
        assert early.loc[marker, "se"] == 0
        assert early.loc[marker, limits].isna().all()
        assert early.loc[marker, "note"] == NO_INTERVAL
    assert (found.table["auc"] <= 1).all()
    assert early.loc["weak", "note"] == ""
    assert early.loc["weak", limits].notna().all()
    # the band is of the times that have a standard error
    late = found.table[(found.table["time"] == 5) & (found.table["marker"] == "one")].squeeze()
    assert late["band_lower"] < late["auc"] < late["band_upper"]
    gap = found.differences[found.differences["time"] == 1].set_index("marker")
    assert gap.loc["other", ["difference", "se"]].tolist() == [0, 0]
    assert gap.loc[["other", "same"], ["lower", "upper", "z", "p"]].isna().all(axis=None)
    assert gap.loc["weak", ["lower", "upper", "z", "p"]].notna().all()
