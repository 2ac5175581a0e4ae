"""Rows of our exports (tiles, outlines or slides), joined to one logit per slide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.method.aggregation import risk, slide_logit
from qupath_hccmil.method.patient_score import PatientRule, patient_logit
from qupath_hccmil.method.published_numbers import POWER
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.tables.table_reader import UserTable

TILE_LOGIT, SLIDE_LOGIT, TILES = "tile_logit", "risk_logit", "tiles"
LOGITS = (SLIDE_LOGIT, TILE_LOGIT)
# An entry_id is unique within a project; joined tables of several projects need the name too.
_SLIDE = ("image", "entry_id")
_PLACE = ("x_px", "y_px", "width_px", "height_px")
# A rounded risk still counts as the sigmoid of its logit.
_ROUNDED = 1e-3


def our_rows(table: UserTable, patient: pd.Series, missing: tuple[str, ...]) -> pd.DataFrame | None:
    """Read the rows from which the logit of each slide is computed.

    Parameters
    ----------
    table : UserTable
    patient : Series
        Patient of each row.
    missing : tuple of str
        Texts that mean a missing value.

    Returns
    -------
    DataFrame or None
        ``logit, tiles, part`` (tile, outline or slide) and ``slide`` (missing if the table does
        not give it), one row for each row that counts: a tile in two outlines has two rows in our
        export but counts once. None if the table has no logits and tiles.

    Raises
    ------
    DataError
        A value is not a number.
    """
    frame = table.frame
    part = _part(frame)
    if part is None:
        return None
    if part == "tile":
        logit = table.numbers(TILE_LOGIT, missing)
        tiles = pd.Series(1.0, index=frame.index)
    else:
        logit = table.numbers(SLIDE_LOGIT, missing)
        tiles = table.numbers(TILES, missing)
    rows = pd.DataFrame({"logit": logit, "tiles": tiles, "part": part, "slide": _slides(frame)})
    if part == "tile":
        rows = rows[~_seen_before(frame, patient)]
    rows = rows[rows["logit"].notna() & (rows["tiles"] > 0)]
    return rows if len(rows) else None


def as_slides(
    rows: pd.DataFrame, path: str | Path, rule: PatientRule, power: float = POWER
) -> pd.DataFrame:
    """Join tiles and outlines to slides.

    Parameters
    ----------
    rows : DataFrame
        From :func:`our_rows`, with ``patient`` and the ``score`` of each row of the table.
    rule : {"pool", "max", "mean"}
        ``pool`` does not need to know the slides.

    Returns
    -------
    DataFrame
        ``patient, logit, tiles``, one row per slide.

    Raises
    ------
    DataError
        A slide has two rows, the rule needs slides but the table has none, or a risk does not
        match its logit.
    """
    _risks_are_of_logits(rows, path)
    part = rows["part"].iloc[0]
    if part == "slide":
        known = rows[rows["slide"].notna()]
        twice = known.loc[known.duplicated(["patient", "slide"]), "slide"]
        if len(twice):
            raise DataError(f"{path}: image {twice.iloc[0]!r} has two rows; keep one")
        return rows[["patient", "logit", "tiles"]]
    if rule != "pool" and rows["slide"].isna().any():
        raise DataError(
            f"{path}: --patient-rule {rule} needs to know the slide of each row; keep the columns "
            "'image' and 'entry_id' of our export"
        )
    of_slide = {}
    groups = rows.groupby(["patient", "slide"], sort=False, dropna=False)
    for number, ((patient, _), one) in enumerate(groups):
        logits, tiles = one["logit"].to_numpy(float), one["tiles"].to_numpy(float)
        joined = (
            slide_logit(logits, power)
            if part == "tile"
            else patient_logit("pool", logits, tiles, power)
        )
        of_slide[number] = (patient, joined, tiles.sum())
    return pd.DataFrame.from_dict(of_slide, orient="index", columns=["patient", "logit", "tiles"])


def _part(frame: pd.DataFrame) -> str | None:
    if TILE_LOGIT in frame.columns:
        return "tile"
    if not {SLIDE_LOGIT, TILES} <= set(frame.columns):
        return None
    return "outline" if "annotation_id" in frame.columns else "slide"


def _slides(frame: pd.DataFrame) -> pd.Series:
    """Name the slide of each row, or None if the table has no such column."""
    columns = [frame[name] for name in _SLIDE if name in frame.columns]
    rows = zip(*columns, strict=True) if columns else [()] * len(frame)
    names = [", ".join(str(value) for value in row if not pd.isna(value)) or None for row in rows]
    return pd.Series(names, index=frame.index, dtype=object)


def _seen_before(frame: pd.DataFrame, patient: pd.Series) -> pd.Series:
    """Whether an earlier row is about the same tile.

    Joined tables of several projects may have one image name and entry_id for two patients.
    """
    slide = [name for name in _SLIDE if name in frame.columns]
    if slide and set(_PLACE) <= set(frame.columns):
        return _twice(frame[[*slide, *_PLACE]], patient)
    if slide and "tile_id" in frame.columns:
        return _twice(frame[[*slide, "tile_id"]], patient)
    return pd.Series(False, index=frame.index)


def _twice(keys: pd.DataFrame, patient: pd.Series) -> pd.Series:
    numbered = keys.set_axis(range(keys.shape[1]), axis=1)
    return numbered.assign(patient=patient.reindex(keys.index)).duplicated()


def _risks_are_of_logits(rows: pd.DataFrame, path: str | Path) -> None:
    score = rows["score"].to_numpy(float)
    apart = np.abs(score - risk(rows["logit"])) > _ROUNDED
    apart &= np.abs(score - rows["logit"].to_numpy(float)) > _ROUNDED
    if apart.any():
        raise DataError(
            f"{path}: in {count_of(int(apart.sum()), 'row')} the risk does not match the logit "
            f"(patient {rows['patient'][apart].iloc[0]!r}); export the scores again, or keep one "
            "of the columns"
        )
