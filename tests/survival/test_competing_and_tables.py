"""Competing risks, 2×2 tables, imputation and Table 1: R's numbers, and the odd tables."""

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.survival.statistics.competing_risks import (
    cause_specific,
    cumulative_incidence,
    incidence_at,
)
from qupath_hccmil.survival.statistics.cox import fit_cox
from qupath_hccmil.survival.statistics.multiple_imputation import (
    count_missing,
    impute,
    imputed_cox,
    rubin,
)
from qupath_hccmil.survival.statistics.table_one import events_per_variable, table_one
from qupath_hccmil.survival.statistics.tiles_of_interest import compare_counts, count_features
from qupath_hccmil.survival.statistics.variables import Variable
from tests.survival.frozen import frozen, frozen_at

CAUSES = {1: "first", 2: "second", 3: "third"}
EXTENT = Variable("extent", "categorical", ("L", "E"))
PUBLISHED = pd.DataFrame(
    [
        ("stroma", 25, 200, 4, 200),
        ("atypia", 36, 200, 11, 200),
        ("hyperchromasia", 28, 200, 7, 200),
        ("immune", 3, 200, 19, 200),
        ("none", 0, 200, 9, 200),
    ],
    columns=["feature", "high", "high_total", "low", "low_total"],
)


def test_cumulative_incidence_is_that_of_r(cgvhd):
    table = cumulative_incidence(cgvhd, CAUSES)
    for code, cause in CAUSES.items():
        truth = frozen_at("cgvhd", f"cif-{code}")
        found = incidence_at(table, truth.index.tolist())
        found = found[found["cause"] == cause]
        np.testing.assert_allclose(found["incidence"], truth["cif"], atol=1e-9)


def test_standard_error_of_the_incidence_is_that_of_cmprsk(cgvhd):
    found = incidence_at(cumulative_incidence(cgvhd, CAUSES), [0.5])
    for code, cause in CAUSES.items():
        row = found[found["cause"] == cause].iloc[0]
        truth = frozen_at("cgvhd", f"cuminc-{code}").loc[0.5]
        assert row["se"] == pytest.approx(truth["se"], rel=1e-9)
        link = np.log(-np.log(row[["lower", "upper"]].astype(float)))
        error = abs(link.iloc[1] - link.iloc[0]) / (2 * 1.959963984540054)
        error *= row["incidence"] * abs(np.log(row["incidence"]))
        assert error == pytest.approx(truth["se"], rel=1e-9)


def test_incidence_and_survival_add_up(cgvhd):
    table = incidence_at(cumulative_incidence(cgvhd, CAUSES), [1.0])
    from qupath_hccmil.survival.statistics.kaplan_meier import at_horizons

    any_event = cgvhd.assign(event=(cgvhd["event"] > 0).astype(int))
    survival = at_horizons(any_event, [1.0])["survival"].iloc[0]
    assert table["incidence"].sum() + survival == pytest.approx(1)


def test_cause_specific_hazards_are_those_of_r(cgvhd):
    found = cause_specific(cgvhd, CAUSES, [EXTENT])
    for code, cause in CAUSES.items():
        row = found[(found["cause"] == cause) & ~found["reference"]].iloc[0]
        truth = frozen("cgvhd", f"cause-{code}").iloc[0]
        assert row["coefficient"] == pytest.approx(truth["coef"], abs=1e-6)
        assert row["se"] == pytest.approx(truth["se"], abs=1e-6)


def test_a_group_without_one_cause_has_an_incidence_of_zero(cgvhd):
    few = cgvhd[cgvhd["event"] != 2]
    table = cumulative_incidence(few, CAUSES)
    assert (table.loc[table["cause"] == "second", ["incidence", "lower", "upper"]] == 0).all().all()
    with pytest.raises(DataError, match="event code 3"):
        cumulative_incidence(cgvhd, {1: "first", 2: "second"})


def test_two_by_two_tests_are_those_of_r():
    found = compare_counts(PUBLISHED).set_index("feature")
    for feature, row in found.iterrows():
        truth = frozen("tiles", str(feature)).iloc[0]
        assert row["fisher_p"] == pytest.approx(truth["fisher"], rel=1e-9)
        assert row["chi_square_p"] == pytest.approx(truth["chisq"], rel=1e-9)
        assert row["yates_p"] == pytest.approx(truth["yates"], rel=1e-9)
        # R finds the odds ratio and its ends with a root finder that stops at 1e-4.
        assert row["odds_ratio"] == pytest.approx(truth["odds_ratio"], rel=1e-3)
        assert row["lower"] == pytest.approx(truth["lower"], rel=1e-3)
        assert row["upper"] == pytest.approx(truth["upper"], rel=1e-3)


def test_published_p_values_are_none_of_the_tests():
    published = {"stroma": 0.0003, "atypia": 0.0010, "hyperchromasia": 0.0012, "immune": 0.0019}
    found = compare_counts(PUBLISHED).set_index("feature")
    for feature, p in published.items():
        ours = found.loc[feature, ["fisher_p", "chi_square_p", "yates_p"]].astype(float)
        assert (ours < p).all()


def test_features_are_counted_from_a_table_of_tiles():
    tiles = pd.DataFrame(
        {
            "image": list("abcdef"),
            "group": ["high"] * 3 + ["low"] * 3,
            "stroma": ["yes", "yes", "no", "no", None, "no"],
            "atypia": [1, 0, 1, 0, 0, 0],
        }
    )
    found = count_features(tiles).set_index("feature")
    assert found.loc["stroma"].tolist() == [2, 3, 0, 2]
    assert found.loc["atypia"].tolist() == [2, 3, 0, 3]
    with pytest.raises(DataError, match="no feature column"):
        count_features(tiles[["image", "group"]])
    with pytest.raises(DataError, match="both high- and low-risk"):
        count_features(tiles.iloc[:3])


def test_a_feature_that_everybody_has_is_no_crash():
    found = compare_counts(PUBLISHED.iloc[:1].assign(high=200, low=200)).iloc[0]
    assert found["fisher_p"] == 1
    assert np.isnan(found["chi_square_p"])


def test_rubins_rules_are_those_of_mice():
    truth = frozen("rubin", "scalar").iloc[0]
    found = rubin([0.42, 0.55, 0.38, 0.61, 0.47], [0.040, 0.043, 0.038, 0.045, 0.041], 120 - 4)
    assert found.estimate == pytest.approx(truth["estimate"])
    assert found.se**2 == pytest.approx(truth["total"])
    assert found.degrees_of_freedom == pytest.approx(truth["df"])
    assert found.fraction_missing == pytest.approx(truth["fmi"])


@pytest.fixture
def holes(gbsg2) -> pd.DataFrame:
    """GBSG2 with a tenth of the grades and sizes gone."""
    rng = np.random.default_rng(2)
    frame = gbsg2.copy()
    frame["tgrade"] = frame["tgrade"].astype(object)
    frame.loc[rng.uniform(size=len(frame)) < 0.1, "tgrade"] = None
    frame.loc[rng.uniform(size=len(frame)) < 0.1, "tsize"] = np.nan
    return frame


VARIABLES = [
    Variable("score", "numeric"),
    Variable("tgrade", "categorical", ("I", "II", "III")),
    Variable("tsize", "numeric", per=10),
]


def test_imputation_fills_with_observed_levels_and_keeps_the_rest(holes):
    missing = count_missing(holes, VARIABLES).set_index("variable")["missing"]
    assert missing["score"] == 0 < missing["tgrade"]
    first, again = impute(holes, VARIABLES, 2, seed=1), impute(holes, VARIABLES, 2, seed=1)
    pd.testing.assert_frame_equal(first[1], again[1])
    assert first[0].notna().all().all()
    known = holes["tgrade"].notna().to_numpy()
    assert (first[0]["tgrade"].astype(str).to_numpy()[known] == holes["tgrade"][known]).all()
    assert set(first[0]["tgrade"]) <= {"I", "II", "III"}


def test_imputed_model_is_near_the_model_before_the_holes(holes, gbsg2):
    found = imputed_cox(holes, VARIABLES, 4, seed=1)
    whole = fit_cox(gbsg2, VARIABLES)
    assert found.patients == len(gbsg2)
    np.testing.assert_allclose(found.table["coefficient"], whole.table["coefficient"], atol=0.35)
    pooled = found.table[~found.table["reference"]]
    assert (pooled["fraction_missing"] > 0).all()
    assert pooled.loc[0, "se"] >= whole.table.loc[0, "se"] * 0.9


def test_table_one_counts_levels_quartiles_and_missing(holes):
    found = table_one(holes, VARIABLES, "group")
    everyone = found[found["group"] == "All patients"].set_index(["variable", "level"])
    known = holes["tgrade"].dropna()
    assert everyone.loc[("tgrade", "II"), "count"] == (known == "II").sum()
    assert everyone.loc[("tgrade", "II"), "share"] == pytest.approx((known == "II").mean())
    assert everyone.loc[("tgrade", "Missing"), "count"] == holes["tgrade"].isna().sum()
    assert everyone.loc[("tsize", ""), "median"] == holes["tsize"].median()
    parts = found[(found["variable"] == "tgrade") & (found["level"] == "II")].set_index("group")
    assert parts.loc[["high", "low"], "count"].sum() == parts.loc["All patients", "count"]


def test_events_per_variable_counts_coefficients(gbsg2):
    found = events_per_variable(gbsg2, VARIABLES)
    assert (found.events, found.coefficients, found.enough) == (299, 4, True)
    assert not events_per_variable(gbsg2.iloc[:40], VARIABLES).enough
