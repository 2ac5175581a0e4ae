"""The user's pixel size counts before QuPath's, and QuPath's before the file's."""

import math

import pytest

from qupath_hccmil.errors import ResolutionError
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.slides.resolution import Resolution, resolve_mpp


@pytest.mark.parametrize(
    ("override", "project", "slide", "expected"),
    [
        (0.5, (0.25, 0.25), (0.3, 0.3), Resolution(0.5, 0.5, "override")),
        (None, (0.25, 0.25), (0.3, 0.3), Resolution(0.25, 0.25, "qupath")),
        (None, (None, None), (0.3, 0.3), Resolution(0.3, 0.3, "file")),
        (None, None, (0.3, 0.3), Resolution(0.3, 0.3, "file")),
        (None, (math.nan, math.nan), (0.3, 0.3), Resolution(0.3, 0.3, "file")),
        (None, (0.25, None), (0.3, 0.3), Resolution(0.3, 0.3, "file")),
        (None, (0.25, 0.5), None, Resolution(0.25, 0.5, "qupath")),
        (0.1, None, None, Resolution(0.1, 0.1, "override")),
        (2.0, None, None, Resolution(2.0, 2.0, "override")),
    ],
)
def test_order(
    override: float | None,
    project: tuple[float | None, float | None] | None,
    slide: tuple[float, float] | None,
    expected: Resolution,
) -> None:
    assert resolve_mpp(override, project, slide) == expected


@pytest.mark.parametrize("project", [None, (None, None)])
def test_absent(project: tuple[None, None] | None) -> None:
    with pytest.raises(
        ResolutionError, match=r"^a\.svs: neither QuPath nor the slide.*--mpp 0\.25.*QuPath"
    ):
        resolve_mpp(None, project, None, name="a.svs")


@pytest.mark.parametrize("value", [0.0, -1.0, 0.09, 2.1, 250.0, math.inf])
def test_out_of_range_is_not_passed_over(value: float) -> None:
    with pytest.raises(ResolutionError, match=r"µm/px from --mpp is outside 0\.1–2"):
        resolve_mpp(value, (0.25, 0.25), (0.25, 0.25))
    with pytest.raises(ResolutionError, match="from QuPath's calibration is outside"):
        resolve_mpp(None, (0.25, value), (0.25, 0.25))
    with pytest.raises(ResolutionError, match="from the slide file is outside"):
        resolve_mpp(None, None, (value, 0.25))


def test_a_tile_is_the_published_one() -> None:
    tile = TileGeometry()
    assert (tile.tile_um, tile.tile_px) == (512 * 0.25, 224)
    assert tile.mpp == pytest.approx(0.5714, abs=1e-4)
