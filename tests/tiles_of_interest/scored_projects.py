"""Projects with scores that the tests choose, written by our own engine: no network runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import shapely

from qupath_hccmil.method.aggregation import group_name, risk, signed_power, slide_logit
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.data_types import (
    Annotation,
    ImageResults,
    Server,
    TileObjects,
    WorkflowStep,
)
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint, outline_fingerprint
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.run_record import OutlineRecord, RunRecord, listed_metadata
from tests.drawn_slides import texture, write_pyramid

TILE = 128
MPP = 1.0
POWER, THRESHOLD = 3.0, 0.4457
MODEL = "a" * 64


@dataclass(frozen=True)
class Scored:
    """An image to make: its tiles' logits, by row and then column of a grid.

    `overlapping` adds a second outline over all of the first one's tiles.
    """

    name: str
    logits: Sequence[float]
    columns: int = 4
    patient: str | None = None
    weights: str = MODEL
    overlapping: bool = False
    scored: bool = True
    surrogate: bool = True
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, px."""
        rows = -(-len(self.logits) // self.columns)
        return self.columns * TILE, rows * TILE


def make_project(folder: Path, images: Sequence[Scored], slides: Path | None = None) -> Path:
    """Make slides, a project of them, and scores in it; return the project's folder."""
    slides = slides or folder / "slides"
    slides.mkdir(parents=True, exist_ok=True)
    new = []
    for number, image in enumerate(images):
        width, height = image.size
        path = slides / f"{folder.name}-{number}.tif"
        if not path.exists():
            write_pyramid(path, texture(width, height, seed=number), mpp=MPP)
        outlines = [NewAnnotation(shapely.box(0, 0, width, height), "Tumor", f"outline {k}")
                    for k in range(2 if image.overlapping else 1)]  # fmt: skip
        metadata = dict(image.metadata)
        if image.patient is not None:
            metadata["Patient ID"] = image.patient
        new.append(
            NewImage(path, image.name, width, height, MPP, annotations=outlines, metadata=metadata)
        )
    project = create_project(folder / "qupath" if slides.parent == folder else folder, new).parent
    score(project, images)
    return project


def score(project: Path, images: Sequence[Scored]) -> None:
    """Write scores as a run would."""
    with NativeProject(project) as opened:
        opened.add_classes(names.CLASS_COLOURS)
        for entry, image in zip(opened.images, images, strict=True):
            if image.scored:
                state = opened.read(entry)
                opened.write(entry, _results(state.annotations, image), state.stamp)


def score_image(project: Path, name: str, bounds: np.ndarray) -> Server:
    """Write scores into one image of any project, whose tiles (n, 4) are where they are given."""
    logits = np.linspace(1, -1, len(bounds)).tolist()
    with NativeProject(project) as opened:
        entry = next(each for each in opened.images if each.name == name)
        state = opened.read(entry)
        tumours = [each for each in state.annotations if each.class_name == "Tumor"][:1]
        opened.write(entry, _results(tumours, Scored(name, logits), bounds), state.stamp)
    return entry.server


def _grid(image: Scored) -> np.ndarray:
    places = np.arange(len(image.logits))
    corner = np.stack([places % image.columns, places // image.columns], axis=1) * float(TILE)
    return np.concatenate([corner, np.full((len(places), 2), float(TILE))], axis=1)


def _results(
    annotations: Sequence[Annotation], image: Scored, bounds: np.ndarray | None = None
) -> ImageResults:
    logits = np.asarray(image.logits, float)
    n = len(logits)
    bounds = _grid(image) if bounds is None else bounds
    tile_risk = risk(logits)
    tiles = TileObjects(
        bounds,
        np.where(tile_risk > THRESHOLD, names.CLASS_HIGH, names.CLASS_LOW).tolist(),
        {
            names.TILE_RISK: tile_risk,
            names.TILE_LOGIT: logits,
            names.TILE_CONTRIBUTION: signed_power(logits, POWER) / n,
            names.TILE_NUCLEI_FRACTION: np.linspace(0.1, 0.4, n),
        },
    )
    logit = slide_logit(logits, POWER)
    r = float(risk(logit))
    record = RunRecord(
        risk=r, logit=logit, group=group_name(r, THRESHOLD), tiles=n, p=POWER, threshold=THRESHOLD,
        model="made-model", surrogate=image.surrogate, weights_sha256=image.weights,
        settings_sha256="b" * 64, version="0.0", time="2026-11-27T00:00:00+00:00", mpp=MPP,
        mpp_source="qupath", fingerprint=annotation_fingerprint(annotations),
        settings={"annotation_classes": ["Tumor"]},
        outlines=tuple(
            OutlineRecord(each.index, each.id, outline_fingerprint(each), n, 0, 0)
            for each in annotations
        ),
        stain={}, background=0, blurred=0, measurements=tuple(sorted(names.MEASUREMENTS)),
    )  # fmt: skip
    step = WorkflowStep(names.STEP_NAME, "// made", {names.STEP_RECORD: record.to_parameter()})
    values = {names.ANNOTATION_RISK: r, names.ANNOTATION_LOGIT: logit, names.ANNOTATION_TILES: n}
    return ImageResults(
        annotations={each.index: {k: float(v) for k, v in values.items()} for each in annotations},
        tiles={each.index: tiles for each in annotations},
        root={names.SLIDE_RISK: r, names.SLIDE_LOGIT: logit, names.SLIDE_TILES: float(n)},
        metadata=listed_metadata(record),
        step=step,
    )


def write_reviews(
    folder: Path, reviewer: str, reviews: Sequence[dict], *, name: str | None = None, **more
) -> Path:
    """Write a file of reviews as QuPath's window or the gallery does."""
    path = folder / "hccmil-reviews" / f"{name or reviewer}.json"
    path.parent.mkdir(exist_ok=True)
    content = {
        "format": "hccmil-reviews 1",
        "reviewer": reviewer,
        "features": ["Stroma", "Immune cell infiltration"],
        "reviews": list(reviews),
        **more,
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def review(of: str, place: int, columns: int = 4, **change) -> dict:
    """One entry of such a file, of the tile at a place of an image's grid."""
    x, y = place % columns * TILE, place // columns * TILE
    entry = {
        "image_id": of, "image": "as shown", "tile": [x, y, TILE, TILE], "model": MODEL,
        "verdict": None, "features": {}, "blinded": True, "time": "2026-11-27T03:40:00Z",
    }  # fmt: skip
    return {**entry, **change}


def with_model(images: Sequence[Scored], weights: str) -> list[Scored]:
    """The same, scored by another model."""
    return [replace(image, weights=weights) for image in images]
