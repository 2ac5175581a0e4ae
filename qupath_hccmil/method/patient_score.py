"""One score per patient: the rules that join the slides of a patient, for every command.

`export`, `survival`, `train mil` and `evaluate mil` all call `patient_logit` (or `patient_value`,
if a table has only scores), so that a patient has the same score and the same group everywhere.

``pool``
    The model's own aggregation over the tiles of all slides, as if they were one slide. This is
    what training does with the bag of a patient, and the default.
``mean``
    The mean of the slides' risks. Risks are averaged and not logits, for three reasons. A risk is
    bounded, so that one extreme slide does not outweigh the others: the logits 2 and −4 would
    become −1, a low risk of 0.27, although one of the two slides has a risk of 0.88; their mean
    risk is 0.45. Averaging probabilities ("soft voting") is common when slides or models are
    joined. And every table has risks, but not every table has logits.
``max``
    The slide with the highest risk, which is also the one with the highest logit.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from qupath_hccmil.method.aggregation import signed_power, signed_root
from qupath_hccmil.method.published_numbers import POWER

PatientRule = Literal["pool", "max", "mean"]
PATIENT_RULES: tuple[PatientRule, ...] = get_args(PatientRule)


def patient_logit(
    rule: PatientRule, logits: ArrayLike, tiles: ArrayLike, p: float = POWER
) -> float:
    """Logit of a patient; the patient's risk is its sigmoid.

    A patient with one slide has exactly that slide's logit under every rule.

    Parameters
    ----------
    rule : {"pool", "max", "mean"}
    logits : (n,) array_like
        S of each slide; at least one, and all finite.
    tiles : (n,) array_like
        Number of scored tiles of each slide, positive; used by ``pool`` only.
    p : float
        Power of the model's generalised mean; used by ``pool`` only.

    Returns
    -------
    float
        Finite.

    Raises
    ------
    ValueError
        The rule is unknown, there is no slide or no tile, or a logit is not finite.

    Notes
    -----
    ``pool``: each slide's m is the mean over its tiles, so ``m = Σ n_k sign(S_k)|S_k|^p / Σ n_k``
    and ``S = sign(m)|m|^(1/p)`` (Liu et al. 2021, taken over the union).

    ``mean``: the logit of the mean risk is the difference of two logarithms of sums, which stays
    exact where a risk itself is 0 or 1 in double precision (a logit of −800).
    """
    s = np.asarray(logits, dtype=np.float64)
    n = np.asarray(tiles, dtype=np.float64)
    if rule not in PATIENT_RULES:
        raise ValueError(f"no rule {rule!r} to join slides; there are: {', '.join(PATIENT_RULES)}")
    if s.ndim != 1 or not s.size or s.shape != n.shape or not np.isfinite(s).all():
        raise ValueError("a patient needs slides, each with a finite logit and a number of tiles")
    if rule == "pool" and not (n > 0).all():
        raise ValueError("pooled slides need tiles")
    # Sorted, so that the order of the rows of a table does not change the last digit.
    order = np.lexsort((n, s))
    s, n = s[order], n[order]
    if rule == "max" or s[0] == s[-1]:
        return float(s[-1])
    if rule == "mean":
        log_risk = -np.logaddexp(0, -s)
        log_rest = -np.logaddexp(0, s)
        return float(np.logaddexp.reduce(log_risk) - np.logaddexp.reduce(log_rest))
    return signed_root(float(np.sum(n * signed_power(s, p)) / n.sum()), p)


def patient_value(rule: PatientRule, scores: ArrayLike) -> float:
    """Score of a patient if the slides have scores on any scale, and no logits.

    For risks, the result agrees with :func:`patient_logit`.

    Parameters
    ----------
    rule : {"max", "mean"}
    scores : (n,) array_like
        At least one score; all must be finite.

    Raises
    ------
    ValueError
        The rule needs more than scores, or there is no finite score.
    """
    x = np.sort(np.asarray(scores, dtype=np.float64))
    if rule not in ("max", "mean"):
        raise ValueError(f"rule {rule!r} needs logits and tiles")
    if x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise ValueError("a patient needs finite scores")
    return float(x[-1]) if rule == "max" or x[0] == x[-1] else float(x.mean())


def rule_text(rule: PatientRule, p: float = POWER) -> str:
    """Text for the column ``rule`` of our tables and for reports; it begins with the rule."""
    return {
        "pool": f"pool: generalised mean with sign over the tiles of all slides, p={p:g}",
        "max": "max: highest risk of a slide",
        "mean": "mean: mean of the slides' risks",
    }[rule]


def rule_of_text(text: str) -> PatientRule | None:
    """Rule named in a column ``rule``, or None if it is not one of ours."""
    word = text.partition(":")[0].strip().lower()
    return next((rule for rule in PATIENT_RULES if rule == word), None)
