"""Splits of patients: each outcome in the same proportion on every side, none on two.

scikit-learn's ``StratifiedKFold`` and ``train_test_split`` spread the outcomes in the same way, as
`tests/learning/test_splits.py` checks, but draw other patients for the same seed. With them, folds
of trainings that are under way would change, as would those of the models that ship, whose cards
have figures of held-out patients. They also only warn where an outcome has fewer patients than
there are folds, and leave no patient for certain to choose the epoch by.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qupath_hccmil.errors import DataError


def split_patients(
    labels: Mapping[str, int], share: float, seed: int
) -> tuple[list[str], list[str]]:
    """Split patients into training and validation, each outcome in the same proportion.

    Parameters
    ----------
    labels : mapping of str to int
    share : float
        Of the patients that validate, in (0, 1); at least one of each outcome.
    seed : int
    """
    rng = np.random.default_rng(seed)
    validation: set[str] = set()
    for label in (0, 1):
        patients = sorted(patient for patient, value in labels.items() if value == label)
        count = max(1, round(share * len(patients)))
        validation.update(rng.permutation(patients)[:count].tolist() if patients else [])
    return sorted(labels.keys() - validation), sorted(validation)


def stratified_folds(labels: Mapping[str, int], folds: int, seed: int) -> list[list[str]]:
    """Cut patients into folds, each outcome spread evenly over them.

    Parameters
    ----------
    labels : mapping of str to int
        Patient to 1 (good) or 0 (poor).
    folds : int
        At least 2.
    seed : int

    Returns
    -------
    list of list of str
        Sorted; every patient in exactly one.

    Raises
    ------
    DataError
        An outcome has too few patients: every fold must hold one, and two must be left outside
        it, one to train on and one to choose the epoch by.
    """
    if folds < 2:
        raise DataError(f"cross-validation needs 2 folds or more, not {folds}")
    rng = np.random.default_rng(seed)
    parts: list[list[str]] = [[] for _ in range(folds)]
    start = 0
    for label, name in ((0, "poor"), (1, "good")):
        patients = sorted(patient for patient, value in labels.items() if value == label)
        largest = -(-len(patients) // folds)
        if len(patients) < folds or len(patients) - largest < 2:
            raise DataError(
                f"{len(patients)} patients of {name} outcome are too few for {folds} folds; "
                "use fewer folds or more patients"
            )
        # The second outcome goes on where the first ended, so that no fold gets both surpluses.
        for place, patient in enumerate(rng.permutation(patients).tolist(), start):
            parts[place % folds].append(patient)
        start += len(patients)
    return [sorted(part) for part in parts]
