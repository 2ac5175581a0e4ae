"""Both engines make one form of an outline, wherever its corners lie, so one fingerprint."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint, outline_fingerprint
from tests.conftest import qupath_dirs
from tests.qupath.conftest import QuPathProcess, copied
from tests.qupath.engines import NATIVE


def star(centre: tuple[float, float], radii: list[float]) -> Polygon:
    """A polygon around a centre whose corners may lie anywhere between two px."""
    angle = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    x, y = centre[0] + np.cos(angle) * radii, centre[1] + np.sin(angle) * radii
    return Polygon(np.column_stack([x, y]))


@pytest.fixture(
    scope="module",
    params=qupath_dirs() or [None],
    ids=lambda folder: folder.name if folder else "none",
)
def qupath(request):
    """Each QuPath there is, in a process that no other test has used."""
    if request.param is None:
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    process = QuPathProcess(request.param)
    yield process
    process.close()


places = st.tuples(st.floats(500, 90_000, width=32), st.floats(500, 90_000, width=32))
stars = st.builds(star, places, st.lists(st.floats(20, 400, width=32), min_size=3, max_size=12))
# halves of a hundredth, where the engines used to round apart
on_edges = st.tuples(st.integers(100, 9000), st.integers(100, 9000)).map(
    lambda at: star((at[0] + 0.885, at[1] + 0.005), [64.005, 32.115, 100.885, 55.995])
)
holed = st.builds(lambda at: star(at, [300.0] * 8) - star(at, [99.885] * 5), places)
several = st.builds(
    lambda at: MultiPolygon([star(at, [50.0] * 4), star((at[0] + 400.015, at[1]), [60.0] * 5)]),
    places,
)
outlines = st.lists(st.one_of(stars, on_edges, holed, several), min_size=30, max_size=30)


def make(folder: Path, shapes: list[BaseGeometry]) -> Path:
    annotations = [NewAnnotation(shape, "Tumor") for shape in shapes]
    image = NewImage(Path("/slides/a.svs"), "a", 100_000, 100_000, 0.25, annotations=annotations)
    create_project(folder, [image])
    return folder


@pytest.mark.qupath
def test_halves_of_a_hundredth_in_a_geometry_are_rounded_alike(qupath, tmp_path):
    # QuPath 0.6 reads 10460.015 as 10460.01, since 10460.015 / 0.01 is a little below the half
    at = [star((10000 + 400.015 + step, 71436.9375), [60.0] * 5) for step in range(0, 4000, 200)]
    project = make(tmp_path / "p", [MultiPolygon([at[0], star((9000, 9000), [50.0] * 4)]), *at])
    (one,), (two,) = NATIVE("read", project), qupath("read", project)
    assert [outline_fingerprint(each) for each in one.annotations] == [
        outline_fingerprint(each) for each in two.annotations
    ]
    assert one.annotations[0].geometry.bounds[2] == pytest.approx(10460.01, abs=1e-3)


@pytest.mark.qupath
@settings(
    max_examples=12,
    derandomize=True,
    # every example starts a project: looking for a smaller one would take minutes
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(shapes=outlines)
def test_both_engines_give_one_fingerprint(qupath, shapes):
    with tempfile.TemporaryDirectory() as folder:
        project = make(Path(folder) / "p", shapes)
        (one,), (two,) = NATIVE("read", project), qupath("read", project)
    for left, right in zip(one.annotations, two.annotations, strict=True):
        assert outline_fingerprint(left) == outline_fingerprint(right), left.geometry.wkt
        assert left.geometry.equals_exact(right.geometry, 0)
    assert annotation_fingerprint(one.annotations) == annotation_fingerprint(two.annotations)


FIXTURES = Path(__file__).parents[1] / "data" / "projects"


@pytest.mark.qupath
@pytest.mark.parametrize("name", ["qupath-0.5.1", "qupath-0.6.0", "qupath-0.7.0"])
def test_every_kind_of_region_that_qupath_wrote_has_one_fingerprint(qupath, name, tmp_path):
    if not (FIXTURES / name).is_dir():
        pytest.skip(f"no fixture {name}")
    project = copied(FIXTURES / name, tmp_path / name)
    seen = set()
    for one, two in zip(NATIVE("read", project), qupath("read", project), strict=True):
        seen |= {each.roi for each in one.annotations}
        fingerprints = [
            [outline_fingerprint(each) for each in state.annotations] for state in (one, two)
        ]
        assert fingerprints[0] == fingerprints[1], one.entry.name
    assert {"polygon", "geometry", "rectangle", "ellipse"} <= seen
