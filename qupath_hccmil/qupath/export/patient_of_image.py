"""Which patient an image is of, and the rule that joins the slides of one patient."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qupath_hccmil.errors import DataError
from qupath_hccmil.qupath.data_types import ImageEntry

PATIENT_KEYS = ("Patient ID", "patient", "case")

PatientOf = Callable[[ImageEntry], "str | None"]

Join = Literal["pool", "max", "mean"]
JOINS: tuple[Join, ...] = ("pool", "max", "mean")


def patient_by_key(key: str | None = None) -> PatientOf:
    """Read the patient from an image's metadata.

    Parameters
    ----------
    key : str or None
        Metadata key, case-insensitive; None takes the first of :data:`PATIENT_KEYS` that has a
        value.
    """
    wanted = [name.casefold() for name in ([key] if key else PATIENT_KEYS)]

    def patient_of(entry: ImageEntry) -> str | None:
        values = {name.strip().casefold(): value for name, value in entry.metadata.items()}
        found = (values.get(name, "").strip() for name in wanted)
        return next((value for value in found if value), None)

    return patient_of


def patient_by_table(path: Path) -> PatientOf:
    """Read the patient of each image from a CSV table with the columns ``image`` and ``patient``.

    ``image`` is the name in the project. Other columns and other images are left alone.

    Raises
    ------
    DataError
        The table cannot be read, a column is absent, or an image has two patients.
    """
    patients: dict[str, str] = {}
    for line, (image, patient) in _rows(path):
        if not image or not patient:
            continue
        if patients.setdefault(image, patient) != patient:
            raise DataError(
                f"{path}, line {line}: {image} has two patients, {patients[image]} and {patient};"
                " keep one"
            )
    return lambda entry: patients.get(entry.name.strip())


def _rows(path: Path) -> list[tuple[int, tuple[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as source:
            reader = csv.DictReader(source)
            header = {(name or "").strip().casefold(): name for name in reader.fieldnames or ()}
            if not {"image", "patient"} <= header.keys():
                have = ", ".join(str(name) for name in reader.fieldnames or ()) or "none"
                raise DataError(f"{path}: needs the columns image and patient; has: {have}")
            image, patient = header["image"], header["patient"]
            return [
                (reader.line_num, ((row[image] or "").strip(), (row[patient] or "").strip()))
                for row in reader
            ]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a CSV table in UTF-8: {error}") from error


@dataclass(frozen=True)
class PatientRule:
    """How the slides of one patient become one score.

    Attributes
    ----------
    join : {"pool", "max", "mean"}
        ``pool``: the generalised mean over all tiles of all slides, as if they were one slide.
        ``max``: the slide of the highest logit. ``mean``: the mean of the slides' logits.
    power : float
        p of the model's generalised mean.
    threshold : float
        t of the model: above this risk the group is high.
    """

    join: Join
    power: float
    threshold: float

    def __post_init__(self) -> None:
        if self.join not in JOINS:
            raise DataError(f"No rule {self.join} to join slides; there are: {', '.join(JOINS)}")

    @property
    def text(self) -> str:
        """What stands in the table's column ``rule``."""
        return {
            "pool": f"pool: generalised mean over the tiles of all slides, p={self.power:g}",
            "max": "max: highest slide logit",
            "mean": "mean: mean of the slide logits",
        }[self.join]

    def logit(self, logits: Sequence[float], tiles: Sequence[int]) -> float:
        """Logit of a patient.

        ``pool`` gives what the tiles themselves would: each slide's m is the mean over its tiles,
        so ``m = Σ n_k sign(S_k)|S_k|^p / Σ n_k`` and ``S = sign(m)|m|^(1/p)`` (Liu et al. 2021,
        taken over the union).

        Parameters
        ----------
        logits : sequence of float
            S of each slide, at least one.
        tiles : sequence of int
            Tiles of each slide, positive.
        """
        if self.join == "max":
            return max(logits)
        if self.join == "mean":
            return math.fsum(logits) / len(logits)
        powers = (
            n * math.copysign(abs(s) ** self.power, s) for n, s in zip(tiles, logits, strict=True)
        )
        m = math.fsum(powers) / sum(tiles)
        return math.copysign(abs(m) ** (1 / self.power), m)

    def group(self, risk: float) -> str:
        """Name the group of a risk: low or high."""
        return "high" if risk > self.threshold else "low"


def sigmoid(logit: float) -> float:
    """Risk of a logit, without overflow."""
    return 0.5 * (1 + math.tanh(logit / 2))
