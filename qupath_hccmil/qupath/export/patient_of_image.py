"""The patient that an image belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from qupath_hccmil.errors import DataError
from qupath_hccmil.qupath.data_types import ImageEntry
from qupath_hccmil.tables.names import clean, refuse_two_spellings

if TYPE_CHECKING:
    from qupath_hccmil.tables.table_reader import Reading

PATIENT_KEYS = ("Patient ID", "patient", "case")

PatientOf = Callable[[ImageEntry], "str | None"]


def patient_by_key(key: str | None = None) -> PatientOf:
    """Return a lookup of the patient in an image's metadata.

    Parameters
    ----------
    key : str or None
        Metadata key, case-insensitive; None for the first of :data:`PATIENT_KEYS` that has a value.
    """
    wanted = [name.casefold() for name in ([key] if key else PATIENT_KEYS)]

    def patient_of(entry: ImageEntry) -> str | None:
        values = {name.strip().casefold(): value for name, value in entry.metadata.items()}
        found = (clean(values.get(name, "")) for name in wanted)
        return next((value for value in found if value), None)

    return patient_of


@dataclass(frozen=True)
class PatientTable:
    """Patients of images from a table of the user.

    Attributes
    ----------
    path : Path
    patients : dict of str to str
        For each image, the patient.
    said : list of str
        Lines that say how the table was read.
    """

    path: Path
    patients: dict[str, str]
    said: list[str]

    def __call__(self, entry: ImageEntry) -> str | None:
        """Return the patient of an image."""
        return self.patients.get(clean(entry.name))

    def of_slide(self, name: str) -> str | None:
        """Patient of a slide's file, by its name with or without suffixes."""
        return next((self.patients[n] for n in _names(name) if n in self.patients), None)

    def not_of(self, files: Iterable[str]) -> list[str]:
        """Images of the table that are none of these slides' files, as :meth:`of_slide` finds."""
        used = {next((n for n in _names(file) if n in self.patients), "") for file in files}
        return sorted(self.patients.keys() - used)

    def unmatched(self, images: Iterable[str]) -> list[str]:
        """Return the images of the table that are not among `images`."""
        return sorted(self.patients.keys() - {clean(name) for name in images})


def _names(file: str) -> tuple[str, ...]:
    """What a table may call a slide's file: with its suffix, without it, without any."""
    name = clean(file)
    return name, PurePath(name).stem, name.partition(".")[0]


def patient_by_table(path: Path, reading: Reading | None = None) -> PatientTable:
    """Read the patient of each image from a table with the columns ``image`` and ``patient``.

    ``image`` is the name in the project. Other columns are ignored.

    Parameters
    ----------
    path : Path
        CSV, Parquet or Excel; see :func:`qupath_hccmil.tables.table_reader.read_table`.
    reading : Reading, optional
        How the table is written, according to the user.

    Raises
    ------
    DataError
        The table cannot be read, a column is missing, an image has two patients, or two patients
        have names that differ only in case, blanks or Unicode form.
    """
    # It imports pandas, which patients from the images' metadata need not.
    from qupath_hccmil.tables.table_reader import find_column, read_table

    table = read_table(path, reading)
    image = find_column(table.frame, path, "image", "image")
    patient = find_column(table.frame, path, "patient", "patient")
    patients: dict[str, str] = {}
    rows = table.frame[[image, patient]].dropna()
    refuse_two_spellings(((name, f"{path}: column {patient!r}") for name in rows[patient]), None)
    for name, whose in rows.itertuples(index=False):
        if patients.setdefault(name, whose) != whose:
            raise DataError(
                f"{path}: image {name} has two patients, {patients[name]} and {whose}; keep one"
            )
    return PatientTable(path, patients, table.said)
