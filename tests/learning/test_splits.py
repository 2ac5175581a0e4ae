import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from qupath_hccmil.errors import DataError
from qupath_hccmil.learning.splits import split_patients, stratified_folds

LABELS = {f"p{i}": int(i < 15) for i in range(21)}


def test_patients_are_split_with_both_outcomes_on_both_sides():
    training, validation = split_patients(LABELS, 0.2, seed=0)
    assert not set(training) & set(validation)
    assert sorted(LABELS[p] for p in validation) == [0, 1, 1, 1]
    assert split_patients(LABELS, 0.2, seed=0) == (training, validation)


def test_a_large_share_leaves_both_outcomes_for_training():
    labels = {"a": 0, "b": 0, "c": 1, "d": 1, "e": 1}
    training, validation = split_patients(labels, 0.9, seed=0)
    assert {labels[p] for p in training} == {labels[p] for p in validation} == {0, 1}


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_patient_is_in_one_fold_and_outcomes_are_spread(folds):
    parts = stratified_folds(LABELS, folds, seed=3)
    assert sorted(p for part in parts for p in part) == sorted(LABELS)
    for label in (0, 1):
        counts = [sum(LABELS[p] == label for p in part) for part in parts]
        assert max(counts) - min(counts) <= 1
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert stratified_folds(LABELS, folds, seed=3) == parts
    assert stratified_folds(LABELS, folds, seed=4) != parts


@pytest.mark.parametrize("folds", [2, 3, 4, 5])
def test_folds_are_as_balanced_as_those_of_scikit_learn(folds):
    patients = np.array(sorted(LABELS))
    labels = np.array([LABELS[patient] for patient in patients])
    splitter = StratifiedKFold(folds, shuffle=True, random_state=0)
    theirs = [labels[held_out] for _, held_out in splitter.split(patients, labels)]
    ours = [[LABELS[patient] for patient in part] for part in stratified_folds(LABELS, folds, 0)]
    for label in (0, 1):
        expected = sorted(int(np.sum(part == label)) for part in theirs)
        assert sorted(part.count(label) for part in ours) == expected


def test_too_few_patients_for_the_folds_is_one_line():
    with pytest.raises(DataError, match=r"6 patients with a poor outcome are too few for 7 folds"):
        stratified_folds(LABELS, 7, seed=0)
    few = {"a": 0, "b": 0, "c": 1, "d": 1}
    with pytest.raises(DataError, match="2 patients with a poor outcome are too few for 2 folds"):
        stratified_folds(few, 2, seed=0)
    with pytest.raises(DataError, match="needs at least 2 folds"):
        stratified_folds(LABELS, 1, seed=0)
