import math

import lifelines
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from qupath_hccmil.heads.loss import CoxLoss, DiscreteTimeLoss, cox_loss, make_loss
from qupath_hccmil.heads.outcomes import Outcome
from qupath_hccmil.mil.outcome_loss import outcome_loss

COHORT = st.lists(
    st.tuples(st.integers(1, 6), st.booleans(), st.floats(-3, 3)), min_size=1, max_size=12
)


def cohort(rows):
    time, event, logit = (np.array(column) for column in zip(*rows, strict=True))
    return time.astype(float), event.astype(bool), torch.from_numpy(logit.astype(float))


def outcomes_of(time, event):
    return [Outcome(float(t), bool(e)) for t, e in zip(time, event, strict=True)]


def test_cox_without_ties_by_hand():
    # Events at 1 and 2; at risk {1, 2, 3} and {2, 3}.
    logits = torch.tensor([0.5, -1.0, 2.0], dtype=torch.double)
    weights = np.exp([0.5, -1.0, 2.0])
    expected = -(0.5 - math.log(weights.sum()) + -1.0 - math.log(weights[1:].sum())) / 2
    found = cox_loss(logits, np.array([1.0, 2, 3]), np.array([True, True, False]))
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_cox_with_ties_by_hand():
    # Two events at time 1, one censored then, who is at risk; a fourth later.
    weights = np.exp([0.5, -1.0, 2.0, 0.1])
    whole, tied = weights.sum(), weights[0] + weights[1]
    expected = -(0.5 - 1.0 - math.log(whole) - math.log(whole - tied / 2)) / 2
    found = cox_loss(
        torch.tensor([0.5, -1.0, 2.0, 0.1], dtype=torch.double),
        np.array([1.0, 1, 1, 5]),
        np.array([True, True, False, False]),
    )
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("decimals", [1, 6])
def test_cox_is_the_likelihood_that_lifelines_maximises(decimals):
    rng = np.random.default_rng(0)
    x = rng.normal(size=80)
    time = np.round(rng.exponential(np.exp(-0.7 * x)), decimals) + 0.1
    event = rng.random(80) < 0.7
    fitted = lifelines.CoxPHFitter().fit(pd.DataFrame({"t": time, "e": event, "x": x}), "t", "e")
    beta = float(fitted.params_["x"])
    logits = torch.from_numpy(beta * x).requires_grad_()
    loss = cox_loss(logits, time, event)
    assert -float(loss.detach()) * event.sum() == pytest.approx(fitted.log_likelihood_, rel=1e-6)
    loss.backward()
    # At the maximum, the slope in beta is 0.
    assert float(logits.grad @ torch.from_numpy(x)) == pytest.approx(0, abs=1e-4)


@settings(deadline=None, max_examples=50)
@given(rows=COHORT)
def test_gradients_are_those_of_finite_differences(rows):
    time, event, logits = cohort(rows)
    outcomes = outcomes_of(time, event)
    losses = [CoxLoss()]
    if event.any():
        losses.append(make_loss("discrete-time", outcomes, bins=3).double())
    for loss in losses:
        check = torch.autograd.gradcheck
        assert check(lambda x, loss=loss: loss(x, outcomes), (logits.clone().requires_grad_(),))


@settings(deadline=None, max_examples=50)
@given(rows=COHORT, shift=st.floats(-5, 5))
def test_cox_compares_patients_only(rows, shift):
    time, event, logits = cohort(rows)
    found, shifted = (cox_loss(x, time, event) for x in (logits, logits + shift))
    assert float(shifted) == pytest.approx(float(found), abs=1e-9)


def test_cox_stays_finite_for_extreme_logits():
    logits = torch.tensor([500.0, -500.0, 0.0, 500.0], requires_grad=True)
    loss = cox_loss(logits, np.array([1.0, 1, 2, 3]), np.array([True, True, True, False]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_cox_without_events_pulls_nowhere():
    logits = torch.tensor([1.0, 2.0], requires_grad=True)
    cox_loss(logits, np.array([1.0, 2]), np.array([False, False])).backward()
    assert logits.grad.tolist() == [0, 0]


def test_discrete_time_by_hand():
    # Intervals (0, 2] and (2, 4]; baselines of hazards 0.2 and 0.4.
    loss = DiscreteTimeLoss(np.array([2.0, 4.0]), np.array([0.2, 0.4]))
    logits = [0.5, -1.0, 0.3, 0.0, 0.2]
    outcomes = [
        Outcome(1.0, True),  # event in the first
        Outcome(4.0, True),  # survived the first, event in the second
        Outcome(2.9, False),  # followed for less than half of the second
        Outcome(3.0, False),  # for half of it
        Outcome(0.5, False),  # for less than half of the first
    ]
    base = [math.log(0.2 / 0.8), math.log(0.4 / 0.6)]
    h = expit(np.array(base) + np.array(logits)[:, None])
    expected = -np.mean(
        [
            math.log(h[0, 0]),
            math.log(1 - h[1, 0]) + math.log(h[1, 1]),
            math.log(1 - h[2, 0]),
            math.log(1 - h[3, 0]) + math.log(1 - h[3, 1]),
            0.0,
        ]
    )
    found = loss(torch.tensor(logits), outcomes)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)


def test_intervals_have_equally_many_events_and_start_from_the_cohorts_hazards():
    time = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    loss = DiscreteTimeLoss.of_events(time, np.array([True] * 8 + [False] * 2), bins=4)
    assert loss.edges.tolist() == [2, 4, 6, 8]
    hazards = torch.sigmoid(loss.baseline.detach())
    np.testing.assert_allclose(hazards, [2 / 10, 2 / 8, 2 / 6, 2 / 4], rtol=1e-5)


def test_a_higher_logit_costs_a_patient_with_an_event_less():
    outcomes = outcomes_of([1.0, 2, 3, 4], [True, True, False, False])
    right, wrong = torch.tensor([2.0, 1, -1, -2]), torch.tensor([-2.0, -1, 1, 2])
    for name in ("cox", "discrete-time"):
        loss = make_loss(name, outcomes)
        assert loss(right, outcomes) < loss(wrong, outcomes)
    labelled = [Outcome(label=0), Outcome(label=0), Outcome(label=1), Outcome(label=1)]
    loss = make_loss("outcome", labelled)
    assert loss(right, labelled) < loss(wrong, labelled)


def test_the_published_loss_is_the_mean_over_patients():
    labelled = [Outcome(label=0), Outcome(label=1)]
    logits = torch.tensor([0.3, 0.9])
    each = [outcome_loss(logits[0], 0, 0.3), outcome_loss(logits[1], 1, 0.3)]
    loss = make_loss("outcome", labelled, threshold=0.3)
    assert float(loss(logits, labelled)) == pytest.approx(float(sum(each)) / 2)
