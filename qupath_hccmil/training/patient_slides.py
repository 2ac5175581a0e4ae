"""Which slides belong to which patient."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Generic, Protocol, TypeVar

from qupath_hccmil.errors import DataError
from qupath_hccmil.slide_sources.file_image import FileImage, refuse_images_of_two_patients
from qupath_hccmil.slide_sources.left_out import LeftOut
from qupath_hccmil.tables.names import clean, match_key
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

    @property
    def file_images(self) -> tuple[FileImage, ...]:
        """Images and files that no other patient may have."""
        ...


S = TypeVar("S", bound=NamedSlide)


@dataclass(frozen=True)
class PatientSlides(Generic[S]):
    """Slides by patient.

    Attributes
    ----------
    slides : dict of str to list
        Slides of the wanted patients that have any.
    left_out : list of LeftOut
        Also slides that the table names for a patient and that were not found.
    said : list of str
        Files whose images belong to several patients, for the user to check.
    """

    slides: dict[str, list[S]]
    left_out: list[LeftOut]
    said: list[str]


def slides_by_patient(
    slides: Sequence[S],
    clinical: Clinical,
    wanted: Collection[str],
    unusable: Iterable[str] = (),
) -> PatientSlides[S]:
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

    Raises
    ------
    DataError
        A slide, its file or its image belongs to two patients, or the name of a project's patient
        differs from that of the table only in case, blanks or Unicode form.
    """
    named = _named(clinical)
    in_project = [(s.patient, f"slide {s.name}") for s in slides if s.patient is not None]
    known = {} if clinical.slides else clinical.meant_by(in_project)
    owned: list[tuple[str, S]] = []
    left_out = []
    for slide in slides:
        patient = _patient(slide, clinical, named, known)
        if patient is None:
            left_out.append(LeftOut("slide", slide.name, NO_PATIENT, _nearly(slide, clinical)))
            continue
        owned.append((patient, slide))
        if patient not in wanted:
            left_out.append(LeftOut("slide", slide.name, NOT_USED))
    said = refuse_images_of_two_patients(
        (image, patient, slide.name) for patient, slide in owned for image in slide.file_images
    )
    found: dict[str, list[S]] = {}
    for patient, slide in owned:
        if patient in wanted:
            found.setdefault(patient, []).append(slide)
    there = {name for slide in slides for name in _names(slide)}
    there |= {each for name in unusable for each in (clean(name), PurePath(clean(name)).stem)}
    left_out += [
        LeftOut("slide", name, NOT_THERE, f"of patient {patient}")
        for name, patient in named.items()
        # Of a patient without any slide, that is said below.
        if patient in found and name not in there
    ]
    left_out += [LeftOut("patient", p, NO_SLIDE) for p in sorted(set(wanted) - found.keys())]
    return PatientSlides(found, left_out, said)


def _names(slide: NamedSlide) -> tuple[str, ...]:
    """Names by which a table may call a slide."""
    names = (slide.name, PurePath(slide.name).stem, slide.path.name, slide.path.stem)
    return tuple(clean(name) for name in names)


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


def _patient(
    slide: NamedSlide, clinical: Clinical, named: Mapping[str, str], known: Mapping[str, str]
) -> str | None:
    names = _names(slide)
    if clinical.slides:
        found = {named[name]: name for name in names if name in named}
        if len(found) > 1:
            (one, name), (other, another) = list(found.items())[:2]
            raise DataError(
                f"{clinical.path}: slide {slide.name!r} belongs to two patients, {one!r} (as "
                f"{name!r}) and {other!r} (as {another!r}); keep one"
            )
        return next(iter(found), None)
    if slide.patient is not None:
        return known.get(slide.patient)
    keyed = [match_key(clinical.match)(name) for name in names]
    fitting = [p for p in clinical.patients if any(begins_with(name, p) for name in keyed)]
    return max(fitting, key=len, default=None)


def _nearly(slide: NamedSlide, clinical: Clinical) -> str:
    """Say which patient a slide of nobody may be of, by its name without regard to case."""
    if clinical.slides or slide.patient is not None:
        return ""
    names = [name.casefold() for name in _names(slide)]
    fitting = [
        patient
        for patient in clinical.patients
        if any(begins_with(name, patient.casefold()) for name in names)
    ]
    near = max(fitting, key=len, default=None)
    return "" if near is None else f"but of {near!r} ignoring case (--match case)"


def begins_with(name: str, patient: str) -> bool:
    """Whether the name of a slide is a patient's, or goes on with no letter and no digit."""
    return name.startswith(patient) and not name[len(patient) :][:1].isalnum()
