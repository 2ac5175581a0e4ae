"""Scores out of fold: never compared between folds, in any number of the report or of R."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.concordance import concordance
from qupath_hccmil.survival.analysis import analyse
from qupath_hccmil.survival.analysis_cohort import GROUP, SCORE, read_cohort
from qupath_hccmil.survival.analysis_settings import CohortRequest, Settings
from qupath_hccmil.survival.output_folder import write_analysis
from qupath_hccmil.survival.report.build import build_report
from qupath_hccmil.survival.statistics.survival_outcome import STRATUM
from qupath_hccmil.survival.statistics.variables import VariableRequest
from tests.survival.conftest import made_cohort
from tests.survival.test_r_script import COMPETING, reproduced, skip_if_not_all_of_it_was_done

THRESHOLDS = {1: 0.3, 2: 0.45, 3: 0.5, 4: 0.6}
SETTINGS = Settings(
    time="rfs_days", event="rfs_event", bootstrap=0, horizons=(2.0,), variables=(),
    time_zero="resection",
)  # fmt: skip


def cohort_tables(folder, patients=140, seed=3):
    """A made cohort as clinical table, with scores of four models on different levels."""
    frame = made_cohort(patients, seed)
    rng = np.random.default_rng(1)
    fold = rng.permutation(np.arange(patients) % 4) + 1
    logit = np.log(frame["risk_score"] / (1 - frame["risk_score"]))
    # The order within a fold is that of the score; level and spread are the model's own.
    r = 1 / (1 + np.exp(-(np.array([-1, 0, 0.3, 2])[fold - 1] + logit * (0.3 + 0.3 * fold))))
    scores = pd.DataFrame({
        "patient": frame["patient"], "fold": fold, "tiles": 100, "logit": logit, "r": r,
        "threshold": [THRESHOLDS[one] for one in fold], "rule": "pool: the head over the tiles",
    })  # fmt: skip
    frame["hospital"] = rng.choice(["A", "B", "C"], patients)
    return scores, frame.drop(columns="risk_score")


def found(folder, scores, clinical, **change):
    folder.mkdir(exist_ok=True)
    scores.to_csv(folder / "predictions.csv", index=False)
    clinical.to_csv(folder / "clinical.csv", index=False)
    settings = replace(SETTINGS, **change)
    return read_cohort(folder / "predictions.csv", folder / "clinical.csv", settings), settings


def analysed(folder, scores, clinical, **change):
    return analyse(*found(folder, scores, clinical, **change))


@pytest.fixture(scope="module")
def made():
    return cohort_tables(None)


@pytest.fixture(scope="module")
def analysis(made, tmp_path_factory):
    stage = (VariableRequest("stage"), VariableRequest("age", per=10))
    folder = tmp_path_factory.mktemp("in")
    return analysed(folder, *made, variables=stage, bootstrap=40, centre="hospital", imputations=2)


# -- the cohort -----------------------------------------------------------------------------------


def test_groups_are_cut_at_the_threshold_of_the_own_fold(analysis, made):
    scores = made[0].set_index("patient")
    high = analysis.cohort.frame[GROUP].astype(str) == "High risk"
    assert (high == (scores["r"] > scores["threshold"])).all()
    assert high.any()
    assert (~high).any()
    told = "the threshold of each patient's own fold, 0.3 to 0.6"
    assert analysis.cohort.groups.description == told


def test_a_score_at_the_threshold_is_low(tmp_path, made):
    scores = made[0].assign(r=made[0]["threshold"].where(made[0].index % 2 == 0, made[0]["r"]))
    cohort, _ = found(tmp_path, scores, made[1])
    at = scores.loc[scores["r"] == scores["threshold"], "patient"]
    assert (cohort.frame.loc[at, GROUP].astype(str) == "Low risk").all()


def test_the_score_is_standardised_within_its_fold(analysis, made):
    frame = analysis.cohort.frame
    by_fold = frame.groupby(STRATUM)[SCORE]
    np.testing.assert_allclose(by_fold.mean(), 0, atol=1e-12)
    np.testing.assert_allclose(by_fold.std(ddof=1), 1)
    assert (frame[STRATUM].astype(int).to_numpy() == made[0]["fold"].to_numpy()).all()
    row = analysis.effects.univariable.set_index("label").loc["Risk score"]
    assert row["step"] == "per SD within its fold"


def test_the_level_and_the_spread_of_a_models_scores_change_nothing(analysis, made, tmp_path):
    """The same analysis from risks that each fold's model gives on another scale."""
    scores = made[0].copy()
    squeezed = scores["fold"] == 3
    for name in ("r", "threshold"):
        scores.loc[squeezed, name] = 0.7 + scores.loc[squeezed, name] / 10
    settings = {key: getattr(analysis.settings, key) for key in
                ("variables", "bootstrap", "centre", "imputations")}  # fmt: skip
    other = analysed(tmp_path, scores, made[1], **settings)
    for table in (
        lambda one: one.effects.univariable[["hazard_ratio", "lower", "p"]],
        lambda one: one.effects.with_score.table[["hazard_ratio", "p"]],
        lambda one: one.effects.proportional["p"],
        lambda one: one.performance.within_folds.table[["estimate", "lower", "upper"]],
        lambda one: one.performance.within_folds.curve["auc"],
        lambda one: one.sensitivity.effects["p"],
        lambda one: one.sensitivity.curve["hazard_ratio"],
        lambda one: one.sensitivity.influence["change"],
        lambda one: one.groups.subgroups.table["coefficient"],
        lambda one: one.groups.centres.models["coefficient"],
        lambda one: one.survival.groups["survival"],
    ):
        np.testing.assert_allclose(table(other), table(analysis), atol=1e-6)


def test_concordance_counts_pairs_of_one_fold_only(analysis):
    frame, within = analysis.cohort.frame, analysis.performance.within_folds
    right = pairs = 0.0
    folds = analysis.cohort.folds.table.set_index("fold")
    for fold, part in frame.groupby(STRATUM):
        time, event = part["time"].to_numpy(float), part["event"].to_numpy(bool)
        one = concordance(time, event, part[SCORE].to_numpy())
        assert within.by_fold[fold] == pytest.approx(one)
        right, pairs = right + one * folds.loc[fold, "pairs"], pairs + folds.loc[fold, "pairs"]
    row = within.table.iloc[0]
    assert row["estimate"] == pytest.approx(right / pairs)
    assert row["lower"] < row["estimate"] < row["upper"]
    assert analysis.performance.discrimination is None
    assert analysis.performance.auc is None
    assert analysis.performance.baseline is None


# -- what is written ------------------------------------------------------------------------------


def test_r_computes_every_number_again(analysis, tmp_path):
    folder = write_analysis(analysis, tmp_path / "out").parent
    pairs, told = reproduced(folder)
    skip_if_not_all_of_it_was_done(told)
    assert set(pairs["table"]) >= {
        "folds", "within_folds", "within_folds_differences", "cox_univariable", "cox_imputed",
        "cox_multivariable_score", "cox_multivariable_group", "proportional_hazards", "influence",
        "sensitivity", "nonlinearity", "score_curve", "subgroups", "interactions", "centre_models",
        "effect_by_centre", "leave_one_centre_out", "numbers_in_text",
    }  # fmt: skip
    assert not (folder / "baseline.json").exists()
    patients = pd.read_csv(folder / "analysis.csv")
    assert list(patients.columns)[4:7] == ["risk_group", "model_fold", "score_as_given"]
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert [row["patients"] for row in results["cohort"]["folds"]] == [35, 35, 35, 35]
    assert results["performance"]["within_folds"]["by_fold"].keys() == {"1", "2", "3", "4"}


@pytest.mark.slow
def test_r_agrees_where_a_level_has_no_events_and_where_events_compete(made, tmp_path):
    scores, clinical = made
    quiet = (clinical["rfs_event"] == 0) & (clinical.index % 4 == 0)
    other = (clinical["rfs_event"] == 0) & (clinical.index % 4 == 1)
    clinical = clinical.assign(
        rare=np.where(quiet, "yes", "no"), rfs_event=np.where(other, 2, clinical["rfs_event"])
    )
    one = analysed(
        tmp_path / "in", scores, clinical, variables=(VariableRequest("rare"),), cut="tertiles",
        **COMPETING,
    )  # fmt: skip
    assert one.effects.with_score.method == "Firth"
    assert one.competing.hazards is not None
    assert one.competing.gray is not None
    assert one.competing.fine_gray is None
    assert [part for part, _ in one.problems if "Fine–Gray" in part]
    pairs, _ = reproduced(write_analysis(one, tmp_path / "out").parent)
    assert {"cause_specific", "gray_test", "cox_multivariable_score"} <= set(pairs["table"])


@pytest.mark.slow
def test_r_agrees_with_late_entry(made, tmp_path):
    scores, clinical = made
    late = np.where(clinical.index % 2 == 0, clinical["rfs_days"] // 3, 0)
    one = analysed(tmp_path / "in", scores, clinical.assign(entry_days=late), entry="entry_days")
    assert one.performance.within_folds is None
    pairs, _ = reproduced(write_analysis(one, tmp_path / "out").parent)
    assert {"folds", "cox_univariable", "proportional_hazards"} <= set(pairs["table"])


def test_the_report_says_what_the_scores_are(analysis):
    report = build_report(analysis)
    text = " ".join(
        block.text for section in report.sections for block in section.blocks
        if hasattr(block, "text")
    )  # fmt: skip
    assert "The scores are out of fold: each patient was scored by the model of the fold" in text
    assert "every model is stratified by fold" in text
    assert "not of one model" in text
    assert "C-index within folds" in {fact.label for fact in report.facts}
    sections = [section.title for section in report.sections]
    assert "Scores out of fold" in sections
    assert "Discrimination within folds" in sections
    assert not {"AUC over time", "Discrimination"} & set(sections)
    assert any(
        part.startswith("Predicted risks") and "train mil --judge" in reason
        for part, reason in analysis.problems
    )
    assert any(note.startswith("The scores are out of fold (4 folds)") for note in report.warnings)


# -- folds that tell little -----------------------------------------------------------------------


def test_folds_that_add_nothing_are_named_and_nobody_is_lost(made, tmp_path):
    scores, clinical = made[0].copy(), made[1].copy()
    scores.loc[0, ["fold", "threshold"]] = 5, 0.5
    scores.loc[1:6, ["fold", "threshold"]] = 6, 0.5
    clinical.loc[1:6, "rfs_event"] = 0
    scores.loc[7:8, ["fold", "threshold"]] = 7, 0.5
    clinical.loc[7:8, "rfs_event"] = 1, 0
    clinical.loc[7:8, "rfs_days"] = 900, 100
    scores.loc[9:20, ["fold", "threshold", "r"]] = 8, 0.5, 0.4
    scores.loc[10, "r"] += 1e-9
    one = analysed(tmp_path, scores, clinical)
    frame, notes = one.cohort.frame, "\n".join(one.cohort.notes)
    assert len(frame) == len(scores)
    assert "Fold 5 has one patient, who can be compared with nobody, so it adds nothing" in notes
    assert "Fold 6 has no event, so it adds nothing" in notes
    assert "Fold 7 has no two patients whose order is known, so it adds nothing" in notes
    assert "Fold 8 has the same score for all its patients, so it adds nothing" in notes
    assert (frame.loc[frame[STRATUM].isin(["5", "8"]), SCORE] == 0).all()
    within = one.performance.within_folds
    assert np.isnan([within.by_fold[fold] for fold in "567"]).all()
    assert within.by_fold["8"] == 0.5
    assert one.cohort.folds.table["fold"].tolist() == list("12345678")
    assert int(one.survival.horizons["at_risk"].iloc[0]) > 0


def test_one_fold_is_no_cross_validation(made, tmp_path):
    cohort, _ = found(tmp_path, made[0].assign(fold=1, threshold=0.5), made[1])
    assert any(note.startswith("There is one fold only") for note in cohort.notes)


def test_without_a_pair_there_is_no_concordance_and_the_rest_is_done(tmp_path):
    scores, clinical = cohort_tables(None, patients=12)
    scores["fold"] = [f"f{k}" for k in np.arange(12) // 2]
    scores["threshold"] = 0.5
    clinical["rfs_event"] = np.arange(12) % 2
    clinical["rfs_days"] = 300 + 10 * (np.arange(12) % 2)  # the event is the later one
    one = analysed(tmp_path, scores, clinical, horizons=(0.5,))
    told = "in no fold are there two patients whose order is known"
    assert dict(one.problems)["Concordance within folds"] == told
    assert "Scores out of fold" in [section.title for section in build_report(one).sections]
    assert one.survival.overall is not None


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"threshold": 0.5}, "leave out --threshold"),
        ({"cut": "0.5"}, "one threshold cannot cut the scores of several models"),
        ({"baseline": "baseline.json"}, "--baseline, which was fitted on the scores of one model"),
        ({"score": "logit"}, "patient 'P.*' has the score .*, but the thresholds of the folds are"),
    ],
)
def test_settings_for_one_model_are_refused(made, tmp_path, change, told):
    with pytest.raises(DataError, match=told):
        found(tmp_path, *made, **change)


def test_a_table_without_thresholds_needs_another_cut(made, tmp_path):
    old = made[0].drop(columns="threshold")
    with pytest.raises(DataError, match=r"no column 'threshold'.*--folds' again.*--cut median"):
        found(tmp_path, old, made[1])
    cohort, _ = found(tmp_path, old, made[1], cut="median")
    assert "standardised within its fold" in cohort.groups.description
    assert cohort.folds.table["threshold"].isna().all()
    counts = cohort.frame[GROUP].value_counts()
    assert abs(counts.iloc[0] - counts.iloc[1]) <= 1


def test_models_without_any_difference_are_refused(made, tmp_path):
    scores = made[0].assign(r=made[0]["fold"] / 10)
    with pytest.raises(DataError, match="in each fold, all patients have one score"):
        found(tmp_path, scores, made[1])


def test_they_are_no_cohort_of_an_external_validation(made, tmp_path):
    cohort, settings = found(tmp_path, *made)
    other = made_cohort(60, seed=8)
    other[["patient", "risk_score"]].to_csv(tmp_path / "s.csv", index=False)
    other.drop(columns="risk_score").to_csv(tmp_path / "c.csv", index=False)
    asked = CohortRequest("Other", str(tmp_path / "s.csv"), str(tmp_path / "c.csv"))
    one = analyse(cohort, replace(settings, cohorts=(asked,)))
    assert one.external is None
    assert dict(one.problems)["External validation"].startswith("is not done with scores out of")
    asked = CohortRequest(
        "Other", *(str(tmp_path / f) for f in ("predictions.csv", "clinical.csv"))
    )
    plain = read_cohort(tmp_path / "s.csv", tmp_path / "c.csv", settings)
    with pytest.raises(DataError, match=r"cohort 'Other': .*out of fold, each fold's by another"):
        analyse(plain, replace(settings, cohorts=(asked,)))
