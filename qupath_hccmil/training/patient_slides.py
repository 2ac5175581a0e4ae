"""Which slides belong to which patient."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePath
from typing import Protocol, TypeVar

from qupath_hccmil.errors import DataError
from qupath_hccmil.slide_sources.left_out import LeftOut
from qupath_hccmil.training.clinical_table import Clinical

NO_PATIENT, NO_SLIDE = "no patient in the table", "no slide"
NOT_USED = "its patient is not used"
NOT_THERE = "in the table, but not among the slides"


class NamedSlide(Protocol):
    """A slide, or its features: a name, a file, and the patient if a project says who it is."""

    @property
    def name(self) -> str:
        """Name of the slide as the user knows it."""
        ...

    @property
    def path(self) -> Path:
        """File of the slide or of its features."""
        ...

    @property
    def patient(self) -> str | None:
        """Patient according to a project."""
        ...


S = TypeVar("S", bound=NamedSlide)


def slides_by_patient(
    slides: Sequence[S],
    clinical: Clinical,
    wanted: Collection[str],
    unusable: Iterable[str] = (),
) -> tuple[dict[str, list[S]], list[LeftOut]]:
    """Give every wanted patient their slides.

    The table's column of slides is used first; without one, the metadata of a project. Without
    these, a slide belongs to the patient whose name is the name of the slide, or its beginning up
    to a character that is neither letter nor digit (``TCGA-2V-A95S-01Z-00-DX1.svs`` belongs to
    ``TCGA-2V-A95S``).

    Parameters
    ----------
    slides : sequence of OutlinedSlide, or of other slides with names
    clinical : Clinical
    wanted : collection of str
        Patients that should be used.
    unusable : iterable of str
        Names of slides that were found but cannot be used, for a reason that is already known.

    Returns
    -------
    slides : dict of str to list
        Slides of the wanted patients that have any.
    left_out : list of LeftOut
        Also slides that the table names for a patient and that were not found.

    Raises
    ------
    DataError
        The table gives a slide to two patients.
    """
    named = _named(clinical)
    found: dict[str, list[S]] = {}
    left_out = []
    for slide in slides:
        patient = _patient(slide, clinical, named)
        if patient is None:
            left_out.append(LeftOut("slide", slide.name, NO_PATIENT))
        elif patient in wanted:
            found.setdefault(patient, []).append(slide)
        else:
            left_out.append(LeftOut("slide", slide.name, NOT_USED))
    there = {name for slide in slides for name in _names(slide)}
    there |= {each for name in unusable for each in (name, PurePath(name).stem)}
    left_out += [
        LeftOut("slide", name, NOT_THERE, f"of patient {patient}")
        for name, patient in named.items()
        # Of a patient without any slide, that is said below.
        if patient in found and name not in there
    ]
    left_out += [LeftOut("patient", p, NO_SLIDE) for p in sorted(set(wanted) - found.keys())]
    return found, left_out


def _names(slide: NamedSlide) -> tuple[str, ...]:
    """Names by which a table may call a slide."""
    return (slide.name, PurePath(slide.name).stem, slide.path.name, slide.path.stem)


def _named(clinical: Clinical) -> dict[str, str]:
    named: dict[str, str] = {}
    for patient, names in clinical.slides.items():
        for name in names:
            if named.setdefault(name, patient) != patient:
                raise DataError(
                    f"{clinical.path}: slide {name!r} belongs to two patients, {named[name]!r} and "
                    f"{patient!r}; keep one"
                )
    return named


def _patient(slide: NamedSlide, clinical: Clinical, named: dict[str, str]) -> str | None:
    names = _names(slide)
    if clinical.slides:
        return next((named[name] for name in names if name in named), None)
    if slide.patient is not None:
        return slide.patient if slide.patient in clinical.patients else None
    fitting = [p for p in clinical.patients if any(begins_with(name, p) for name in names)]
    return max(fitting, key=len, default=None)


def begins_with(name: str, patient: str) -> bool:
    """Whether the name of a slide is a patient's, or goes on with no letter and no digit."""
    return name.startswith(patient) and not name[len(patient) :][:1].isalnum()
