"""Splits of patients, with each outcome in the same proportion on every side.

scikit-learn's ``StratifiedKFold`` and ``train_test_split`` spread the outcomes in the same way, as
`tests/learning/test_splits.py` checks, but draw other patients for the same seed. With them, the
folds of trainings in progress would change, and those of the models that ship, whose cards have
figures for held-out patients. They also only warn if an outcome has fewer patients than there are
folds, and do not guarantee a patient for choosing the epoch.
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
        Share of patients for validation, in (0, 1), with at least one patient of each outcome; at
        least one is left for training too, if an outcome has two.
    seed : int
    """
    rng = np.random.default_rng(seed)
    validation: set[str] = set()
    for label in (0, 1):
        patients = sorted(patient for patient, value in labels.items() if value == label)
        count = max(1, min(round(share * len(patients)), len(patients) - 1))
        validation.update(rng.permutation(patients)[:count].tolist() if patients else [])
    return sorted(labels.keys() - validation), sorted(validation)


def stratified_folds(
    labels: Mapping[str, int],
    folds: int,
    seed: int,
    names: tuple[str, str] = ("a poor outcome", "a good outcome"),
) -> list[list[str]]:
    """Divide patients into folds, with each outcome spread evenly over them.

    Parameters
    ----------
    labels : mapping of str to int
        For each patient 1 (good) or 0 (poor).
    folds : int
        Number of folds, at least 2.
    seed : int
    names : tuple of str
        What patients with 0 and with 1 have, for messages.

    Returns
    -------
    list of list of str
        Patients of each fold, sorted; every patient is in exactly one fold.

    Raises
    ------
    DataError
        An outcome has too few patients: every fold needs one, and at least two must be outside of
        it, one to train on and one to choose the epoch with.
    """
    if folds < 2:
        raise DataError(f"cross-validation needs at least 2 folds, not {folds}")
    rng = np.random.default_rng(seed)
    parts: list[list[str]] = [[] for _ in range(folds)]
    start = 0
    for label, name in enumerate(names):
        patients = sorted(patient for patient, value in labels.items() if value == label)
        largest = -(-len(patients) // folds)
        if len(patients) < folds or len(patients) - largest < 2:
            raise DataError(
                f"{len(patients)} patients with {name} are too few for {folds} folds; "
                "use fewer folds or more patients"
            )
        # The second outcome continues where the first ended, so that no fold gets both surpluses.
        for place, patient in enumerate(rng.permutation(patients).tolist(), start):
            parts[place % folds].append(patient)
        start += len(patients)
    return [sorted(part) for part in parts]
