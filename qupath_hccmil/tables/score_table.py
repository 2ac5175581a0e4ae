"""Scores of patients from our export at any level, or from any table of patients and scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.published_numbers import POWER
from qupath_hccmil.tables.table_reader import (
    as_numbers,
    find_column,
    find_patient_column,
    read_table,
)

RISKS = ("risk_score", "risk", "score", "tile_risk")
LOGITS = ("risk_logit", "tile_logit")
TILES = "tiles"
TILE = ["entry_id", "tile_id"]
RULES = ("pool", "max", "mean")
NO_SCORE = "no score"


@dataclass(frozen=True)
class PatientScores:
    """One score a patient.

    Attributes
    ----------
    scores : Series
        float64, indexed by patient.
    excluded : DataFrame
        ``patient, reason`` of patients in the table who have no score.
    column : str
        Which column held the score.
    rule : str
        How several rows of one patient became one, in words.
    rows : int
        Rows of the table.
    threshold : float or None
        The model's, when the table says it.
    models : tuple of str
        Names and weight hashes that the table says.
    stale : int
        Rows whose outlines were edited since they were scored, as the table says.
    """

    scores: pd.Series
    excluded: pd.DataFrame
    column: str
    rule: str
    rows: int
    threshold: float | None
    models: tuple[str, ...]
    stale: int = 0


def read_scores(
    path: str | Path,
    *,
    column: str = "",
    patient: str = "",
    rule: str = "",
    missing: tuple[str, ...] = (),
) -> PatientScores:
    """Read scores and bring them to one a patient.

    Parameters
    ----------
    path : path
        CSV, Parquet or Excel.
    column : str
        The score; ``risk_score``, ``risk`` or ``score`` when empty.
    patient : str
        The patient; a usual name when empty.
    rule : str
        For several rows of one patient: ``"max"``, ``"mean"``, or ``"pool"``, the model's own
        aggregation over all their tiles, for tables of ours, where it is the default.
    missing : tuple of str
        Texts that mean no score.

    Raises
    ------
    DataError
        A column is not found, a score is no number, or several rows of a patient come without a
        rule.
    """
    frame = _each_tile_once(read_table(path))
    key = find_patient_column(frame, path, patient)
    name = find_column(frame, path, column, "score") if column else _score_column(frame, path)
    values = as_numbers(frame[name], path, missing)
    table = pd.DataFrame({"patient": frame[key], "score": values})
    weights = _pooling(frame, path, missing)
    if weights is not None:
        table = table.join(weights)
    table = table[table["patient"].notna()]
    if rule and rule not in RULES:
        raise DataError(f"patient rule {rule!r} is none of {', '.join(RULES)}")
    scored = table[table["score"].notna()]
    several = scored["patient"].duplicated().any()
    if several and not rule:
        rule = "pool" if weights is not None and not column else ""
    power = _one_value(frame, path, "p") or POWER
    scores, told = _one_a_patient(scored, path, rule, bool(several), power)
    if not several and "rule" in frame.columns:
        told = "; ".join(sorted(frame["rule"].dropna().unique())) or told
    without = table.loc[~table["patient"].isin(scores.index), "patient"].drop_duplicates()
    return PatientScores(
        scores,
        pd.DataFrame({"patient": without, "reason": NO_SCORE}).reset_index(drop=True),
        name,
        told,
        len(frame),
        _one_value(frame, path, "threshold"),
        _models(frame),
        int(frame["stale"].isin(["1", "True", "true"]).sum()) if "stale" in frame.columns else 0,
    )


def _each_tile_once(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep a tile once: in two outlines it has two rows in our export, and one score."""
    return frame.drop_duplicates(TILE) if set(TILE) <= set(frame.columns) else frame


def _score_column(frame: pd.DataFrame, path: str | Path) -> str:
    for name in RISKS:
        if name in frame.columns:
            return name
    have = ", ".join(repr(name) for name in frame.columns[:30])
    raise DataError(f"{path}: which column is the score? Give it by option; it has: {have}")


def _pooling(
    frame: pd.DataFrame, path: str | Path, missing: tuple[str, ...]
) -> pd.DataFrame | None:
    for name in LOGITS:
        if name in frame.columns and (name == "tile_logit" or TILES in frame.columns):
            logit = as_numbers(frame[name], path, missing)
            tiles = (
                as_numbers(frame[TILES], path, missing)
                if name == "risk_logit"
                else pd.Series(1.0, index=frame.index)
            )
            return pd.DataFrame({"logit": logit, "tiles": tiles})
    return None


def _one_a_patient(
    scored: pd.DataFrame, path: str | Path, rule: str, several: bool, power: float
) -> tuple[pd.Series, str]:
    if not several:
        return scored.set_index("patient")["score"].astype(float), "one row a patient"
    groups = scored.groupby("patient", sort=False)
    if rule == "pool":
        if "logit" not in scored.columns:
            raise DataError(
                f"{path}: pooling needs the columns 'risk_logit' and 'tiles' or 'tile_logit' of "
                "our export; use --patient-rule max or mean"
            )
        return groups[["logit", "tiles"]].apply(_pool, power).rename("score"), (
            "all tiles of all rows of a patient pooled: generalised mean with sign, "
            f"p = {power:g}, of the logits weighed by tiles"
        )
    if rule == "max":
        return groups["score"].max(), "the highest score of a patient's rows"
    if rule == "mean":
        return groups["score"].mean(), "the mean score of a patient's rows"
    first = scored.loc[scored["patient"].duplicated(), "patient"].iloc[0]
    count = int((scored["patient"] == first).sum())
    raise DataError(
        f"{path}: patient {first!r} has {count} rows; say --patient-rule max or mean how they "
        "become one score"
    )


def _pool(rows: pd.DataFrame, power: float) -> float:
    logit, tiles = rows["logit"].to_numpy(float), rows["tiles"].to_numpy(float)
    known = np.isfinite(logit) & (tiles > 0)
    if not known.any():
        return float("nan")
    mean = float(np.average(np.sign(logit[known]) * np.abs(logit[known]) ** power,
                            weights=tiles[known]))  # fmt: skip
    pooled = np.sign(mean) * abs(mean) ** (1 / power)
    return float(1 / (1 + np.exp(-pooled)))


def _one_value(frame: pd.DataFrame, path: str | Path, column: str) -> float | None:
    """Read a setting of the model that must be the same in every row."""
    if column not in frame.columns:
        return None
    values = as_numbers(frame[column], path, ()).dropna().unique()
    if len(values) > 1:
        raise DataError(f"{path}: scores of models with different {column} cannot be mixed")
    return float(values[0]) if len(values) else None


def _models(frame: pd.DataFrame) -> tuple[str, ...]:
    columns = [name for name in ("model", "weights_sha256") if name in frame.columns]
    if not columns:
        return ()
    rows = frame[columns].fillna("").drop_duplicates()
    told = (" ".join(part for part in row if part) for row in rows.itertuples(index=False))
    return tuple(sorted({text for text in told if text}))
