"""Finished outer folds, kept as files, so that a killed judgement goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.judgement.learner import Learner
from qupath_hccmil.judgement.nested_splits import InnerSplit, OuterFold
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, TIME

KEPT = "fold.json"
FORMAT = "qupath-hccmil judgement fold 2"


@dataclass(frozen=True)
class FoldResult:
    """An outer fold that was predicted.

    Attributes
    ----------
    repeat, number : int
    name : str
        See :class:`OuterFold`.
    logits : mapping of str to float
        Of the held-out patients, by a model that never saw them.
    inner_logits : mapping of str to float
        Of the other patients, each by a model that was not fitted to them.
    candidate : str
        The one that was chosen.
    concordances : mapping of str to float
        Mean C-index of each candidate in the inner splits.
    epochs : sequence of int
        Chosen epoch of each inner split; the first is that of the model that predicted the fold.
    threshold, temperature : float
    note : str
        Why threshold and temperature could not be derived; empty otherwise.
    """

    repeat: int
    number: int
    name: str
    logits: Mapping[str, float]
    inner_logits: Mapping[str, float]
    candidate: str
    concordances: Mapping[str, float]
    epochs: Sequence[int]
    threshold: float
    temperature: float
    note: str


def fold_key(
    learner: Learner,
    fold: OuterFold,
    splits: Sequence[InnerSplit],
    frame: pd.DataFrame,
    seed: int,
) -> str:
    """Hash everything that a fold's result follows from."""
    rows = frame.loc[sorted([*fold.held_out, *fold.others]), [TIME, EVENT]]
    content = [
        FORMAT,
        learner.fingerprint,
        list(learner.candidates),
        asdict(fold),
        [asdict(split) for split in splits],
        [[str(p), float(t), int(e)] for p, t, e in rows.itertuples()],
        seed,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def kept_fold(folder: Path, key: str) -> FoldResult | None:
    """Read a fold that was finished with the same key; None if there is none, or it is damaged."""
    try:
        content = json.loads((folder / KEPT).read_text(encoding="utf-8"))
        if content.pop("key") != key:
            return None
        return FoldResult(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep_fold(folder: Path, key: str, result: FoldResult) -> None:
    """Write a finished fold, completely or not at all."""
    with atomic_file(folder / KEPT) as new:
        new.write_text(json.dumps({"key": key, **asdict(result)}), encoding="utf-8")
