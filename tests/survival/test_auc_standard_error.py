"""The standard error of AUC(t) is that of the estimator itself, also where R's differs.

The influence of a patient is the slope of the estimate in the patient's weight. Here it is taken
numerically, from nothing but the definition of the estimate. Where events and censorings are tied,
riskRegression's standard error is away from it, and ours is not.
"""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.survival.statistics.auc import auc_over_time

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
