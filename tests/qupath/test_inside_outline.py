"""What lies inside an outline that crosses itself is what QuPath says."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import shapely

from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.data_types import Annotation, ImageEntry, ImageState, Server
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.selection import tumour_annotations
from qupath_hccmil.slides.inside_outline import cell_shares, outline_area
from qupath_hccmil.tiles.grid import tile_grid
from tests.conftest import qupath_dirs
from tests.qupath.conftest import QuPathProcess


def star(points: int, step: int, radius: float = 300.0) -> np.ndarray:
    angle = np.arange(points) * step * 2 * np.pi / points
    return 400 + radius * np.column_stack([np.cos(angle), np.sin(angle)])


TWICE_AROUND = np.array(
    [(50, 50), (750, 50), (750, 750), (50, 750), (50, 50), (200, 200), (600, 200), (600, 600),
     (200, 600), (200, 200)], float
)  # fmt: skip
BACKWARDS_INSIDE = np.vstack([TWICE_AROUND[:5], TWICE_AROUND[:4:-1]])
CROSSING = {
    "figure of eight": np.array([(0, 0), (700, 700), (700, 0), (0, 700)], float),
    "star": star(5, 2),
    "star of many points": star(31, 14),
    "wound twice": TWICE_AROUND,
    "wound back": BACKWARDS_INSIDE,
    "scribble": np.random.default_rng(5).uniform(10, 790, (40, 2)),
}
# one in each cell of 16 px, off the lines and away from corners
PLACES = np.stack(np.meshgrid(np.arange(8.3, 800, 16), np.arange(8.7, 800, 16)), -1).reshape(-1, 2)
# px² that are in the outline by the non-zero rule
AREAS = {"figure of eight": 245_000, "wound twice": 490_000, "wound back": 330_000}


def brush(corners: int, radius: float = 30_000.0, wobble: float = 50.0) -> shapely.Polygon:
    """Draw an outline that crosses itself some fifty times at each corner."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    circle = radius * np.column_stack([np.cos(angle), np.sin(angle)])
    noise = np.random.default_rng(1).normal(0, wobble, circle.shape)
    return shapely.Polygon(circle + noise + 1.2 * radius)


@pytest.mark.parametrize("name", AREAS)
def test_area_is_by_the_non_zero_rule(name: str) -> None:
    outline = shapely.Polygon(CROSSING[name])
    assert not outline.is_valid
    assert outline_area(outline) == pytest.approx(AREAS[name], rel=1e-6)


@pytest.mark.parametrize("name", CROSSING)
def test_cells_add_up_to_the_area(name: str) -> None:
    outline = shapely.Polygon(CROSSING[name])
    shares = cell_shares(outline, 50, 40, range(16), range(20))
    assert shares.shape == (20, 16)
    assert (shares.sum() * 2000) == pytest.approx(outline_area(outline), rel=1e-4)


def test_a_valid_outline_has_its_own_area_and_shares() -> None:
    holed = shapely.box(10, 10, 190, 110).difference(shapely.box(50, 50, 150, 90))
    two = shapely.MultiPolygon([holed, shapely.box(200, 0, 250, 120)])
    assert outline_area(two) == two.area
    cells = shapely.box(*np.meshgrid(np.arange(0, 250, 25), np.arange(0, 120, 20)),
                        *np.meshgrid(np.arange(25, 275, 25), np.arange(20, 140, 20)))  # fmt: skip
    exact = shapely.area(shapely.intersection(two, cells)) / 500
    np.testing.assert_allclose(cell_shares(two, 25, 20, range(10), range(6)), exact, atol=1e-9)


@pytest.mark.parametrize("nothing", [shapely.LineString([(0, 0), (9, 9)]), shapely.Polygon(),
                                     shapely.Polygon([(1, 1), (1, 1), (1, 1)])])  # fmt: skip
def test_what_has_no_area_has_none(nothing: shapely.Geometry) -> None:
    assert outline_area(nothing) == 0
    assert not cell_shares(nothing, 5, 5, range(2), range(2)).any()
    assert cell_shares(nothing, 5, 5, range(0), range(2)).shape == (2, 0)


def test_parts_that_overlap_are_one_and_their_holes_their_own() -> None:
    """QuPath's ``contains`` of a geometry: in an outer ring of a part, and in none of its holes."""
    holed = shapely.Polygon(
        shapely.box(0, 0, 60, 60).exterior, [shapely.box(20, 20, 40, 40).exterior]
    )
    parts = shapely.MultiPolygon([holed, shapely.box(30, 30, 90, 90)])
    assert not parts.is_valid
    assert outline_area(parts) == pytest.approx(3600 - 400 + 3600 - 900 + 100, rel=1e-6)
    tie = shapely.Polygon(
        [(0, 0), (60, 60), (60, 0), (0, 60)], [[(50, 25), (55, 25), (55, 35), (50, 35)]]
    )
    assert outline_area(tie) == pytest.approx(1800 - 50, rel=1e-4)


def test_a_figure_of_eight_whose_halves_cancel_is_an_outline() -> None:
    eight = shapely.Polygon(CROSSING["figure of eight"])
    assert eight.area == 0
    entry = ImageEntry("1", "Case 7", Server("uri", "p", "file:/a.svs"))
    drawn = Annotation("id", "Tumor", None, eight, "polygon")
    state = ImageState(entry, "BRIGHTFIELD_H_E", [drawn], 0, None, "")  # type: ignore[arg-type]
    assert tumour_annotations(state) == [drawn]


def test_tiles_of_an_outline_wound_twice_have_no_hole() -> None:
    twice, back = (
        {
            tuple(each)
            for each in tile_grid([shapely.Polygon(corners)], 100, 100, 800, 800)[0].indices
        }
        for corners in (TWICE_AROUND, BACKWARDS_INSIDE)
    )
    assert (3, 3) in twice
    assert (3, 3) not in back


def test_memory_does_not_grow_with_crossings() -> None:
    """Ten million crossings: as many nodes of a planar graph are 10 GB."""
    outline = brush(200_000)
    tracemalloc.start()
    (tiles,) = tile_grid([outline], 2000, 2000, 80_000, 80_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500 * 2**20
    assert len(tiles) * 2000**2 == pytest.approx(np.pi * 30_000**2, rel=0.02)


def project_with(outlines: list[np.ndarray], tmp_path: Path) -> Path:
    drawn = [NewAnnotation(shapely.Polygon(each), "Tumor") for each in outlines]
    image = NewImage(tmp_path / "s.svs", "s.svs", 80_000, 80_000, 0.5, annotations=drawn)
    return create_project(tmp_path / "project", [image]).parent


def test_reading_works_out_no_crossing(tmp_path: Path) -> None:
    corners = np.asarray(brush(20_000).exterior.coords)
    path = project_with([corners], tmp_path)
    with NativeProject(path) as project:
        (outline,) = project.read(project.images[0]).annotations
    assert shapely.get_num_coordinates(outline.geometry) == len(corners)
    np.testing.assert_allclose(shapely.get_coordinates(outline.geometry), corners, atol=0.011)


@pytest.mark.qupath
@pytest.mark.parametrize("name", CROSSING)
def test_inside_is_what_qupath_says(qupath: QuPathProcess, name: str) -> None:
    corners = CROSSING[name].astype(np.float32).astype(float)
    contains, area = qupath("inside", corners, PLACES)
    outline = shapely.Polygon(corners)
    assert outline_area(outline) == pytest.approx(area, rel=1e-4)
    _assert_inside(outline, contains)


def _assert_inside(outline: shapely.Geometry, contains: np.ndarray) -> None:
    """Where the cell around a place is inside as a whole, or outside."""
    shares = cell_shares(outline, 16, 16, range(50), range(50)).reshape(-1)
    sure = (shares < 1e-9) | (shares > 1 - 1e-9)
    assert sure.mean() > 0.3
    np.testing.assert_array_equal(shares[sure] > 0.5, contains[sure])


@pytest.mark.qupath
def test_inside_of_parts_that_overlap_is_what_qupath_says(qupath: QuPathProcess) -> None:
    tie = [(0, 0), (600, 600), (600, 0), (0, 600)]
    hole = [(500, 200), (550, 200), (550, 400), (500, 400)]
    across = [(550, 300), (700, 300), (700, 350), (550, 350)]
    parts = shapely.MultiPolygon(
        [
            shapely.Polygon(tie, [hole, across]),
            shapely.Polygon(TWICE_AROUND),
            shapely.box(300, 300, 795, 795),
        ]
    )
    assert not parts.is_valid
    contains = qupath("inside_geometry", parts.wkt, PLACES)
    _assert_inside(parts, contains)


@pytest.mark.qupath
def test_both_engines_read_an_outline_as_drawn(qupath: QuPathProcess, tmp_path: Path) -> None:
    many = 400 + np.asarray(shapely.Point(0, 0).buffer(300.7, quad_segs=2000).exterior.coords)
    path = project_with([*CROSSING.values(), many], tmp_path)
    with NativeProject(path) as project:
        native: ImageState = project.read(project.images[0])
    (paquo,) = qupath("read", path)
    for one, two in zip(native.annotations, paquo.annotations, strict=True):
        assert one.geometry.equals_exact(two.geometry, 0)
    # Temurin 25.0.3 halves the area of such an outline in getGeometry()
    assert outline_area(paquo.annotations[-1].geometry) == pytest.approx(np.pi * 300.7**2, rel=1e-3)


@pytest.mark.qupath
@pytest.mark.skipif(not qupath_dirs(), reason="no QuPath: /opt/QuPath-* or PAQUO_QUPATH_DIR")
def test_paquo_reads_an_outline_with_many_crossings_in_little_memory(tmp_path: Path) -> None:
    path = project_with([np.asarray(brush(50_000).exterior.coords)], tmp_path)
    process = QuPathProcess(qupath_dirs()[-1])
    try:
        (state,) = process("read", path)
        assert process("most_memory") < 1500 * 2**20
    finally:
        process.close()
    assert shapely.get_num_coordinates(state.annotations[0].geometry) == 50_001


@pytest.mark.qupath
def test_an_outline_that_java_halves_is_refused(qupath: QuPathProcess) -> None:
    reason = qupath("refused_area", 8_000_000.0, 4_000_000.0)
    assert "\n" not in reason
    assert "under Java " in reason
    assert "8000000 px² according to QuPath, but 4000000 px²" in reason
    assert "--engine native" in reason


@pytest.mark.qupath
def test_no_sound_region_is_refused(qupath: QuPathProcess) -> None:
    assert qupath("refused_regions") == []


@pytest.mark.qupath
def test_what_java_makes_a_geometry_of_is_right_or_refused(qupath: QuPathProcess, qupaths) -> None:
    """Temurin 25.0.3 halves it."""
    angle = np.linspace(0, 2 * np.pi, 6000, endpoint=False)
    corners = 4000 + 3000 * np.column_stack([np.cos(angle), np.sin(angle)])
    area, stored = qupaths(qupath_dirs()[0])("stored_legacy_area", corners)
    if area != pytest.approx(np.pi * 3000**2, rel=1e-3):
        pytest.skip("the one Java here halves a region as it makes it")
    found = qupath("area_of_stored", stored)
    if isinstance(found, str):
        assert "under Java 25.0.3" in found
        assert "--engine native" in found
    else:
        assert found == pytest.approx(np.pi * 3000**2, rel=1e-3)
