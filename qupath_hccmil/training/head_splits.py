"""How the patients of a head's training are divided, and whether they suffice for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qupath_hccmil.errors import DataError
from qupath_hccmil.heads.enough_patients import check_events
from qupath_hccmil.heads.outcomes import LossName, Outcome
from qupath_hccmil.judgement.nested_splits import outer_folds
from qupath_hccmil.learning.splits import split_patients, stratified_folds
from qupath_hccmil.mil.threshold_and_temperature import DecisionRule
from qupath_hccmil.training.clinical_table import Clinical

_NAMES: Mapping[LossName, tuple[str, str]] = {
    "outcome": ("a poor outcome", "a good outcome"),
    "cox": ("an event", "no event"),
    "discrete-time": ("an event", "no event"),
}


@dataclass(frozen=True)
class Split:
    """Patients that are scored, that weights are fitted to, and that choose the epoch."""

    held_out: list[str]
    training: list[str]
    choosing: list[str]


def strata_of(outcomes: Mapping[str, Outcome], loss: LossName) -> dict[str, int]:
    """1 or 0 for each patient, as labels: 0 for a poor outcome or an event."""
    return {patient: int(not one.poor(loss)) for patient, one in outcomes.items()}


def check_outcomes(
    outcomes: Mapping[str, Outcome], table: Clinical, loss: LossName, folds: int
) -> None:
    """Refuse patients that cannot be split, before features are copied."""
    if loss != "outcome" and not table.cohort.follow_up:
        raise DataError(
            f"{table.path}: --loss {loss} needs time and event of the patients; give their columns "
            "(--time or --start-date and --end-date, --event), or use --loss outcome"
        )
    strata = strata_of(outcomes, loss)
    for label, name in enumerate(_NAMES[loss]):
        count = sum(value == label for value in strata.values())
        # Everybody may have an event, but two are needed on each side.
        least = 0 if loss != "outcome" and label else 2 if loss == "outcome" else 4
        if count < least:
            raise DataError(
                f"{table.path}: {count} of {len(strata)} patients have {name}; training needs at "
                f"least {least}, half of them to choose the epoch with"
            )
    if folds:
        _held_out(strata, folds, 0, loss)


def cross_validation_splits(
    strata: Mapping[str, int], folds: int, share: float, seed: int, loss: LossName
) -> list[Split]:
    """Splits of a cross-validation; none without folds."""
    if not folds:
        return []
    found = []
    for held_out in _held_out(strata, folds, seed, loss):
        others = {patient: strata[patient] for patient in strata.keys() - set(held_out)}
        found.append(Split(held_out, *split_patients(others, share, seed)))
    return found


def check_sides(
    split: Split, outcomes: Mapping[str, Outcome], loss: LossName, rule: DecisionRule
) -> None:
    """Refuse a split with a side that the loss, or a derived threshold, cannot use."""
    for side, patients in (("training", split.training), ("choosing the epoch", split.choosing)):
        check_events(side, [outcomes[patient] for patient in patients], loss)
    labels = {outcomes[patient].label for patient in split.choosing}
    if rule.asks and not {0, 1} <= labels:
        raise DataError(
            "--derive-threshold and --fit-temperature need patients with a good and with a poor "
            f"outcome among the {len(split.choosing)} that choose the epoch; give a larger "
            "--held-out"
        )


def _held_out(strata: Mapping[str, int], folds: int, seed: int, loss: LossName) -> list[list[str]]:
    """Patients of each fold; with a loss on follow-up as in a judgement, evenly by event."""
    if loss == "outcome":
        return stratified_folds(strata, folds, seed, _NAMES[loss])
    event = {patient: 1 - stratum for patient, stratum in strata.items()}
    return [list(fold.held_out) for fold in outer_folds(event, folds, seed)]
