"""The patients of a judgement: follow-up, centre, scanner, clinical variables, and their slides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from qupath_hccmil.errors import DataError
from qupath_hccmil.judgement.clinical_variables import clinical_variables
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.survival.statistics.survival_outcome import EVENT, TIME
from qupath_hccmil.survival.statistics.variables import Variable
from qupath_hccmil.tables.names import match_key, spelling_key
from qupath_hccmil.tables.table_reader import UserTable, find_column, find_patient_column

CENTRE = "centre__"
SCANNER = "scanner__"
TILES = "tiles__"
COLOURS = ("red__", "green__", "blue__")
UNKNOWN = "not known"
UNIT = "years"  # of every time
USUAL_CENTRES = (
    "centre", "center", "site", "hospital", "institution", "tissue_source_site",
)  # fmt: skip


@dataclass(frozen=True)
class SlideFacts:
    """What is known of a slide without any network.

    Attributes
    ----------
    patient, slide : str
    tiles : int
    colour : tuple of float or None
        Mean red, green and blue of its tiles, 0 to 255, before stain normalisation.
    scanner : str
        Empty if it is not known.
    pixels : str
        Equal for slides with the same pixels, different otherwise; empty if it is not known.
    """

    patient: str
    slide: str
    tiles: int
    colour: tuple[float, float, float] | None = None
    scanner: str = ""
    pixels: str = ""


@dataclass(frozen=True)
class JudgedCohort:
    """The patients of a judgement.

    Attributes
    ----------
    frame : DataFrame
        Indexed by patient, sorted: ``time`` (years), ``event`` (0/1), the centre (or "not known"),
        the scanner, the number of tiles, the mean colour, and the variables.
    variables : tuple of Variable
        Clinical variables.
    slides : tuple of SlideFacts
        Of these patients.
    centre_column : str
        Empty if no centre was given.
    in_two_centres : mapping of str to tuple of str
        Centres of the patients whom the table puts into more than one. They are left out.
    left_out : mapping of str to str
        For each other patient of the table, the reason.
    notes : tuple of str
    """

    frame: pd.DataFrame
    variables: tuple[Variable, ...]
    slides: tuple[SlideFacts, ...]
    centre_column: str = ""
    in_two_centres: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def centre_of(self) -> dict[str, str]:
        """Centre of each patient."""
        return {str(patient): str(centre) for patient, centre in self.frame[CENTRE].items()}

    @property
    def has_centres(self) -> bool:
        """Whether there are at least two centres."""
        return self.frame[CENTRE].nunique() > 1

    @property
    def has_colour(self) -> bool:
        """Whether the mean colour of every patient is known."""
        return bool(self.frame[list(COLOURS)].notna().all(axis=None))


def judged_cohort(
    table: UserTable,
    follow_up: Mapping[str, tuple[float, int]],
    slides: Sequence[SlideFacts],
    *,
    patient: str = "",
    match: str = "",
    centre: str = "",
    scanner: str = "",
    variables: Sequence[str] | None = None,
    missing: Sequence[str] = (),
) -> JudgedCohort:
    """Join the clinical table, the follow-up and the slides.

    Parameters
    ----------
    table : UserTable
        The clinical table, with one or more rows per patient.
    follow_up : mapping of str to (float, int)
        Years and event of each patient for whom both are known.
    slides : sequence of SlideFacts
        Slides that a model may learn from.
    patient, match : str
        Column of the patient, and which part of it is the patient's name.
    centre, scanner : str
        Columns; empty for none. A scanner in the table is used instead of that of the slides.
    variables : sequence of str, optional
        Columns of clinical variables; by default those with the usual name of a prognostic
        variable of HCC.
    missing : sequence of str
        Values that mean a missing value.

    Raises
    ------
    DataError
        A column is missing, no patient has both follow-up and a slide, or a patient has no centre.
    """
    rows, path = table.frame, table.path
    rows = rows.where(~rows.isin(list(missing)), None) if missing else rows
    key = find_patient_column(rows, path, patient)
    rows = rows[rows[key].notna()]
    rows = rows.assign(**{key: rows[key].map(match_key(match))})
    centre = find_column(rows, path, centre, "centre") if centre else ""
    scanner = find_column(rows, path, scanner, "scanner") if scanner else ""
    twice = _several(rows, key, centre) if centre else {}
    with_slide = {one.patient for one in slides}
    known = sorted(follow_up.keys() & with_slide - twice.keys())
    left_out = {
        **dict.fromkeys(sorted(with_slide - follow_up.keys()), "no follow-up"),
        **dict.fromkeys(sorted(follow_up.keys() - with_slide), "no slide"),
        **dict.fromkeys(sorted(twice), "in two centres"),
    }
    if not known:
        raise DataError(
            f"{path}: no patient has both follow-up (time and event) and a slide, so a model "
            "cannot be judged; labels alone do not suffice"
        )
    first = rows.drop_duplicates(key).set_index(key).reindex(known)
    frame = pd.DataFrame(
        {TIME: [follow_up[p][0] for p in known], EVENT: [follow_up[p][1] for p in known]},
        index=pd.Index(known, name="patient"),
    )
    frame[CENTRE] = _centres(first, centre, path)
    used = tuple(one for one in slides if one.patient in set(known))
    frame = frame.join(_of_slides(used))
    if scanner:
        frame[SCANNER] = first[scanner].fillna(UNKNOWN)
    taken = {key, centre, scanner, *frame.columns} - {""}
    chosen, values, notes = clinical_variables(table, first, variables, taken)
    return JudgedCohort(frame.join(values), chosen, used, centre, twice, left_out, tuple(notes))


def usual_centre(frame: pd.DataFrame) -> str:
    """Find the column with a usual name of a centre; empty if there is none."""
    named = {spelling_key(str(name)): str(name) for name in frame.columns}
    return next((named[name] for name in USUAL_CENTRES if name in named), "")


def _several(rows: pd.DataFrame, key: str, column: str) -> dict[str, tuple[str, ...]]:
    """Patients with more than one value of a column, with their values."""
    found = rows[rows[column].notna()].groupby(key)[column].unique()
    return {str(p): tuple(sorted(map(str, v))) for p, v in found.items() if len(v) > 1}


def _centres(first: pd.DataFrame, centre: str, path: object) -> pd.Series | str:
    if not centre:
        return UNKNOWN
    absent = first.index[first[centre].isna()]
    if len(absent):
        raise DataError(
            f"{path}: column {centre!r} has no value for {count_of(len(absent), 'patient')}, for "
            f"example {absent[0]!r}; fill it in, or remove the rows"
        )
    return first[centre].astype(str)


def _of_slides(slides: Sequence[SlideFacts]) -> pd.DataFrame:
    """Tiles, scanner and mean colour of each patient, over all slides."""
    rows = []
    for patient in sorted({one.patient for one in slides}):
        own = [one for one in slides if one.patient == patient]
        tiles = np.array([one.tiles for one in own], float)
        scanners = sorted({one.scanner or UNKNOWN for one in own})
        colours = np.array([one.colour or (np.nan,) * 3 for one in own], float)
        mean = tiles @ colours / tiles.sum() if tiles.sum() else np.full(3, np.nan)
        rows.append((patient, " + ".join(scanners), tiles.sum(), *mean))
    frame = pd.DataFrame(rows, columns=["patient", SCANNER, TILES, *COLOURS])
    return frame.set_index("patient")
