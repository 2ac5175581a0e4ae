"""From follow-up to the labels for training, which are distinct outcomes only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from qupath_hccmil.method.published_numbers import GOOD_FOLLOW_UP_YEARS, POOR_RECURRENCE_YEARS


@dataclass(frozen=True)
class LabelledCohort:
    """Labels of the patients that can be used for training, and why the others cannot.

    Attributes
    ----------
    labels : mapping of str to int
        For each patient, 1 (good outcome) or 0 (poor).
    excluded : mapping of str to str
        For each excluded patient, the reason.
    follow_up : mapping of str to (float, int)
        Years and event (1 recurrence, 0 none) of every patient for whom they are known.
    """

    labels: Mapping[str, int]
    excluded: Mapping[str, str]
    follow_up: Mapping[str, tuple[float, int]] = field(default_factory=dict)

    def summary(self) -> str:
        """Numbers of good, poor and excluded patients, with the reasons, in one line."""
        good = sum(self.labels.values())
        line = f"{good} good, {len(self.labels) - good} poor, {len(self.excluded)} excluded"
        reasons = Counter(self.excluded.values()).most_common()
        return line + (f" ({'; '.join(f'{n} {r}' for r, n in reasons)})" if reasons else "")


def outcome(time: float | None, event: int | None) -> tuple[int | None, str]:
    """Label one patient by the published rule.

    Parameters
    ----------
    time : float or None
        Years to recurrence, or of follow-up without it.
    event : int or None
        1 recurrence, 0 none.

    Returns
    -------
    label : int or None
        1 if followed for at least 4 years without recurrence; 0 if recurrence came within 1.6
        years (exclusive); None if neither applies.
    reason : str
        Why the label is None; otherwise empty.

    Notes
    -----
    Liu et al. 2021 (arXiv 2106.00090).
    """
    if time is None or event is None:
        return None, "time or event missing"
    if event and time < POOR_RECURRENCE_YEARS:
        return 0, ""
    if event:
        return None, f"recurrence at {POOR_RECURRENCE_YEARS} years or later"
    if time >= GOOD_FOLLOW_UP_YEARS:
        return 1, ""
    return None, f"followed for less than {GOOD_FOLLOW_UP_YEARS:g} years"
