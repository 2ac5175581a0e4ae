"""Outer folds, which judge, and the splits within them, which choose; by patient throughout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from qupath_hccmil.errors import DataError

_NO_LABELS: Mapping[str, int] = MappingProxyType({})
FEWEST = 2
"""Patients with an event that every side of a split must have."""


@dataclass(frozen=True)
class OuterFold:
    """Patients that judge one model, and those that it may learn from.

    Attributes
    ----------
    repeat, number : int
        From 1.
    name : str
        The centre with leave-one-centre-out; otherwise the number.
    held_out, others : tuple of str
        Sorted; without overlap.
    """

    repeat: int
    number: int
    name: str
    held_out: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class InnerSplit:
    """Patients to fit weights with, and those that choose the epoch; both of one outer fold."""

    training: tuple[str, ...]
    choosing: tuple[str, ...]


def seed_of(*numbers: int) -> int:
    """Derive a seed from others, so that no two draws of a judgement share one."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1)[0] >> 1)


def outer_folds(
    event: Mapping[str, int],
    folds: int,
    seed: int,
    repeat: int = 1,
    centre: Mapping[str, str] | None = None,
    labels: Mapping[str, int] = _NO_LABELS,
) -> list[OuterFold]:
    """Divide patients into outer folds.

    Parameters
    ----------
    event : mapping of str to int
        For each patient 1 (event) or 0 (censored).
    folds : int
        Number of folds, at least 2, spread evenly by event; not used with centres.
    seed : int
        Other repeats have other folds; centres are the same in every repeat.
    repeat : int
        From 1.
    centre : mapping of str to str, optional
        The centre of every patient, for leave-one-centre-out.
    labels : mapping of str to int, optional
        Labels that the training learns from (1 good, 0 poor), of the patients who have one; they
        are spread evenly too.

    Raises
    ------
    DataError
        There are too few events for the folds, fewer than two centres, or a fold would leave too
        few events to learn from.
    """
    parts = (
        _by_centre(event, centre)
        if centre is not None
        else _at_random(event, folds, seed_of(seed, repeat), labels)
    )
    found = []
    for number, (name, held_out) in enumerate(parts, start=1):
        others = tuple(sorted(event.keys() - set(held_out)))
        left = sum(event[patient] for patient in others)
        if left < 2 * FEWEST:
            raise DataError(
                f"without fold {name!r}, {left} patient(s) with an event are left to learn from, "
                f"and at least {2 * FEWEST} are needed; use other folds or more patients"
            )
        found.append(OuterFold(repeat, number, name, tuple(sorted(held_out)), others))
    return found


def inner_splits(
    others: Sequence[str],
    event: Mapping[str, int],
    folds: int,
    seed: int,
    labels: Mapping[str, int] = _NO_LABELS,
) -> list[InnerSplit]:
    """Split the patients of an outer fold that may be learned from, for all choices.

    Each patient is a choosing one in exactly one split. Splits are by patient, with leave-one-
    centre-out too: there may be only one other centre, and a centre may have no event.

    Parameters
    ----------
    others : sequence of str
    event : mapping of str to int
    folds : int
        At least 2; fewer are made if there are fewer events, or patients with a label.
    seed : int
    labels : mapping of str to int, optional
        As for :func:`outer_folds`. If there are any, each side of a split has both.

    Raises
    ------
    DataError
        There are too few events, or patients with a label, for two splits.
    """
    within = {patient: event[patient] for patient in others}
    most = max(2, min(folds, sum(within.values()) // FEWEST, *_of_each_label(others, labels)))
    splits = [
        InnerSplit(tuple(sorted(within.keys() - set(part))), tuple(sorted(part)))
        for _, part in _at_random(within, most, seed, labels)
    ]
    for side in (side for split in splits for side in (split.training, split.choosing)):
        if not all(_of_each_label(side, labels)):
            poor, good = _of_each_label(others, labels)
            raise DataError(
                f"{len(others)} patients to learn from, {good} with a good and {poor} with a poor "
                f"outcome, are too few for {most} inner folds, each of which needs both; use other "
                "folds or more patients, or --loss cox, which uses the follow-up of everybody"
            )
    return splits


def _by_centre(event: Mapping[str, int], centre: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    names = sorted({centre[patient] for patient in event})
    if len(names) < 2:
        raise DataError(
            f"leave-one-centre-out needs at least 2 centres, but all patients are of "
            f"{names[0]!r}; leave the column of the centre out, or give another"
        )
    return [(name, [p for p in event if centre[p] == name]) for name in names]


def _of_each_label(patients: Sequence[str], labels: Mapping[str, int]) -> list[int]:
    """How many of the patients have a poor, and a good, outcome; empty without any labels."""
    if not labels:
        return []
    return [sum(labels.get(patient) == label for patient in patients) for label in (0, 1)]


def _at_random(
    event: Mapping[str, int], folds: int, seed: int, labels: Mapping[str, int]
) -> list[tuple[str, list[str]]]:
    if folds < 2:
        raise DataError(f"cross-validation needs at least 2 folds, not {folds}")
    events = sum(event.values())
    if events < FEWEST * folds or len(event) < 2 * folds:
        raise DataError(
            f"{len(event)} patients with {events} events are too few for {folds} folds; each needs "
            f"at least {FEWEST} events and {FEWEST} patients; use fewer folds or more patients"
        )
    rng = np.random.default_rng(seed)
    parts: list[list[str]] = [[] for _ in range(folds)]
    start = 0
    for stratum in ((value, label) for value in (1, 0) for label in (0, 1, None)):
        patients = sorted(p for p in event if (event[p], labels.get(p)) == stratum)
        # Each continues where the last one ended, so that no fold gets all surpluses.
        for place, patient in enumerate(rng.permutation(patients).tolist(), start):
            parts[place % folds].append(patient)
        start += len(patients)
    return [(str(number), part) for number, part in enumerate(parts, start=1)]
