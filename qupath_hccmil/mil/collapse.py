"""What is said of a network that gives all patients one score."""

from __future__ import annotations

from collections.abc import Sequence

from qupath_hccmil.mil.risk_evaluation import BagScore
from qupath_hccmil.mil.threshold_and_temperature import Decision, DecisionRule

_NAMED = 5
_ADVICE = "train with more patients or tiles, with a lower --learning-rate, or from another --start"


def collapse_note(scores: Sequence[BagScore], whose: str) -> str:
    """Say that a network has collapsed, on whom, and what to do.

    Parameters
    ----------
    scores : sequence of BagScore
        Those that are the same, at least one.
    whose : str
        Which network it is.

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
    """Say that what was to be derived wasn't, and what is used instead.

    Parameters
    ----------
    rule : DecisionRule
        What was asked for, not nothing.
    decision : Decision
        What is used.
    source : str
        Whose scores it was to come from.

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
