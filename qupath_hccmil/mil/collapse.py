"""Notes about a network that has collapsed, so that it gives all patients the same score."""

from __future__ import annotations

from collections.abc import Sequence

from qupath_hccmil.mil.risk_evaluation import BagScore
from qupath_hccmil.mil.threshold_and_temperature import Decision, DecisionRule

_NAMED = 5
_ADVICE = "train with more patients or tiles, with a lower --learning-rate, or from another --start"


def collapse_note(scores: Sequence[BagScore], whose: str) -> str:
    """Say that a network has collapsed, for which patients, and what to do.

    Parameters
    ----------
    scores : sequence of BagScore
        The scores that are all the same, at least one.
    whose : str
        Name of the network.

    Returns
    -------
    str
        One line.
    """
    names = sorted(score.patient for score in scores)
    some = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    return (
        f"{whose} has collapsed: the {len(names)} patients that chose its epoch all have the same "
        f"score (slide logit {scores[0].logit:.4f}: {some}), so it cannot distinguish patients; "
        f"{_ADVICE}"
    )


def kept_note(rule: DecisionRule, decision: Decision, source: str) -> str:
    """Say which numbers could not be derived, and what is used instead.

    Parameters
    ----------
    rule : DecisionRule
        The requested derivations, at least one.
    decision : Decision
        The numbers that are used.
    source : str
        The patients from whose scores the numbers should have been derived.

    Returns
    -------
    str
        One line.
    """
    kept = {
        "threshold": (rule.derive_threshold, f"{decision.threshold:g}"),
        "temperature": (rule.fit_temperature, f"{decision.temperature:g}"),
    }
    asked = {name: value for name, (wanted, value) in kept.items() if wanted}
    stays = "stay" if len(asked) > 1 else "stays"
    return (
        f"no {' and no '.join(asked)} can be derived from equal scores ({source}); "
        f"{' and '.join(f'{name} {value}' for name, value in asked.items())} {stays}"
    )
