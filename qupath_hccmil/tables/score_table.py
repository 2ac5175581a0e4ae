"""Scores of patients, from our export at any level or from any table of patients and scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.aggregation import risk
from qupath_hccmil.method.patient_score import (
    PATIENT_RULES,
    PatientRule,
    patient_logit,
    patient_value,
    rule_of_text,
    rule_text,
)
from qupath_hccmil.method.published_numbers import POWER
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.tables.names import match_key, refuse_two_spellings
from qupath_hccmil.tables.numbers import codes_for_missing
from qupath_hccmil.tables.our_rows import LOGITS, as_slides, our_rows
from qupath_hccmil.tables.out_of_fold import OutOfFold, read_out_of_fold
from qupath_hccmil.tables.table_reader import (
    Reading,
    UserTable,
    find_column,
    find_patient_column,
    read_table,
)

# The last one is that of the predictions of a cross-validation.
RISKS = ("risk_score", "risk", "score", "tile_risk", "r")
NO_SCORE = "no score"
_FAR, _TELLING = 100.0, 10


@dataclass(frozen=True)
class PatientScores:
    """One score per patient.

    Attributes
    ----------
    scores : Series
        float64, indexed by patient.
    excluded : DataFrame
        ``patient, reason`` for patients in the table who have no score.
    column : str
        Name of the score column.
    rule : str
        How several rows of one patient became one score, in words.
    rows : int
        Number of rows of the table.
    threshold : float or None
        Threshold of the model, if the table gives it and is of one model.
    models : tuple of str
        Names and hashes of models that the table gives.
    stale : int
        Number of rows with outlines that, according to the table, were edited after scoring.
    said : tuple of str
        Lines that say how the table was read, and what looks odd in it.
    named : tuple of str
        Patients as they are written in the table, whatever the matching rule.
    out_of_fold : OutOfFold or None
        The folds, if the scores are those of a cross-validation.
    """

    scores: pd.Series
    excluded: pd.DataFrame
    column: str
    rule: str
    rows: int
    threshold: float | None
    models: tuple[str, ...]
    stale: int = 0
    said: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    out_of_fold: OutOfFold | None = None


def read_scores(
    path: str | Path,
    *,
    column: str = "",
    patient: str = "",
    rule: str = "",
    missing: tuple[str, ...] = (),
    reading: Reading | None = None,
    match: str = "",
) -> PatientScores:
    """Read scores and join them to one per patient.

    Parameters
    ----------
    path : path
        CSV, Parquet or Excel.
    column : str
        Column of the score; ``risk_score``, ``risk`` or ``score`` if empty.
    patient : str
        Column of the patient; one of the usual names if empty.
    rule : str
        Rule for several slides of one patient, see :mod:`qupath_hccmil.method.patient_score`:
        ``"max"``, ``"mean"``, or ``"pool"``. Only our own tables have the columns for ``"pool"``,
        which is their default. Tiles and outlines are joined to slides first.
    missing : tuple of str
        Texts that mean a missing score.
    reading : Reading, optional
        How the table is written.
    match : str
        Rule of `names.MATCHES` by which the rows of a patient are matched.

    Raises
    ------
    DataError
        A column is not found, nobody has a score, a score is not a number, a patient has several
        rows and no rule was given, two patients have names that differ only in case, blanks or
        Unicode form, a table that was joined by one rule should be joined by another, or the folds
        of a cross-validation are refused; see :func:`read_out_of_fold`.
    """
    read = read_table(path, reading)
    frame = read.frame
    key = find_patient_column(frame, path, patient)
    place = f"{path}: column {key!r}"
    refuse_two_spellings(((each, place) for each in frame[key].dropna()), match)
    name = find_column(frame, path, column, "score") if column else _score_column(frame, path)
    wanted = _wanted_rule(rule)
    table = pd.DataFrame({"patient": frame[key], "score": read.numbers(name, missing)})
    table["patient"] = table["patient"].map(match_key(match), na_action="ignore")
    table = table[table["patient"].notna()]
    odd = _odd_scores(table["score"], name, path)
    scored = table[table["score"].notna()]
    if scored.empty and len(table):
        patients = count_of(table["patient"].nunique(), "patient")
        raise DataError(
            f"{path}: column {name!r}: none of {patients} has a score; score their slides, and "
            "export again"
        )
    out_of_fold = read_out_of_fold(read, scored["patient"])
    power = _one_value(read, "p") or POWER
    joined = _joined_before(frame, path, wanted)
    if joined is not None or not scored["patient"].duplicated().any():
        found = _as_they_are(scored, path, joined)
    else:
        of_rows = frame[key].map(match_key(match), na_action="ignore")
        known = not column or name in (*RISKS, *LOGITS)
        ours = our_rows(read, of_rows, missing) if known else None
        if ours is None:
            found = _join_scores(scored, path, wanted)
        else:
            rows = ours.assign(patient=table["patient"], weights=frame.get("weights_sha256"))
            rows = rows.loc[rows.index.isin(scored.index)].assign(score=scored["score"])
            found = _join_slides(rows, path, wanted or "pool", power, as_logit=name in LOGITS)
    without = table.loc[~table["patient"].isin(found.scores.index), "patient"].drop_duplicates()
    return PatientScores(
        found.scores,
        pd.DataFrame({"patient": without, "reason": NO_SCORE}).reset_index(drop=True),
        name,
        found.rule,
        len(frame),
        None if out_of_fold else _one_value(read, "threshold"),
        _models(frame),
        int(frame["stale"].isin(["1", "True", "true"]).sum()) if "stale" in frame.columns else 0,
        (*read.said, *odd),
        tuple(frame[key].dropna().unique()),
        out_of_fold,
    )


def _score_column(frame: pd.DataFrame, path: str | Path) -> str:
    for name in RISKS:
        if name in frame.columns:
            return name
    have = ", ".join(repr(name) for name in frame.columns[:30])
    raise DataError(f"{path}: no column is known as the score; give --score; its columns: {have}")


def _odd_scores(scores: pd.Series, name: str, path: str | Path) -> list[str]:
    """Report scores that look like codes for missing values.

    Raises
    ------
    DataError
        A score is a hundred times as large as nearly all others.
    """
    size = scores.abs()
    usual = size.quantile(0.9)
    # With enough scores, their 90 % quantile shows what is usual; with a handful it does not.
    telling = usual > 0 and scores.notna().sum() >= _TELLING
    far = scores[size > _FAR * usual] if telling else scores.iloc[:0]
    codes = codes_for_missing(scores)
    if not len(far) and codes and scores.drop(scores[scores.isin(codes)].index).between(0, 1).all():
        far = scores[scores.isin(codes)]
    if len(far):
        value = f"{far.iloc[0]:g}"
        raise DataError(
            f"{path}: column {name!r}: the score {value} ({count_of(len(far), 'row')}) is far "
            f"from all others; correct it, or give --missing {value} if it means a missing value"
        )
    return [
        f"column {name!r}: {code:g} in {count_of(times, 'row')} may mean a missing value "
        f"(--missing {code:g})"
        for code, times in codes.items()
    ]


def _wanted_rule(rule: str) -> PatientRule | None:
    if not rule:
        return None
    for known in PATIENT_RULES:
        if rule == known:
            return known
    raise DataError(f"patient rule {rule!r} is not one of {', '.join(PATIENT_RULES)}")


def _joined_before(frame: pd.DataFrame, path: str | Path, wanted: PatientRule | None) -> str | None:
    """Rule by which the slides of a table were already joined; another rule is refused."""
    if "rule" not in frame.columns:
        return None
    texts = sorted(frame["rule"].dropna().unique())
    rules = {found for text in texts if (found := rule_of_text(text))}
    if len(rules) > 1:
        raise DataError(f"{path}: its patients were joined by different rules: {', '.join(texts)}")
    if wanted and rules and wanted not in rules:
        raise DataError(
            f"{path}: its slides were already joined by {rules.pop()}, but --patient-rule is "
            f"{wanted}; export with --patient-rule {wanted}, or with --level image"
        )
    return "; ".join(texts) if rules else None


@dataclass(frozen=True)
class _Joined:
    scores: pd.Series
    rule: str


def _as_they_are(scored: pd.DataFrame, path: str | Path, joined: str | None) -> _Joined:
    twice = scored.loc[scored["patient"].duplicated(), "patient"]
    if len(twice):
        raise DataError(
            f"{path}: patient {twice.iloc[0]!r} has several rows in a table with one row per "
            "patient; keep one"
        )
    scores = scored.set_index("patient")["score"].astype(float)
    return _Joined(scores, joined or "one row per patient")


def _join_scores(scored: pd.DataFrame, path: str | Path, rule: PatientRule | None) -> _Joined:
    """Join scores on any scale, without logits."""
    if rule is None:
        first = scored.loc[scored["patient"].duplicated(), "patient"].iloc[0]
        count = int((scored["patient"] == first).sum())
        raise DataError(
            f"{path}: patient {first!r} has {count} rows; give --patient-rule max or mean, so that "
            "they become one score"
        )
    if rule == "pool":
        raise DataError(
            f"{path}: --patient-rule pool needs the columns 'risk_logit' and 'tiles', or "
            "'tile_logit', of our export; use --patient-rule max or mean"
        )
    groups = scored.groupby("patient", sort=False)["score"]
    return _Joined(groups.agg(lambda values: patient_value(rule, values)), rule_text(rule))


def _join_slides(
    rows: pd.DataFrame, path: str | Path, rule: PatientRule, power: float, *, as_logit: bool
) -> _Joined:
    """Join rows of our exports, first to slides if they are parts of slides, then to patients."""
    models = rows.groupby("patient", sort=False)["weights"].nunique()
    if (models > 1).any():
        raise DataError(
            f"{path}: patient {models.index[models > 1][0]!r}: slides were scored by different "
            "models; score them again with one"
        )
    outlines = "outline" in set(rows["part"])
    slides = as_slides(rows, path, rule, power)
    logits = {
        patient: patient_logit(rule, slide["logit"], slide["tiles"], power)
        for patient, slide in slides.groupby("patient", sort=False)
    }
    found = pd.Series(logits, dtype=float).rename_axis("patient").rename("score")
    told = rule_text(rule, power)
    if outlines:
        told += "; a tile that two outlines share counts for both"
    return _Joined(found if as_logit else pd.Series(risk(found), found.index, name="score"), told)


def _one_value(table: UserTable, column: str) -> float | None:
    """Read a number of the model that must be the same in every row."""
    if column not in table.frame.columns:
        return None
    values = table.numbers(column).dropna().unique()
    if len(values) > 1:
        raise DataError(f"{table.path}: scores of models with different {column} cannot be mixed")
    return float(values[0]) if len(values) else None


def _models(frame: pd.DataFrame) -> tuple[str, ...]:
    columns = [name for name in ("model", "weights_sha256") if name in frame.columns]
    if not columns:
        return ()
    rows = frame[columns].fillna("").drop_duplicates()
    told = (" ".join(part for part in row if part) for row in rows.itertuples(index=False))
    return tuple(sorted({text for text in told if text}))
