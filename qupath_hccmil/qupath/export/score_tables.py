"""Scores of a project as tables: by image, annotation, tile and patient.

A table is read image by image, so that it never has to fit into memory; see
:mod:`qupath_hccmil.tables.export_columns` for the meaning of each column.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import DataError, HccMilError
from qupath_hccmil.method.aggregation import group_name, risk
from qupath_hccmil.method.patient_score import PatientRule, patient_logit, rule_text
from qupath_hccmil.method.published_numbers import POWER, THRESHOLD
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import Annotation, ImageEntry, ImageState, TileObjects
from qupath_hccmil.qupath.export.patient_of_image import PatientOf, patient_by_key
from qupath_hccmil.qupath.project_folder import Project
from qupath_hccmil.qupath.staleness import incomplete, is_scored, is_stale, recorded
from qupath_hccmil.qupath.tile_ids import copies, tile_ids
from qupath_hccmil.slides.inside_outline import outline_area
from qupath_hccmil.tables.export_columns import Level, columns_of
from qupath_hccmil.tables.names import refuse_two_spellings
from qupath_hccmil.tables.table import Batch, Table

Failed = Callable[[ImageEntry, HccMilError], None]


def table(
    project: Project,
    level: Level,
    *,
    join: PatientRule = "pool",
    patient_of: PatientOf | None = None,
    classes: Sequence[str] = (),
    failed: Failed | None = None,
) -> Table:
    """Table of the scores of a project.

    Parameters
    ----------
    project : Project
    level : {"image", "annotation", "tile", "patient"}
        What a row is. ``image``: those that were never scored have empty values. ``annotation``:
        scored ones. ``tile``: a tile of an annotation, so one that lies in two has two rows.
        ``patient``: in the order of their first image; unscored ones have empty values.
    join : {"pool", "max", "mean"}
        How several slides of a patient become one score, see
        :mod:`qupath_hccmil.method.patient_score`; named in the column ``rule``. p and t are those
        that the slides were scored with.
    patient_of : callable or None
        Returns the patient of an image; None uses the usual metadata keys.
    classes : sequence of str
        Classes of tumour outlines for deciding whether a score is stale; empty for those of the
        run.
    failed : callable or None
        Called for each image whose data cannot be read, which is then left out; None raises.

    Returns
    -------
    Table
        Is read when it is written.

    Raises
    ------
    DataError
        While a table of patients is read: a scored image has no patient, slides of one patient were
        scored by different models, or two patients have names that differ only in case, blanks or
        Unicode form.
    """
    images = _Images(project, patient_of or patient_by_key(), classes, failed)
    if level == "tile":
        return Table("tile", images.tile_batches())
    rows_of: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "image": images.image_rows,
        "annotation": images.annotation_rows,
        "patient": partial(images.patient_rows, join),
    }
    order = [column.name for column in columns_of(level)]
    return Table(level, ({name: [row[name]] for name in order} for row in rows_of[level]()))


@dataclass(frozen=True)
class _Images:
    """The images of a project, read one after the other for the rows of a table."""

    project: Project
    patient_of: PatientOf
    classes: Sequence[str]
    failed: Failed | None

    def image_rows(self) -> Iterator[dict[str, Any]]:
        return (_image_row(state, self.patient_of, self.classes) for state in self._states())

    def annotation_rows(self) -> Iterator[dict[str, Any]]:
        for state in self._states():
            yield from _annotation_rows(state, self.patient_of, self.classes)

    def tile_batches(self) -> Iterator[Batch]:
        for state in self._states():
            for annotation in state.annotations:
                tiles = state.results.tiles.get(annotation.index)
                if tiles:
                    yield _tile_batch(state, annotation, tiles, self.patient_of)

    def patient_rows(self, join: PatientRule) -> Iterator[dict[str, Any]]:
        slides: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in self.image_rows():
            if row["patient"] is not None:
                slides[row["patient"]].append(row)
            elif row["risk_logit"] is not None:
                raise DataError(
                    f"{row['image']}: has no patient; give the image the metadata 'Patient ID' in"
                    " QuPath, name another key, or give a table with the columns image and patient"
                )
        refuse_two_spellings(
            ((patient, f"image {mine[0]['image']}") for patient, mine in slides.items()), None
        )
        for patient, mine in slides.items():
            yield _patient_row(patient, mine, join)

    def _states(self) -> Iterator[ImageState]:
        for entry in self.project.images:
            try:
                state = self.project.read(entry)
            except HccMilError as error:
                if self.failed is None:
                    raise
                self.failed(entry, error)
            else:
                yield state


# --------------------------------------------------------------------------- rows


def _identity(entry: ImageEntry, patient_of: PatientOf) -> dict[str, Any]:
    return {"image": entry.name, "entry_id": entry.id, "patient": patient_of(entry)}


def _provenance(state: ImageState, classes: Sequence[str]) -> dict[str, Any]:
    """Where the values are from: the record of the run whose results the image's data hold."""
    record = recorded(state)
    return {
        "mpp": record and record.mpp,
        "mpp_source": record and record.mpp_source,
        "stale": is_stale(state, classes) if is_scored(state) else None,
        "model": record and record.model,
        "weights_sha256": record and record.weights_sha256,
        "settings_sha256": record and record.settings_sha256,
        "version": record and record.version,
        "time": record and record.time,
    }


def _image_row(state: ImageState, patient_of: PatientOf, classes: Sequence[str]) -> dict[str, Any]:
    record, root = recorded(state), state.results.root
    count = root.get(names.SLIDE_TILES)
    return {
        **_identity(state.entry, patient_of),
        "risk": root.get(names.SLIDE_RISK),
        "risk_logit": root.get(names.SLIDE_LOGIT),
        "group": record and record.group,
        "tiles": None if count is None else int(count),
        # of some of its tiles a slide has no figure
        **_tile_summary(() if incomplete(state) else state.results.tiles.values()),
        **_model_settings(state),
        **_provenance(state, classes),
    }


def _model_settings(state: ImageState) -> dict[str, Any]:
    """Of the run: p and t are in every table, so that none is read with another model's."""
    record = recorded(state)
    return {
        "p": record and record.p,
        "threshold": record and record.threshold,
    }


def _tile_summary(parts: Iterable[TileObjects]) -> dict[str, float | None]:
    """Summarise the tiles of a slide; one that several annotations share counts once."""
    held = [part for part in parts if len(part)]
    if not held:
        return {"high_risk_tile_fraction": None, "nuclei_fraction": None}
    _, first = np.unique(np.concatenate([p.bounds for p in held]), axis=0, return_index=True)
    classes = np.concatenate([np.asarray(part.class_names, dtype=object) for part in held])
    nuclei = np.concatenate([part.measured(names.TILE_NUCLEI_FRACTION) for part in held])[first]
    known = nuclei[np.isfinite(nuclei)]
    return {
        "high_risk_tile_fraction": float(np.mean(classes[first] == names.CLASS_HIGH)),
        "nuclei_fraction": float(known.mean()) if known.size else None,
    }


def _annotation_rows(
    state: ImageState, patient_of: PatientOf, classes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    shared = {
        **_identity(state.entry, patient_of),
        **_model_settings(state),
        **_provenance(state, classes),
    }
    for annotation in state.annotations:
        values = state.results.annotations.get(annotation.index)
        if values is None:
            continue
        count = values.get(names.ANNOTATION_TILES)
        yield {
            **shared,
            "annotation_id": annotation.id,
            "annotation_name": annotation.name,
            "class": annotation.class_name,
            "area_um2": _area_um2(annotation, shared["mpp"]),
            "risk": values.get(names.ANNOTATION_RISK),
            "risk_logit": values.get(names.ANNOTATION_LOGIT),
            "tiles": None if count is None else int(count),
            "high_risk_tile_fraction": values.get(names.ANNOTATION_HIGH_FRACTION),
            "nuclei_fraction": values.get(names.ANNOTATION_NUCLEI_FRACTION),
        }


def _tile_batch(
    state: ImageState, annotation: Annotation, tiles: TileObjects, patient_of: PatientOf
) -> Batch:
    n = len(tiles)
    number = copies(each.id for each in state.annotations)[annotation.index]
    constant = {
        **_identity(state.entry, patient_of),
        "annotation_id": annotation.id,
        "annotation_name": annotation.name,
        **_model_settings(state),
    }
    values = {
        "tile_risk": names.TILE_RISK,
        "tile_logit": names.TILE_LOGIT,
        "tile_contribution": names.TILE_CONTRIBUTION,
        "tile_nuclei_fraction": names.TILE_NUCLEI_FRACTION,
    }
    x, y, width, height = (column.tolist() for column in tiles.bounds.T)
    return {
        **{name: [value] * n for name, value in constant.items()},
        "tile_id": tile_ids(annotation.id, tiles.bounds, number),
        "x_px": x,
        "y_px": y,
        "width_px": width,
        "height_px": height,
        "class": list(tiles.class_names),
        **{name: _finite(tiles.measured(measured)) for name, measured in values.items()},
    }


_JOINED = ("risk", "risk_logit", "group", "tiles", "rule", "p", "threshold")


def _joined(scored: list[dict[str, Any]], join: PatientRule) -> dict[str, Any]:
    """Score of a patient from slides that one model scored."""
    power, threshold = (_setting(scored, name) for name in ("p", "threshold"))
    counts = [row["tiles"] for row in scored]
    logit = patient_logit(join, [row["risk_logit"] for row in scored], counts, power)
    r = float(risk(logit))
    group, rule = group_name(r, threshold), rule_text(join, power)
    values = (r, logit, group, sum(counts), rule, power, threshold)
    return dict(zip(_JOINED, values, strict=True))


def _setting(scored: list[dict[str, Any]], name: str) -> float:
    """Read the model's p or threshold, the same in all slides of a patient; else the published."""
    held = {row[name] for row in scored if row[name] is not None}
    if len(held) > 1:
        values = ", ".join(f"{row['image']}: {row[name]}" for row in scored)
        raise DataError(
            f"Patient {scored[0]['patient']}: slides were scored with different {name} ({values}); "
            "score them again with one model"
        )
    return float(held.pop()) if held else {"p": POWER, "threshold": THRESHOLD}[name]


def _patient_row(patient: str, slides: list[dict[str, Any]], join: PatientRule) -> dict[str, Any]:
    scored = [row for row in slides if row["risk_logit"] is not None and row["tiles"]]
    weights = {row["weights_sha256"] for row in scored}
    if len(weights) > 1:
        models = ", ".join(sorted(f"{row['model']} ({row['image']})" for row in scored))
        raise DataError(
            f"Patient {patient}: slides were scored by different models: {models};"
            " score them again with one"
        )
    return {
        "patient": patient,
        "images": len(slides),
        "images_scored": len(scored),
        **(_joined(scored, join) if scored else dict.fromkeys(_JOINED)),
        "high_risk_tile_fraction": _weighted(scored, "high_risk_tile_fraction"),
        "nuclei_fraction": _weighted(scored, "nuclei_fraction"),
        "stale": any(row["stale"] for row in scored) if scored else None,
        "model": scored[0]["model"] if scored else None,
        "weights_sha256": scored[0]["weights_sha256"] if scored else None,
    }


# --------------------------------------------------------------------------- values


def _weighted(slides: list[dict[str, Any]], name: str) -> float | None:
    """Mean of a slide value over the slides that have it, weighted by tiles."""
    known = [(row["tiles"], row[name]) for row in slides if row[name] is not None]
    total = sum(count for count, _ in known)
    return sum(count * value for count, value in known) / total if total else None


def _finite(values: NDArray[np.float64]) -> list[float | None]:
    return [value if isfinite(value) else None for value in values.tolist()]


def _area_um2(annotation: Annotation, mpp: float | None) -> float | None:
    """Area by the pixel size that the run used, so that it fits the tiles."""
    if annotation.geometry is None or mpp is None:
        return None
    return outline_area(annotation.geometry) * mpp**2
