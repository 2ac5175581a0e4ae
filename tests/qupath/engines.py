"""The native engine beside a QuPath in another process, results to write, and what must agree."""

import math
import struct
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry.base import BaseGeometry

from qupath_hccmil.qupath.data_types import (
    Annotation,
    ImageResults,
    ImageState,
    TileObjects,
    WorkflowStep,
)
from qupath_hccmil.qupath.names import (
    ANNOTATION_LOGIT,
    ANNOTATION_RISK,
    CLASS_HIGH,
    CLASS_LOW,
    META_GROUP,
    META_MODEL,
    SLIDE_RISK,
    STEP_NAME,
    TILE_CONTRIBUTION,
    TILE_LOGIT,
    TILE_NUCLEI_FRACTION,
    TILE_RISK,
)
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.results_comparison import same_results


class Native:
    """The native engine, called in the way of a QuPath in another process."""

    def __call__(self, task: str, *arguments):
        return getattr(self, task)(*arguments)

    def read(self, path: Path) -> list[ImageState]:
        with NativeProject(path) as project:
            return [project.read(entry) for entry in project.images]

    def write(self, path: Path, results: dict[str, ImageResults], stamps: dict[str, str]) -> None:
        with NativeProject(path) as project:
            for entry in project.images:
                if entry.id in results:
                    project.write(entry, results[entry.id], stamps[entry.id])

    def classes(self, path: Path, colours: dict[str, int]) -> None:
        with NativeProject(path) as project:
            project.add_classes(colours)


NATIVE = Native()


def tiles_in(annotation: Annotation, size: float, rng: np.random.Generator) -> TileObjects:
    left, top, right, bottom = annotation.geometry.bounds
    grid = np.stack(np.meshgrid(np.arange(left, right, size), np.arange(top, bottom, size)), -1)
    corners = grid.reshape(-1, 2)
    n = len(corners)
    logit = rng.normal(0, 3, n)
    nuclei = np.where(np.arange(n) % 7 == 0, np.nan, rng.random(n))
    return TileObjects(
        bounds=np.column_stack([corners, np.full((n, 2), size)]),
        class_names=[CLASS_HIGH if each > 0 else CLASS_LOW for each in logit],
        measurements={
            TILE_RISK: 1 / (1 + np.exp(-logit)),
            TILE_LOGIT: logit,
            TILE_CONTRIBUTION: logit / n,
            TILE_NUCLEI_FRACTION: nuclei,
        },
    )


def results_for(state: ImageState, size: float = 128.25) -> ImageResults:
    """A few hundred tiles in each annotation with an area."""
    rng = np.random.default_rng(7)
    chosen = [each for each in state.annotations if each.geometry and each.geometry.area]
    return ImageResults(
        annotations={
            each.index: {ANNOTATION_RISK: float(rng.random()), ANNOTATION_LOGIT: math.nan}
            for each in chosen
        },
        tiles={each.index: tiles_in(each, size, rng) for each in chosen},
        root={SLIDE_RISK: 0.625},
        metadata={META_GROUP: "high", META_MODEL: 'modèle "肝" \\ 1'},
        step=WorkflowStep(STEP_NAME, 'run("ü")\n', {"record": "{}", "seed": "1"}),
    )


def files(project: Path) -> dict[str, bytes]:
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for path in sorted(project.rglob("*"))
        if path.is_file()
    }


def assert_same_geometry(one: BaseGeometry | None, two: BaseGeometry | None) -> None:
    """Within 0.01 px."""
    assert (one is None) == (two is None)
    if one is None or two is None:
        return
    # an empty rectangle is an empty polygon to QuPath 0.5, and one without an area to others
    assert (one.geom_type, one.area == 0) == (two.geom_type, two.area == 0)
    if not (one.is_empty or two.is_empty):
        assert one.hausdorff_distance(two) < 0.01
        assert one.area == pytest.approx(two.area, rel=1e-6)


def _bits(measurements: Mapping[str, float]) -> list[tuple[str, bytes]]:
    """A NaN is equal to itself then."""
    return [(name, struct.pack(">d", value)) for name, value in measurements.items()]


def assert_same_state(one: ImageState, two: ImageState, *, ids: bool = True) -> None:
    """All of it; without `ids` where QuPath had none to store and each reader makes its own."""
    assert (one.entry, one.image_type, one.object_count) == (
        two.entry,
        two.image_type,
        two.object_count,
    )
    assert len(one.annotations) == len(two.annotations)
    for left, right in zip(one.annotations, two.annotations, strict=True):
        for field in fields(Annotation):
            a, b = getattr(left, field.name), getattr(right, field.name)
            if field.name == "geometry":
                assert_same_geometry(a, b)
            elif field.name == "measurements":
                assert _bits(a) == _bits(b)
            elif ids or field.name not in ("id", "parent"):
                assert a == b
    assert same_results(one.results, two.results)
    assert one.results.metadata == two.results.metadata
