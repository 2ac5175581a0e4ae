"""The features of a user's slides, by patient: found and checked."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import DataError, FeatureFileError
from qupath_hccmil.features.feature_file import SlideFeatures, feature_files, open_features
from qupath_hccmil.model_store.model_config import FeatureConfig
from qupath_hccmil.qupath.export.patient_of_image import patient_by_key
from qupath_hccmil.qupath.open_project import open_project
from qupath_hccmil.qupath.selection import choose_images
from qupath_hccmil.slide_sources.file_image import FileImage
from qupath_hccmil.slide_sources.left_out import LeftOut
from qupath_hccmil.slide_sources.outlined_slides import (
    SAME_NAME,
    is_project,
    refuse_images,
    table_slides,
)
from qupath_hccmil.slides.slide_files import SUFFIXES, slide_files, without_suffix
from qupath_hccmil.tables.names import clean, match_key
from qupath_hccmil.tables.table_reader import SUFFIXES as TABLE_SUFFIXES
from qupath_hccmil.training.clinical_table import Clinical
from qupath_hccmil.training.patient_slides import NO_SLIDE, begins_with, slides_by_patient
from qupath_hccmil.training.prepare_bags import Tiling

NO_FEATURES = "no features"
# Pixel sizes that scanners write differ in the third digit.
_SAME_SIDE = 0.01


@dataclass(frozen=True)
class PatientFeatures:
    """The features of one patient, in the files of all their slides.

    Attributes
    ----------
    patient : str
    slides : tuple of SlideFeatures
        At least one.
    """

    patient: str
    slides: tuple[SlideFeatures, ...]

    def __len__(self) -> int:
        return sum(slide.count for slide in self.slides)

    def read(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Features ``(n, d)`` of some tiles, by default of all; whole files are read."""
        features = np.concatenate([slide.read() for slide in self.slides])
        return features if rows is None else features[rows]

    @property
    def stamp(self) -> str:
        """Hash that changes if a file is another one or was written again."""
        stats = [(slide.path, slide.path.stat()) for slide in self.slides]
        files = [(path.name, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()


@dataclass(frozen=True)
class FoundFeatures:
    """Features by patient, and the patients and slides that could not be used.

    Attributes
    ----------
    folder : Path
    bags : dict of str to PatientFeatures
    shared : FeatureConfig
        What all files have in common.
    left_out : list of LeftOut
    said : list of str
        Lines for the user, on what the files do not say and on files of several patients.
    """

    folder: Path
    bags: dict[str, PatientFeatures]
    shared: FeatureConfig
    left_out: list[LeftOut] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """Hash of all files that are used."""
        stamps = [(patient, bag.stamp) for patient, bag in sorted(self.bags.items())]
        return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()


@dataclass(frozen=True)
class _FeaturesOfSlide:
    """Features of a slide, with what :func:`slides_by_patient` needs."""

    features: SlideFeatures
    patient: str | None = None
    of_slide: FileImage | None = None

    @property
    def name(self) -> str:
        return self.features.slide

    @property
    def path(self) -> Path:
        return self.features.path

    @property
    def file_images(self) -> tuple[FileImage, ...]:
        of_slide = () if self.of_slide is None else (self.of_slide,)
        return (FileImage.of(self.path), *of_slide)


def find_features(
    features: Path,
    source: Path,
    clinical: Clinical,
    wanted: Collection[str],
    tiling: Tiling | None = None,
) -> FoundFeatures:
    """Find the features of patients.

    Parameters
    ----------
    features : Path
        Folder of feature files: ours, or those of CLAM, TRIDENT or STAMP.
    source : Path
        The slides to use: a QuPath project, a folder of slides, a slide or a table of slides. The
        same as `features` if there are no slides here, for all slides that have features.
    clinical : Clinical
        Says which slides belong to which patient; a project's metadata do so as well.
    wanted : collection of str
        Patients to use.
    tiling : Tiling, optional
        Which images of a project, the engine that opens it, and the metadata key of the patient.

    Raises
    ------
    DataError
        A file is damaged, two files are of one slide, encoders or tile sizes are mixed, no patient
        has features, or patients and slides are not as :func:`slides_by_patient` needs them.
    """
    files = _opened(feature_files(features))
    by_name = _by_name(files)
    left_out: list[LeftOut] = []
    if source.resolve() == features.resolve():
        refuse_images(source, tiling.images if tiling else ())
        slides = [_FeaturesOfSlide(file) for file in files]
    else:
        slides = []
        named = _slides(source, tiling or Tiling())
        times = Counter(without_suffix(name) for name, _, _ in named)
        for name, patient, image in named:
            found = by_name.get(without_suffix(name))
            if found is None:
                left_out.append(LeftOut("slide", name, NO_FEATURES))
            elif times[without_suffix(name)] > 1:
                # Whose features they are is not known, and their tiles would count twice.
                left_out.append(LeftOut("slide", name, SAME_NAME, found.path.name))
            else:
                slides.append(_FeaturesOfSlide(found, patient, image))
    without = {one.name for one in left_out}
    of_patients = slides_by_patient(slides, clinical, wanted, without)
    left_out += [_with_reason(one, clinical, without) for one in of_patients.left_out]
    bags = {
        patient: PatientFeatures(patient, tuple(slide.features for slide in of))
        for patient, of in sorted(of_patients.slides.items())
    }
    if not bags:
        first = f" ({left_out[0]})" if left_out else ""
        raise DataError(f"{features}: no patient of {clinical.path} has features there{first}")
    used = [slide for bag in bags.values() for slide in bag.slides]
    shared, said = _shared(used)
    return FoundFeatures(features, bags, shared, left_out, [*of_patients.said, *said])


def check_features(found: FoundFeatures, needed: FeatureConfig, model: str) -> None:
    """Refuse features that are not those a model was trained on.

    Raises
    ------
    DataError
        They are of another encoder, width, stain normalisation, or size of tiles.
    """
    here = found.shared
    for what, ours, theirs in (
        ("features per tile", here.width, needed.width),
        ("encoder", here.encoder, needed.encoder),
        ("encoder weights", here.encoder_sha256, needed.encoder_sha256),
        ("stain normalisation", here.stain, needed.stain),
        ("pixels per tile", here.tile_px, needed.tile_px),
    ):
        if ours is not None and theirs is not None and ours != theirs:
            raise DataError(
                f"{found.folder}: {what} {_shown(ours)}, but {model} was trained with "
                f"{_shown(theirs)}; compute features as for the model"
            )
    if _differ(here.tile_um, needed.tile_um):
        raise DataError(
            f"{found.folder}: its tiles are {here.tile_um:g} µm wide, but {model} was trained with "
            f"{needed.tile_um:g} µm; compute features with tiles of that size"
        )


def _opened(paths: Sequence[Path]) -> list[SlideFeatures]:
    """Open all files; those that cannot be used are named together, and not one a run."""
    files: list[SlideFeatures] = []
    wrong: dict[Path, FeatureFileError] = {}
    for path in paths:
        try:
            files.append(open_features(path))
        except FeatureFileError as error:
            wrong[path] = error
    if wrong:
        first, *others = wrong
        also = ", ".join(path.name for path in others[:20])
        more = ", …" if len(others) > 20 else ""
        told = f"; {len(others)} more cannot be used: {also}{more}" if others else ""
        raise FeatureFileError(f"{wrong[first]}{told}")
    return files


def _by_name(files: Sequence[SlideFeatures]) -> dict[str, SlideFeatures]:
    """Files by the names that their slide may have, with or without a suffix."""
    found: dict[str, SlideFeatures] = {}
    for file in files:
        for name in {without_suffix(file.slide), without_suffix(file.path.stem)}:
            other = found.setdefault(name, file)
            if other is not file:
                raise DataError(
                    f"{file.path}: is of slide {name}, and so is {other.path.name}; keep the one "
                    "of the encoder and tiles that should be used"
                )
    return found


def _slides(source: Path, tiling: Tiling) -> list[tuple[str, str | None, FileImage]]:
    """Names of the slides of a source, their patients according to a project, and their images."""
    if is_project(source):
        patient_of = patient_by_key(tiling.patient_key)
        with open_project(source, tiling.engine) as project:
            entries = choose_images(project, tiling.images)
            return [
                (
                    entry.name,
                    patient_of(entry),
                    FileImage.of_project(entry, project, tiling.slides_dir),
                )
                for entry in entries
            ]
    refuse_images(source, tiling.images)
    if source.is_dir():
        found = slide_files(source)
    elif source.suffix.lower() in TABLE_SUFFIXES:
        found = table_slides(source)
    else:
        found = [source]
    if not found:
        raise DataError(
            f"{source}: contains no slides ({', '.join(sorted(SUFFIXES))}); if the slides are not "
            "here, give the folder of features as SOURCE too"
        )
    return [(path.name, None, FileImage.of(path)) for path in found]


def _with_reason(one: LeftOut, clinical: Clinical, without: Collection[str]) -> LeftOut:
    """Say of a patient without a slide whether there are slides, but without features."""
    if one.what != "patient" or one.reason != NO_SLIDE:
        return one
    plain = {without_suffix(name): name for name in without}
    named = clinical.slides.get(one.name, ())
    own = [plain[without_suffix(name)] for name in named if without_suffix(name) in plain]
    key = match_key(clinical.match)
    own = own or [name for name in sorted(without) if begins_with(key(clean(name)), one.name)]
    return LeftOut("patient", one.name, NO_FEATURES, ", ".join(own)) if own else one


def _shared(slides: Sequence[SlideFeatures]) -> tuple[FeatureConfig, list[str]]:
    """What all files have in common; refuses files that do not fit together."""
    said: list[str] = []
    encoder = _one(slides, {s.path: s.encoder for s in slides}, "encoder")
    sha256 = _one(slides, {s.path: s.encoder_sha256 for s in slides}, "encoder weights")
    width = _one(slides, {s.path: s.width for s in slides}, "number of features per tile")
    stain = _one(slides, {s.path: _text(s, "stain") for s in slides}, "stain normalisation")
    sides = {slide.path: slide.tile_um for slide in slides if slide.tile_um is not None}
    first = next(iter(sides), None)
    for path, side in sides.items():
        if first is not None and _differ(side, sides[first]):
            raise DataError(
                f"{path}: its tiles are {side:g} µm wide, but those of {first.name} are "
                f"{sides[first]:g} µm; give features of one size of tiles"
            )
    pixels = {slide.path: slide.tile_px for slide in slides if slide.tile_px is not None}
    tile_px = _one(slides, pixels, "pixels per tile") if pixels else None
    if unknown := [slide for slide in slides if slide.tile_um is None]:
        level0 = Counter(slide.tile_level0_px for slide in unknown).most_common()
        widths = ", ".join(
            f"{count} with {'unknown' if px is None else f'{px:g} px'}" for px, count in level0
        )
        said.append(
            f"{len(unknown)} of {len(slides)} files of features do not say how large their tiles "
            f"are in µm (level-0 width: {widths}); check that it is one size"
        )
    if encoder is None:
        said.append("the files of features do not name their encoder; check that it is one")
    assert isinstance(width, int)
    return (
        FeatureConfig(
            encoder=None if encoder is None else str(encoder),
            encoder_sha256=None if sha256 is None else str(sha256),
            width=width,
            tile_um=None if first is None else round(float(sides[first]), 6),
            tile_px=None if tile_px is None else int(tile_px),
            stain=None if stain is None else str(stain),
        ),
        said,
    )


def _one(
    slides: Sequence[SlideFeatures], values: Mapping[Path, str | int | None], what: str
) -> str | int | None:
    """The value of all files that have one; refuses two values, and names a file of each."""
    known = {path: value for path, value in values.items() if value is not None}
    if not known:
        return None
    first = next(iter(known))
    for path, value in known.items():
        if value != known[first]:
            raise DataError(
                f"{path}: {what} {_shown(value)}, but {first.name} has {_shown(known[first])}; "
                f"give features that were all made in one way ({len(slides)} files are used)"
            )
    return known[first]


def _shown(value: str | int) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text


def _text(slide: SlideFeatures, name: str) -> str | None:
    value = slide.attributes.get(name)
    return None if value is None else str(value)


def _differ(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and abs(one - other) > _SAME_SIDE * other
