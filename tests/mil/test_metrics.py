import numpy as np
import pytest
from sklearn import metrics as scikit_learn

from qupath_hccmil.mil.metrics import (
    SAME_LOGIT,
    Estimate,
    accuracy,
    auc,
    bootstrap,
    brier,
    cross_entropy,
    score_ranks,
    sensitivity,
    specificity,
)

POOR = np.array([True, True, False, False, False])


def test_auc_is_the_share_of_pairs_in_order():
    assert auc(POOR, [0.9, 0.4, 0.1, 0.4, 0.5]) == pytest.approx((3 + 0.5 + 1) / 6)
    assert auc(POOR, [0.9, 0.8, 0.1, 0.2, 0.3]) == 1
    assert np.isnan(auc([True, True], [0.1, 0.2]))


def test_scores_that_differ_by_rounding_alone_are_tied():
    assert score_ranks([0.5, -1, 0.5 + 1e-5, np.inf, -np.inf, np.inf]).tolist() == [
        2,
        1,
        2,
        3,
        0,
        3,
    ]
    assert auc([True, False], score_ranks([0.2 + 1e-6, 0.2])) == 0.5


def test_many_patients_do_not_chain_to_one_score():
    logits = np.linspace(0, 1, 100_001)
    ranks = score_ranks(logits)
    assert (np.diff(ranks) >= 0).all()
    spread = [np.ptp(logits[ranks == rank]) for rank in (0, 1, ranks[-1] // 2)]
    assert max(spread) <= SAME_LOGIT
    assert ranks[-1] > 9000


def test_group_figures():
    high = np.array([True, False, True, False, False])
    assert accuracy(POOR, high) == pytest.approx(3 / 5)
    assert sensitivity(POOR, high) == pytest.approx(1 / 2)
    assert specificity(POOR, high) == pytest.approx(2 / 3)


def test_figures_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    poor = rng.random(60) < 0.4
    # ties too
    risk = np.round(np.clip(0.3 * poor + 0.7 * rng.random(60), 0.01, 0.99), 2)
    high = risk > 0.5
    assert auc(poor, risk) == pytest.approx(scikit_learn.roc_auc_score(poor, risk))
    assert brier(poor, risk) == pytest.approx(scikit_learn.brier_score_loss(poor, risk))
    assert cross_entropy(poor, risk) == pytest.approx(scikit_learn.log_loss(poor, risk))
    assert accuracy(poor, high) == pytest.approx(scikit_learn.accuracy_score(poor, high))
    assert sensitivity(poor, high) == pytest.approx(scikit_learn.recall_score(poor, high))
    assert specificity(poor, high) == pytest.approx(
        scikit_learn.recall_score(poor, high, pos_label=0)
    )


def test_bootstrap_brackets_the_figure_and_repeats():
    rng = np.random.default_rng(0)
    poor = rng.random(80) > 0.5
    risk = poor + rng.normal(0, 1, 80)
    one, two = (bootstrap(auc, poor, risk, repeats=200) for _ in range(2))
    assert one == two
    assert 0.5 < one.low < one.value < one.high < 1


def test_a_figure_that_is_the_same_in_all_samples_has_no_interval():
    poor = np.arange(20) % 2 == 0
    estimate = bootstrap(auc, poor, poor + np.linspace(0, 0.1, 20), repeats=50)
    assert estimate.value == 1
    assert np.isnan([estimate.low, estimate.high]).all()
    assert str(estimate) == "1.000"
    assert str(Estimate(0.5, 0.25, 0.75)) == "0.500 (0.250–0.750)"
    assert str(Estimate(float("nan"), 0, 1)) == "–"


def test_bootstrap_without_a_value_has_no_interval():
    estimate = bootstrap(auc, np.array([True]), np.array([0.5]), repeats=10)
    assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
