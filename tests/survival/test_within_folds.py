"""Statistics within folds: equal to those of one cohort, fold by fold, and of bootstrap loops."""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.judgement.nested_splits import outer_folds
from qupath_hccmil.method.bootstrap import samples
from qupath_hccmil.method.concordance import concordance
from qupath_hccmil.survival.statistics.auc import auc_over_time
from qupath_hccmil.survival.statistics.cox import refit
from qupath_hccmil.survival.statistics.within_folds import (
    AUC,
    C_INDEX,
    FoldOutcomes,
    auc_curve,
    compare_within_folds,
    concordance_by_fold,
    widening,
)
from tests.survival import datasets
from tests.survival.frozen import frozen


@pytest.fixture
def made():
    rng = np.random.default_rng(1)
    n = 90
    score = rng.normal(size=n).round(1)  # with ties
    waits, ends = rng.exponential(np.exp(-score) * 3), rng.uniform(1, 8, n)
    time = np.minimum(waits, ends).round(1)  # with ties
    return time, waits <= ends, score, np.arange(n) % 3


def one_repeat(time, event, fold):
    return FoldOutcomes(time[None], event[None], fold[None])


def test_one_fold_is_the_c_index_and_the_auc_of_the_cohort(made):
    time, event, score, fold = made
    found = compare_within_folds(
        one_repeat(time, event, 0 * fold), {"score": score[None]}, [2.0, 4.0], repeats=20
    ).table.set_index("statistic")
    assert found.loc[C_INDEX, "estimate"] == pytest.approx(concordance(time, event, score))
    frame = pd.DataFrame({"time": time, "event": event.astype(int), "score": score})
    theirs = auc_over_time(frame, ["score"], [2.0, 4.0]).table["auc"]
    assert found.loc[AUC, "estimate"].tolist() == pytest.approx(theirs.tolist())


def test_only_pairs_within_a_fold_count(made):
    time, event, score, fold = made
    shifted = score + 100.0 * fold  # models of other folds have another scale
    outcomes = one_repeat(time, event, fold)
    both = compare_within_folds(
        outcomes, {"score": score[None], "shifted": shifted[None]}, [3.0], repeats=50
    )
    table = both.table.set_index(["marker", "statistic"])
    for statistic in (C_INDEX, AUC):
        assert table.loc[("score", statistic), "estimate"] == pytest.approx(
            table.loc[("shifted", statistic), "estimate"]
        )
    assert both.differences["difference"].abs().max() < 1e-12
    each = concordance_by_fold(outcomes, score[None])[0]
    pairs = {}
    for number in range(3):
        t, e = time[fold == number], event[fold == number]
        assert each[number] == pytest.approx(concordance(t, e, score[fold == number]))
        later = (t[:, None] < t[None]) | ((t[:, None] == t[None]) & ~e[None])
        pairs[number] = later[e].sum()
    pooled = sum(each[k] * pairs[k] for k in pairs) / sum(pairs.values())
    assert table.loc[("score", C_INDEX), "estimate"] == pytest.approx(pooled)


def test_the_interval_is_that_of_a_loop_over_bootstrap_samples(made):
    time, event, score, fold = made
    found = compare_within_folds(
        one_repeat(time, event, 0 * fold), {"score": score[None]}, [], repeats=60, seed=4
    )
    drawn = [concordance(time[s], event[s], score[s]) for s in samples(event, 60, 4)]
    # A patient who is drawn twice makes a pair with itself, which is not usable in either.
    assert found.drawn["score"][0] == pytest.approx(drawn)
    row = found.table.iloc[0]
    assert [row["lower"], row["upper"]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]))


def test_repeats_are_averaged_within_each_sample(made):
    time, event, score, fold = made
    rng = np.random.default_rng(0)
    values = np.array([score, rng.normal(size=len(score))])
    outcomes = FoldOutcomes(
        np.tile(time, (2, 1)), np.tile(event, (2, 1)), np.array([fold, rng.permutation(fold)])
    )
    both = compare_within_folds(outcomes, {"m": values}, [], repeats=30)
    alone = [
        compare_within_folds(
            FoldOutcomes(*(a[k : k + 1] for a in (outcomes.time, outcomes.event, outcomes.fold))),
            {"m": values[k : k + 1]}, [], repeats=30,
        )
        for k in range(2)
    ]  # fmt: skip
    mean = np.mean([one.table["estimate"].iloc[0] for one in alone])
    assert both.table["estimate"].iloc[0] == pytest.approx(mean)
    drawn = [one.drawn["m"] for one in alone]
    assert both.drawn["m"] == pytest.approx(np.mean(drawn, axis=0))


def test_without_usable_pairs_there_is_no_number(made):
    time, event, score, _ = made
    outcomes = one_repeat(time, event, np.arange(len(time)))
    table = compare_within_folds(outcomes, {"m": score[None]}, [3.0], repeats=5).table
    assert table[["estimate", "lower", "upper"]].isna().all(axis=None)


def test_the_band_of_the_curve_holds_its_intervals(made):
    time, event, score, fold = made
    curve = auc_curve(one_repeat(time, event, fold), {"m": score[None]}, [2.0, 3.0, 4.0])
    assert (curve["band_lower"] <= curve["lower"] + 0.02).all()
    assert (curve["band_upper"] >= curve["upper"] - 0.02).all()
    assert curve["auc"].between(curve["lower"], curve["upper"]).all()


def cross_validated(seed: int, strength: float) -> tuple[float, float, float]:
    """C-index of a Cox model on three numbers, by five folds of 100 patients, and its interval."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(100, 3))
    waits, ends = rng.exponential(np.exp(-strength * x[:, 0])), rng.exponential(2.0, 100)
    time, event = np.minimum(waits, ends), waits <= ends
    names = [f"{number:03d}" for number in range(100)]
    score, fold = np.zeros(100), np.zeros(100, int)
    for one in outer_folds(dict(zip(names, event.astype(int), strict=True)), 5, seed):
        test, train = (np.array(list(map(int, part))) for part in (one.held_out, one.others))
        score[test] = x[test] @ refit(time[train], event[train], x[train])
        fold[test] = one.number
    found = compare_within_folds(
        one_repeat(time, event, fold), {"m": score[None]}, [], repeats=100, seed=seed
    )
    return tuple(found.table.loc[0, ["estimate", "lower", "upper"]])


@pytest.mark.parametrize("strength", [0.0, 0.6])
def test_intervals_of_trained_models_cover_what_they_estimate(strength):
    """Of 60 cohorts, at least 90 %: without the factor, it is about 87 % where nothing predicts."""
    found = np.array([cross_validated(seed, strength) for seed in range(60)])
    truth = found[:, 0].mean() if strength else 0.5
    covered = ((found[:, 1] <= truth) & (truth <= found[:, 2])).mean()
    assert covered >= 0.9


def test_the_factor_is_that_of_nadeau_and_bengio():
    assert widening(np.arange(100)[None] % 5) == pytest.approx(np.sqrt(1 + 5 / 4))
    assert widening(np.array([[1] * 30 + [2] * 10])) == pytest.approx(np.sqrt(1 + 3 + 1 / 3))
    assert widening(np.zeros((1, 9), int)) == 1


def test_concordance_within_folds_is_that_of_r_within_strata():
    frame, truth = datasets.flchain(), frozen("flchain", "strata-concordance").iloc[0]
    year = frame["year"].astype(int).to_numpy()
    outcomes = one_repeat(frame["time"].to_numpy(), frame["event"].to_numpy(bool), year)
    shifted = frame["score"].to_numpy() + 10 * (year - 1994)
    found = compare_within_folds(outcomes, {"m": shifted[None]}, [], repeats=2).table
    assert found["estimate"].iloc[0] == pytest.approx(truth["estimate"], abs=1e-12)
