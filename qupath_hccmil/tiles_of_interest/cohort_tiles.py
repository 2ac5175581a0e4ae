"""Scored tiles of the images of several projects, read from what is written in the projects."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import DataError, HccMilError
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import ImageEntry, ImageState
from qupath_hccmil.qupath.export.patient_of_image import PatientOf, patient_by_key
from qupath_hccmil.qupath.open_project import EngineChoice, open_project
from qupath_hccmil.qupath.project_folder import Project
from qupath_hccmil.qupath.run_record import RunRecord
from qupath_hccmil.qupath.selection import labels
from qupath_hccmil.qupath.staleness import is_scored, is_stale, recorded
from qupath_hccmil.qupath.tile_ids import copies, tile_ids
from qupath_hccmil.tables.names import refuse_two_spellings

GroupLevel = Literal["patient", "slide"]


@dataclass(frozen=True)
class CohortProject:
    """A project of a cohort.

    Attributes
    ----------
    label : str
        Its folder's name; the folder's path where two have one name.
    path : Path
        The ``.qpproj``.
    previous_uri : str or None
        Where it was when QuPath saved it, by which slides that moved along are found.
    """

    label: str
    path: Path
    previous_uri: str | None

    @property
    def folder(self) -> Path:
        """Folder of the project."""
        return self.path.parent


@dataclass(frozen=True, eq=False)
class TileColumns:
    """Tiles of one image, each once, however many outlines hold it.

    Attributes
    ----------
    bounds : (n, 4) float64
        x, y, width, height, level-0 px.
    risk, logit, contribution, nuclei_fraction : (n,) float64
        NaN where a tile has no value.
    class_names, tile_ids : (n,) object
    outline : (n,) int64
        Row of the first outline that holds the tile.
    outlines : sequence of (str, str or None)
        UUID and name of each outline.
    """

    bounds: NDArray[np.float64]
    risk: NDArray[np.float64]
    logit: NDArray[np.float64]
    contribution: NDArray[np.float64]
    nuclei_fraction: NDArray[np.float64]
    class_names: NDArray[np.object_]
    tile_ids: NDArray[np.object_]
    outline: NDArray[np.int64]
    outlines: Sequence[tuple[str, str | None]]

    def __len__(self) -> int:
        return len(self.bounds)

    def rows(self, chosen: NDArray[np.int64]) -> TileColumns:
        """Some of the tiles."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in _COLUMNS})


_COLUMNS = (
    "bounds", "risk", "logit", "contribution", "nuclei_fraction", "class_names", "tile_ids",
    "outline",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ScoredImage:
    """An image with its scored tiles.

    Attributes
    ----------
    project : CohortProject
    entry : ImageEntry
    label : str
        Its name, with the entry's ID where several images of the project have the name.
    patient : str or None
    record : RunRecord
        Of the run that scored it.
    stale : bool
        Whether outlines or tiles were changed since.
    tiles : TileColumns
    """

    project: CohortProject
    entry: ImageEntry
    label: str
    patient: str | None
    record: RunRecord
    stale: bool
    tiles: TileColumns

    @property
    def called(self) -> str:
        """What to call it in a message about several projects."""
        return f"{self.project.label}: {self.label}"

    def unit(self, level: GroupLevel) -> tuple[str, ...]:
        """What its tiles are grouped by: the patient, or the image itself."""
        if level == "patient":
            assert self.patient is not None
            return (self.patient,)
        return (self.project.label, self.entry.id)


@dataclass
class Cohort:
    """Projects whose scored images are read one after the other.

    Attributes
    ----------
    projects : list of CohortProject
    notes : list of str
        Notes for the user: stale images, images without a score.
    failed : list of str
        Images that could not be read, with the reason.
    """

    projects: list[CohortProject]
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _engine: EngineChoice = "auto"
    _patient_of: PatientOf = field(default_factory=patient_by_key)
    _level: GroupLevel = "slide"

    @classmethod
    def of(
        cls,
        paths: Sequence[Path],
        engine: EngineChoice = "auto",
        patient_of: PatientOf | None = None,
        level: GroupLevel = "slide",
    ) -> Cohort:
        """Name the projects of a cohort.

        Parameters
        ----------
        paths : sequence of Path
            Folders or ``.qpproj`` files.
        engine : {"auto", "paquo", "native"}
        patient_of : callable, optional
            Patient of an image; by default the usual metadata keys, *Patient ID* first.
        level : {"slide", "patient"}
            With ``patient`` each scored image must have one.

        Raises
        ------
        DataError
            A project is given twice.
        ProjectError, EngineError
        """
        found: list[tuple[Path, str | None]] = []
        for path in paths:
            with open_project(path, engine) as project:
                found.append((project.path.resolve(), project.previous_uri))
        for path, count in Counter(path for path, _ in found).items():
            if count > 1:
                raise DataError(f"{path}: is given twice; give each project once")
        known = Counter(path.parent.name for path, _ in found)
        projects = [
            CohortProject(
                path.parent.name if known[path.parent.name] == 1 else str(path.parent), path, uri
            )
            for path, uri in found
        ]
        return cls(
            projects, _engine=engine, _patient_of=patient_of or patient_by_key(), _level=level
        )

    def images(self) -> Iterator[ScoredImage]:
        """Read the scored images, in the projects' order; those of no score are noted.

        Raises
        ------
        DataError
            Images were scored by different models; or, where patients are asked for, a scored image
            has none, or two have names that differ only in case, blanks or Unicode form.
        """
        models = _OneModel()
        patients: dict[str, str] = {}
        self.notes.clear()
        self.failed.clear()
        for place in self.projects:
            unscored = []
            with open_project(place.path, self._engine) as project:
                called = labels(project.images)
                for entry in project.images:
                    try:
                        state = project.read(entry)
                    except HccMilError as error:
                        self._fail(place, called[entry.id], error)
                        continue
                    if not is_scored(state):
                        unscored.append(called[entry.id])
                        continue
                    image = self._image(place, project, state, called[entry.id])
                    if image is not None:
                        models.check(image)
                        if image.patient is not None and self._level == "patient":
                            patients.setdefault(image.patient, image.called)
                        yield image
            if unscored:
                self.notes.append(
                    f"{place.label}: {len(unscored)} without a score left out: {_some(unscored)}"
                )
        refuse_two_spellings(patients.items(), None)

    def _image(
        self, place: CohortProject, project: Project, state: ImageState, label: str
    ) -> ScoredImage | None:
        record = recorded(state)
        if record is None:
            self.failed.append(
                f"{place.label}: {label}: was scored by a version that kept no record of its model"
                "; score it again"
            )
            return None
        image = ScoredImage(
            place, state.entry, label, self._patient_of(state.entry), record, is_stale(state),
            _tiles(state),
        )  # fmt: skip
        if self._level == "patient" and image.patient is None:
            raise DataError(
                f"{image.called}: no patient; give the image the metadata 'Patient ID' in QuPath, "
                "name another key with --patient-key, or use --level slide"
            )
        if image.stale:
            self.notes.append(
                f"{image.called}: is stale: outlines or tiles were changed since it was scored; "
                f"score --resume {place.folder}"
            )
        return image

    def _fail(self, place: CohortProject, label: str, error: HccMilError) -> None:
        reason = str(error).removeprefix(f"{label}: ")
        self.failed.append(f"{place.label}: {label}: {reason}")


@dataclass
class _OneModel:
    """Values of two models can't be compared, so all images must be of one."""

    _first: ScoredImage | None = None

    def check(self, image: ScoredImage) -> None:
        first = self._first = self._first or image
        if _model(first.record) != _model(image.record):
            raise DataError(
                "the images were scored by different models, whose tiles can't be compared: "
                f"{_told(first)} and {_told(image)}; score them again with one"
            )


def _model(record: RunRecord) -> tuple[object, ...]:
    return record.weights_sha256, record.p, record.threshold


def _told(image: ScoredImage) -> str:
    record = image.record
    return (
        f"{record.model} ({record.weights_sha256[:8]}, p {record.p:g}, threshold "
        f"{record.threshold:g}) in {image.called}"
    )


def _some(listed: Sequence[str]) -> str:
    return ", ".join(listed[:5]) + (", …" if len(listed) > 5 else "")


def _tiles(state: ImageState) -> TileColumns:
    """Join the tiles of all outlines; one that several share counts once, for the first."""
    numbers = copies(each.id for each in state.annotations)
    held = [
        (each, state.results.tiles[each.index])
        for each in state.annotations
        if len(state.results.tiles.get(each.index, ()))
    ]
    bounds = np.concatenate([tiles.bounds for _, tiles in held] or [np.empty((0, 4))])
    _, first = np.unique(np.round(bounds, 3), axis=0, return_index=True)
    first = np.sort(first)

    def joined(name: str) -> NDArray[np.float64]:
        parts = [
            np.asarray(tiles.measurements.get(name, np.full(len(tiles), np.nan)), np.float64)
            for _, tiles in held
        ]
        return np.concatenate(parts or [np.empty(0)])[first]

    ids = [
        each
        for outline, tiles in held
        for each in tile_ids(outline.id, tiles.bounds, numbers[outline.index])
    ]
    classes = [name for _, tiles in held for name in tiles.class_names]
    rows = np.repeat(np.arange(len(held)), [len(tiles) for _, tiles in held])
    return TileColumns(
        bounds[first],
        joined(names.TILE_RISK),
        joined(names.TILE_LOGIT),
        joined(names.TILE_CONTRIBUTION),
        joined(names.TILE_NUCLEI_FRACTION),
        np.array(classes, dtype=object)[first],
        np.array(ids, dtype=object)[first],
        rows.astype(np.int64)[first],
        [(outline.id, outline.name) for outline, _ in held],
    )


def patient_tiles(images: Sequence[ScoredImage]) -> dict[str, int]:
    """Scored tiles of each patient, over all slides."""
    counts: dict[str, int] = defaultdict(int)
    for image in images:
        if image.patient is not None:
            counts[image.patient] += image.record.tiles
    return counts
