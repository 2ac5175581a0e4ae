"""Agreement and comparisons against R (``reference/reference.R``) and published examples."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from qupath_hccmil.method.bootstrap import unit_counts
from qupath_hccmil.tiles_of_interest.agreement import agreement, consensus, kappa_of_samples
from qupath_hccmil.tiles_of_interest.feature_comparison import (
    FLIPS,
    compare_features,
    sign_flip_p,
)

FOLDER = Path(__file__).with_name("reference")
RATERS = ("a", "b", "c")
FEATURES = ("stroma", "atypia", "immune")
# statsmodels and R do the same arithmetic
EXACT = 1e-12
# R's ends of an odds ratio come from a root finder that stops at 1e-4
ROOT = 1e-3
# the ends of a percentile interval of 4,000 samples, and R's of 20,000, move so much by chance;
# with 8 tiles in each of 10 slides an end may jump by a step of one tile
MONTE_CARLO = 0.04
# of the logarithm of an odds ratio
MONTE_CARLO_LOG = 0.15


@pytest.fixture(scope="module")
def ratings() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "ratings.csv")


@pytest.fixture(scope="module")
def r() -> dict[tuple[str, str], float]:
    table = pd.read_csv(FOLDER / "reference.csv")
    return {(row["item"], row["key"]): row["value"] for row in table.to_dict("records")}


def kappa(table: np.ndarray) -> float:
    """Kappa of answers (tile, rater)."""
    return kappa_of_samples(table, np.zeros(len(table), np.int64))(np.ones(1, np.int64))


def long(ratings: pd.DataFrame) -> pd.DataFrame:
    """A row a review, as the reader gives them."""
    parts = [
        pd.DataFrame({
            "tile": ratings["tile"],
            "unit": ratings["unit"],
            "reviewer": rater,
            "verdict": ratings[rater].astype(object),
            "stroma": ratings[f"stroma_{rater}"].astype(bool).astype(object),
        })
        for rater in RATERS
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def test_kappas_are_those_of_r(ratings, r):
    found = agreement(long(ratings), ["verdict", "stroma"], repeats=0)
    assert len(found) == 8
    for row in found.to_dict("records"):
        item = "cohen" if row["statistic"] == "Cohen's kappa" else "fleiss"
        key = f"{row['question']} {row['reviewers']}" if item == "cohen" else row["question"]
        assert row["kappa"] == pytest.approx(r[item, key], rel=EXACT)
        assert (row["compared_tiles"], row["units"]) == (80, 10)
        assert np.isnan(row["lower"])
        assert row["interval"] == "not asked for"


@pytest.mark.parametrize("question", ["verdict", "stroma"])
def test_intervals_over_slides_are_those_of_r(ratings, r, question):
    found = agreement(long(ratings), [question], repeats=4000, seed=1)
    rows = found.set_index("reviewers")
    for item, reviewers in (("cohen-interval", "a, b"), ("fleiss-interval", "a, b, c")):
        for end in ("lower", "upper"):
            expected = r[item, f"{question} {end}"]
            assert rows.loc[reviewers, end] == pytest.approx(expected, abs=MONTE_CARLO)
    assert set(found["interval"]) == {"bootstrap over 10 slides, 4000 samples"}


def test_an_interval_that_takes_tiles_for_independent_is_narrower(ratings):
    alike = long(ratings[ratings["unit"] <= 6])
    alike = pd.concat([alike.assign(tile=alike["tile"] + 1000 * k) for k in range(4)])
    by_slide = agreement(alike, ["stroma"], repeats=500).iloc[0]
    by_tile = agreement(alike.assign(unit=alike["tile"]), ["stroma"], repeats=500).iloc[0]
    assert by_tile["kappa"] == by_slide["kappa"]
    assert by_tile["upper"] - by_tile["lower"] < by_slide["upper"] - by_slide["lower"]


def test_the_kappa_of_fleiss_textbook_example():
    """Ten subjects, 14 raters, 5 categories: kappa 0.210 (the example after Fleiss 1971)."""
    counts = np.array([
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ])  # fmt: skip
    table = np.array([np.repeat(np.arange(5), row) for row in counts])
    assert kappa(table) == pytest.approx(0.210, abs=5e-4)


def test_the_kappa_of_cohens_textbook_example():
    """Fifty grants: 20 both yes, 15 both no, 5 and 10 apart: kappa 0.4."""
    table = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [20, 5, 10, 15], axis=0)
    assert kappa(table) == pytest.approx(0.4, rel=EXACT)


def test_tiles_that_one_reviewer_skipped_are_left_out():
    answers = pd.DataFrame({
        "tile": [1, 2, 3, 1, 2, 3],
        "unit": [1, 1, 2, 1, 1, 2],
        "reviewer": ["A"] * 3 + ["B"] * 3,
        "verdict": ["agree", "artefact", "agree", "agree", "agree", None],
    })  # fmt: skip
    (row,) = agreement(answers, ["verdict"], repeats=50).to_dict("records")
    assert (row["compared_tiles"], row["observed_agreement"]) == (2, 0.5)
    assert row["interval"] == "none: all tiles are of one of the slides"


def test_no_kappa_where_all_answers_are_one():
    answers = pd.DataFrame({
        "tile": [1, 2, 1, 2], "unit": [1, 2, 1, 2], "reviewer": list("AABB"),
        "verdict": ["agree"] * 4,
    })  # fmt: skip
    (row,) = agreement(answers, ["verdict"], repeats=50).to_dict("records")
    assert row["observed_agreement"] == 1
    assert np.isnan([row["kappa"], row["lower"], row["upper"]]).all()


def test_one_reviewer_is_compared_with_nobody():
    answers = pd.DataFrame({"tile": [1], "unit": [1], "reviewer": ["A"], "verdict": ["agree"]})
    assert agreement(answers, ["verdict"]).empty


@pytest.mark.parametrize(
    ("answers", "expected"),
    [([], None), ([None], None), ([True, False], None), ([True, None], True),
     ([False, False, True], False), (["agree", "artefact", "artefact"], "artefact")],
)  # fmt: skip
def test_most_reviewers_decide(answers, expected):
    assert consensus(answers) is expected or consensus(answers) == expected


def compared(ratings: pd.DataFrame, **change) -> pd.DataFrame:
    tiles = ratings[["unit"]].assign(group=np.where(ratings["high"] == 1, "high", "low"))
    for name in FEATURES:
        tiles[name] = ratings[name].astype(bool).astype(object)
    return compare_features(tiles, FEATURES, **change).set_index("feature")


def test_table_3_is_that_of_r(ratings, r):
    found = compared(ratings, repeats=0)
    for feature, row in found.iterrows():
        assert row["fisher_p"] == pytest.approx(r["fisher", feature], rel=1e-9)
        assert row["fisher_p_holm"] == pytest.approx(r["fisher-holm", feature], rel=1e-9)
        for name, item in (
            ("odds_ratio", "odds"),
            ("lower", "odds-lower"),
            ("upper", "odds-upper"),
        ):
            assert row[name] == pytest.approx(r[item, feature], rel=ROOT)
        assert row["units_p"] == pytest.approx(r["flip", feature], rel=EXACT)
        assert row["units_p_holm"] == pytest.approx(r["flip-holm", feature], rel=EXACT)
        assert row["units"] == 10
        assert np.isnan(row["units_lower"])


def test_odds_ratios_over_slides_have_the_interval_of_r(ratings, r):
    found = compared(ratings, repeats=4000, seed=3)
    for feature, row in found.iterrows():
        for end in ("lower", "upper"):
            expected = r["log-odds-units", f"{feature} {end}"]
            assert np.log(row[f"units_{end}"]) == pytest.approx(expected, abs=MONTE_CARLO_LOG)


def test_random_flips_are_near_all_flips(ratings):
    high, y = ratings["high"].to_numpy(float), ratings["stroma"].to_numpy(float)
    units = ratings["unit"].to_numpy() - 1
    doubled = np.concatenate([units, units + 10])
    assert FLIPS < 2**20
    found = sign_flip_p(np.tile(high, 2), np.tile(y, 2), doubled, seed=5)
    score = np.bincount(units, weights=(high - high.mean()) * (y - y.mean()))
    draws = np.random.default_rng(0).choice([-1, 1], size=(200_000, 20)) @ np.tile(score, 2)
    expected = np.mean(np.abs(draws) >= abs(2 * score.sum()) - 1e-12)
    assert found == pytest.approx(expected, abs=0.01)


def test_tiles_of_one_slide_prove_nothing():
    high, has = np.repeat([1.0, 0.0], 100), np.repeat([1.0, 0.0], 100)
    assert sign_flip_p(high, has, np.zeros(200, np.int64)) == 1
    assert sign_flip_p(high, has, np.repeat([0, 1], 100)) == 0.5  # 2^(1 − k)
    assert sign_flip_p(high, np.ones(200), np.arange(200) % 10) == 1


def test_the_test_by_slide_keeps_its_level_where_fishers_does_not():
    """Features that only follow the slide, on tiles whose side only follows the slide."""
    generator = np.random.default_rng(11)
    slides, each, runs = 8, 20, 100
    units = np.repeat(np.arange(slides), each)
    wrong = {"by tile": 0, "by slide": 0}
    for _ in range(runs):
        high = np.repeat(generator.permutation(slides) % 2, each).astype(float)
        share = np.repeat(generator.choice([0.1, 0.8], slides), each)
        has = (generator.random(len(units)) < share).astype(float)
        cells = [np.sum((high == a) & (has == b)) for a in (1, 0) for b in (1, 0)]
        wrong["by tile"] += stats.fisher_exact(np.reshape(cells, (2, 2))).pvalue < 0.05
        wrong["by slide"] += sign_flip_p(high, has, units) < 0.05
    assert wrong["by tile"] / runs > 0.4
    assert wrong["by slide"] / runs < 0.1


def test_a_feature_judged_on_one_side_is_left_out():
    tiles = pd.DataFrame({
        "unit": [1, 2], "group": ["high", "low"],
        "one side": np.array([True, None], object), "both": np.array([True, False], object),
    })  # fmt: skip
    assert compare_features(tiles, ["one side", "both"])["feature"].tolist() == ["both"]
    assert compare_features(tiles, ["one side"]).empty


def test_whole_units_are_drawn():
    counts = unit_counts(7, 300, seed=1)
    assert counts.shape == (300, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert counts.mean() == pytest.approx(1)
