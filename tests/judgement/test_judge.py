"""A whole judgement with a small learner: who saw whom, resuming, comparisons, permutation."""

import json
from dataclasses import replace

import numpy as np
import pytest

from qupath_hccmil.errors import DataError
from qupath_hccmil.judgement.baselines import (
    CLINICAL,
    COLOUR,
    COMBINED,
    SCORE,
    TILE_COUNT,
    cox_models,
)
from qupath_hccmil.judgement.judge import PERMUTED, judge
from qupath_hccmil.judgement.nested_cross_validation import NestedSettings
from qupath_hccmil.judgement.permuted_outcomes import permuted_within
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, TIME
from qupath_hccmil.survival.statistics.within_folds import C_INDEX
from tests.judgement.small_learner import small_cohort

QUICK = NestedSettings(folds=3, inner=2, bootstrap=100)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    learner, cohort = small_cohort()
    out = tmp_path_factory.mktemp("judged")
    return learner, cohort, judge(learner, cohort, out, QUICK), out


@pytest.mark.parametrize("by_centre", [False, True])
def test_the_model_that_judges_a_patient_never_saw_that_patient(tmp_path, by_centre):
    learner, cohort = small_cohort(90)
    learner = replace(learner, candidates=("half", "all"))
    found = judge(
        learner, cohort, tmp_path, replace(QUICK, by_centre=by_centre, repeats=2, permutations=1)
    )
    centre = cohort.frame["centre__"]
    outer = [one for folds in found.repeats for one in folds]
    judging = [
        (training, choosing, patients) for training, choosing, patients in learner.predicted
        if set(patients) != set(choosing)
    ]  # fmt: skip
    assert found.chosen in learner.candidates
    assert len(judging) == len(outer) + 3  # one for each outer fold, those of permutation included
    for training, choosing, patients in judging:
        assert not {*training, *choosing} & set(patients)
        if by_centre:
            assert not set(centre[[*training, *choosing]]) & set(centre[list(patients)])
    for one in outer:
        assert sum(set(patients) == set(one.logits) for *_, patients in judging) >= 1
        assert not set(one.logits) & set(one.inner_logits)
    for training, choosing, _, _ in learner.fits[: len(outer) * 2 * 2]:  # then permuted outcomes
        sides = [one for one in outer if {*training, *choosing} == set(one.inner_logits)]
        assert sides, "a training has patients of no outer fold"
        assert not set(training) & set(choosing)


def test_the_better_candidate_is_chosen_in_inner_splits(tmp_path):
    learner, cohort = small_cohort()
    learner = replace(
        learner,
        candidates=("half", "all"),
        features={p: np.r_[0 * x[:2], x[0], x[3]] for p, x in learner.features.items()},
    )
    found = judge(learner, cohort, tmp_path, QUICK)
    assert set(found.by_fold["candidate"]) == {"all"}
    assert found.chosen == "all"
    for one in found.repeats[0]:
        assert one.concordances["all"] > one.concordances["half"]


def test_the_planted_score_is_found_and_the_comparisons_are_there(judged):
    _, cohort, found, _ = judged
    value, low, high = found.concordance()
    planted = small_cohort()[0].features
    frame = cohort.frame
    from qupath_hccmil.method.concordance import concordance

    truth = concordance(
        frame[TIME].to_numpy(), frame[EVENT].to_numpy(bool),
        np.array([planted[p][0] for p in frame.index]),
    )  # fmt: skip
    assert low < truth < high
    assert abs(value - truth) < 0.05
    names = list(found.compared.table["marker"].unique())
    assert names == [SCORE, CLINICAL, COMBINED, TILE_COUNT, COLOUR]
    for name in (CLINICAL, TILE_COUNT, COLOUR):
        assert found.concordance(name)[0] < value
    gap = found.added.set_index("statistic").loc[C_INDEX]
    assert gap["difference"] == pytest.approx(
        found.concordance(COMBINED)[0] - found.concordance(CLINICAL)[0]
    )
    assert gap["lower"] > 0
    null, low, high = found.concordance(PERMUTED)
    assert low < 0.5 < high
    assert abs(null - 0.5) < abs(value - 0.5)


def test_everything_follows_from_the_seed(judged, tmp_path):
    learner, cohort, found, _ = judged
    again = judge(learner, cohort, tmp_path, QUICK)
    assert again.predictions.equals(found.predictions)
    assert again.compared.table.equals(found.compared.table)
    assert again.permuted.equals(found.permuted)
    other = judge(learner, cohort, tmp_path / "other", replace(QUICK, seed=1))
    assert not other.predictions["logit"].equals(found.predictions["logit"])


def test_a_killed_judgement_goes_on_where_it_was(judged, tmp_path):
    _, cohort, found, _ = judged
    learner, _ = small_cohort()
    learner.stop_after = 5  # in the third of three outer folds, of two inner splits each
    with pytest.raises(KeyboardInterrupt):
        judge(learner, cohort, tmp_path, QUICK)
    kept = sorted(path.parent.name for path in tmp_path.rglob("fold.json"))
    assert kept == ["fold-1", "fold-2"]
    assert (tmp_path / "folds/repeat-1/fold-3/trainings/all-1/checkpoint").exists()
    learner.stop_after = None
    learner.fits.clear()
    again = judge(learner, cohort, tmp_path, QUICK)
    assert len(learner.fits) == 2 * (1 + 3)  # the third fold, and three of permuted outcomes
    assert again.predictions.equals(found.predictions)
    assert not list(tmp_path.rglob("trainings"))
    learner.fits.clear()
    judge(learner, cohort, tmp_path, QUICK)
    assert not learner.fits


@pytest.mark.parametrize("change", ["fingerprint", "outcome", "seed", "damaged"])
def test_a_kept_fold_of_other_data_or_settings_is_not_used(judged, tmp_path, change):
    import shutil

    _, cohort, _, out = judged
    shutil.copytree(out, tmp_path / "out")
    learner, _ = small_cohort()
    settings = QUICK
    if change == "fingerprint":
        learner = replace(learner, fingerprint="another")
    elif change == "outcome":
        frame = cohort.frame.copy()
        frame.loc[frame.index[0], TIME] += 0.5
        cohort = replace(cohort, frame=frame)
    elif change == "seed":
        settings = replace(QUICK, seed=9)
    else:
        for path in (tmp_path / "out").rglob("fold.json"):
            path.write_text(path.read_text()[:-20])
    judge(learner, cohort, tmp_path / "out", settings)
    assert len(learner.fits) == 12
    kept = next((tmp_path / "out").rglob("fold.json"))
    assert json.loads(kept.read_text())["key"]


def test_outcomes_are_permuted_within_centres():
    centre = {f"p{i:02d}": "AB"[i % 3 == 0] for i in range(30)}
    donors = permuted_within(centre, 3)
    assert donors != {p: p for p in centre}
    assert sorted(donors.values()) == sorted(centre)
    assert all(centre[patient] == centre[donor] for patient, donor in donors.items())
    assert permuted_within(centre, 3) == donors
    assert permuted_within(centre, 4) != donors


def test_what_a_learner_gets_wrong_is_one_line(judged, tmp_path):
    learner, cohort, _, _ = judged
    features = {**learner.features, "P007": learner.features["P007"] * np.nan}
    with pytest.raises(DataError, match="patient 'P007': the model gives no finite number"):
        judge(replace(learner, features=features, epochs=0), cohort, tmp_path, QUICK)
    with pytest.raises(DataError, match="no candidate"):
        judge(replace(learner, candidates=()), cohort, tmp_path, QUICK)
    with pytest.raises(DataError, match="inner folds: 1 is less than 2"):
        judge(learner, cohort, tmp_path, replace(QUICK, inner=1))
    with pytest.raises(DataError, match="bootstrap samples: 1 is less than 20"):
        judge(learner, cohort, tmp_path, replace(QUICK, bootstrap=1))


def test_a_collapsed_model_has_no_c_index_by_rounding(tmp_path):
    learner, cohort = small_cohort(90)
    tiny = {patient: 1e-9 * x for patient, x in learner.features.items()}
    found = judge(replace(learner, features=tiny, epochs=1), cohort, tmp_path, QUICK)
    assert found.concordance()[0] == 0.5
    assert found.by_fold["c_index"].tolist() == [0.5] * 3
    assert found.by_fold["inner_c_index"].tolist() == [0.5] * 3


@pytest.mark.parametrize("kind", ["number", "category"])
def test_a_variable_that_one_centre_alone_knows_is_left_out_without_it(tmp_path, kind):
    learner, cohort = small_cohort(120)
    elsewhere = cohort.frame["centre__"] != "Bonn"
    name = {"number": "age", "category": "stage"}[kind]
    frame = cohort.frame.copy()
    frame.loc[elsewhere, name] = None
    found = judge(learner, replace(cohort, frame=frame), tmp_path, replace(QUICK, by_centre=True))
    told = [reason for part, reason in found.problems if "fold Bonn" in part]
    assert told == [f"without {name}, which no patient of the other folds has"] * 2
    # What the others do know still predicts.
    kept = [one for one in cohort.variables if one.name != name]
    alone = cox_models(replace(cohort, variables=tuple(kept)), found.repeats).markers[CLINICAL]
    inside = (~elsewhere).to_numpy()
    both = cox_models(replace(cohort, frame=frame), found.repeats).markers[CLINICAL]
    assert (both[0, inside] == alone[0, inside]).all()


def test_too_few_labels_are_said_before_the_first_training(tmp_path):
    learner, cohort = small_cohort(90)
    few = dict(zip(sorted(learner.outcomes), [0, 0, 0, 0, 1, 1], strict=False))
    with pytest.raises(DataError, match=r"with a good .* are too few for 2 inner folds"):
        judge(replace(learner, labels=few), cohort, tmp_path, QUICK)
    assert not learner.fits


def test_judgement_knows_no_torch():
    import subprocess
    import sys

    code = (
        "import sys, qupath_hccmil.judgement.judge, qupath_hccmil.judgement.output_folder; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
