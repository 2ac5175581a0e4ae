"""Subgroups, centres and random effects: R's numbers on data that they weren't developed on."""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.centres import (
    CLUSTERED,
    PLAIN,
    STRATIFIED,
    centre_effects,
)
from qupath_hccmil.survival.statistics.random_effects import Pooled, pool
from qupath_hccmil.survival.statistics.stratified_cox import fit_stratified
from qupath_hccmil.survival.statistics.subgroups import subgroup_effects
from qupath_hccmil.survival.statistics.variables import Variable
from tests.survival import datasets
from tests.survival.frozen import frozen

SCORE = Variable("score", "numeric")
AGE = Variable("age", "numeric")
SEX = Variable("sex", "categorical", ("F", "M"))


@pytest.fixture(scope="module")
def everything() -> pd.DataFrame:
    return datasets.flchain()


@pytest.fixture(scope="module")
def plain(everything) -> pd.DataFrame:
    return everything.drop(columns="entry_time")


@pytest.fixture(scope="module")
def centres(plain):
    return centre_effects(plain, SCORE, "year", [AGE])


def test_subgroups_are_those_of_r(plain):
    found = subgroup_effects(plain, SCORE, [SEX, AGE])
    table = found.table
    assert table["label"].iloc[0] == "All patients"
    for name in ("sex", "age"):
        truth = frozen("flchain", f"subgroup-{name}")
        ours = table[table["variable"] == name]
        np.testing.assert_allclose(ours["coefficient"], truth["coef"], atol=1e-7)
        np.testing.assert_allclose(ours["se"], truth["se"], atol=1e-7)
    tests = found.tests.set_index("variable")
    for name in ("sex", "age"):
        truth = frozen("flchain", "interaction").loc[name]
        assert tests.loc[name, "statistic"] == pytest.approx(truth["chisq"], abs=1e-7)
        assert tests.loc[name, "degrees_of_freedom"] == truth["df"]
        assert tests.loc[name, "p"] == pytest.approx(truth["p"], rel=1e-6)
    assert (found.tests["p_holm"] >= found.tests["p"]).all()


def test_a_subgroup_with_hardly_an_event_is_shown_without_an_effect(plain):
    few = plain.assign(
        part=np.where(np.arange(len(plain)) < 3, "few", "most"), event=plain["event"]
    )
    few.loc[:2, "event"] = 0
    part = Variable("part", "categorical", ("few", "most"))
    found = subgroup_effects(few, SCORE, [part])
    row = found.table[found.table["level"] == "few"].iloc[0]
    assert row["note"] == "0 events"
    assert np.isnan(row["hazard_ratio"])
    test = found.tests.iloc[0]
    assert (test["degrees_of_freedom"], np.isnan(test["p"])) == (0, True)


def test_an_effect_that_has_no_estimate_says_why(plain):
    same = plain.assign(score=np.where(plain["sex"] == "F", 1.0, plain["score"]))
    found = subgroup_effects(same, SCORE, [SEX])
    note = found.table[found.table["level"] == "F"]["note"].iloc[0]
    assert "score does not vary" in note


def test_models_with_centres_are_those_of_r(centres, everything):
    models = centres.models[centres.models["adjusted"]].set_index("model")
    truth = frozen("flchain", "centre-models")
    for ours, theirs in ((PLAIN, "plain"), (CLUSTERED, "clustered"), (STRATIFIED, "stratified")):
        assert models.loc[ours, "coefficient"] == pytest.approx(truth.loc[theirs, "coef"], abs=1e-7)
        assert models.loc[ours, "se"] == pytest.approx(truth.loc[theirs, "se"], abs=1e-7)
    late = everything.assign(time=everything["exit_age"])
    fit = fit_stratified(late, [SCORE, SEX], cluster="year").table.iloc[0]
    assert fit["coefficient"] == pytest.approx(truth.loc["late", "coef"], abs=1e-7)
    assert fit["se"] == pytest.approx(truth.loc["late", "se"], abs=1e-7)


def test_each_centre_and_all_but_each_are_those_of_r(centres):
    for ours, item in ((centres.by_centre, "by-centre"), (centres.left_out, "without-centre")):
        truth = frozen("flchain", item)
        ours = ours.set_index("centre").loc[truth.index]
        np.testing.assert_allclose(ours["coefficient"], truth["coef"], atol=1e-7)
        np.testing.assert_allclose(ours["se"], truth["se"], atol=1e-7)
    truth = frozen("flchain", "interaction").loc["year"]
    assert centres.statistic == pytest.approx(truth["chisq"], abs=1e-6)
    assert centres.degrees_of_freedom == truth["df"]
    same(centres.pooled, "flchain")


def same(found: Pooled, item: str) -> None:
    truth = frozen("pooled", item).iloc[0]
    for ours, theirs in (
        ("estimate", "estimate"),
        ("se", "se"),
        ("lower", "lower"),
        ("upper", "upper"),
        ("tau", "tau"),
        ("q", "q"),
        ("p", "p"),
        ("i_squared", "i_squared"),
    ):
        assert getattr(found, ours) == pytest.approx(truth[theirs], abs=1e-6)
    if found.count > 2:
        assert found.prediction_lower == pytest.approx(truth["low_new"], abs=1e-6)
        assert found.prediction_upper == pytest.approx(truth["high_new"], abs=1e-6)
    else:
        assert np.isnan(found.prediction_lower)


def test_random_effects_are_those_of_metafor():
    estimates = np.array([-0.3, 0.8, 0.15, 1.4, 0.6, 0.9, np.nan])
    errors = np.array([0.2, 0.3, 0.12, 0.25, 0.4, 0.18, 0.1])
    same(pool(estimates, errors), "heterogeneous")
    same(pool(np.array([0.4, 0.9]), np.array([0.2, 0.15])), "two")
    with pytest.raises(DataError, match="cannot be pooled"):
        pool(np.array([0.4, np.nan]), np.array([0.2, 0.1]))


def test_what_cannot_be_is_said(plain):
    with pytest.raises(DataError, match="only one centre"):
        centre_effects(plain.assign(year="1"), SCORE, "year")
    with pytest.raises(DataError, match="only one cluster"):
        fit_stratified(plain.assign(year="1"), [SCORE], cluster="year")
    with pytest.raises(DataError, match="no event"):
        fit_stratified(plain.assign(event=0), [SCORE])
    silent = plain.assign(event=plain["event"].where(plain["sex"] == "M", 0))
    with pytest.raises(DataError, match="no maximum"):
        fit_stratified(silent, [SEX])
    # A model that cannot be fitted is a row without numbers, and the others are there.
    found = centre_effects(silent, SCORE, "year", [SEX])
    assert found.models.loc[found.models["adjusted"], "hazard_ratio"].isna().all()
    assert found.models.loc[~found.models["adjusted"], "hazard_ratio"].notna().all()


def test_two_centres_of_which_one_has_no_event(plain):
    part = plain.assign(year=np.where(plain["event"] == 1, "a", plain["year"].where(
        plain["year"] == "1995", "a")))  # fmt: skip
    part["year"] = part["year"].replace("1995", "b")
    found = centre_effects(part, SCORE, "year")
    assert found.pooled is None
    assert found.by_centre.set_index("centre").loc["b", "note"] == "0 events"
    without = found.left_out.set_index("centre")
    assert np.isnan(without.loc["a", "hazard_ratio"])
