"""An outline without a tile is said to be one, by the share that was asked for."""

from pathlib import Path

import pytest
import shapely

from qupath_hccmil.errors import AnnotationError
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.slides.open_slide import open_slide
from qupath_hccmil.tiles.tile_plan import TileChoice, TumourOutline, holds_no_tile, plan_tiles
from tests.drawn_slides import texture, write_pyramid

SIDE = 128 / 0.5


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pyramid(tmp_path_factory.mktemp("s") / "s.tif", texture(600, 600), mpp=0.5)


def reason(path: Path, outline: shapely.Geometry, min_inside: float) -> str:
    drawn = TumourOutline(0, "id", outline)
    choice = TileChoice(min_inside=min_inside)
    with open_slide(path) as opened, pytest.raises(AnnotationError) as error:
        plan_tiles(opened, [drawn], choice, TileGeometry(), name="Case 7")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("min_inside", [0.5, 0.75, 0.05])
@pytest.mark.parametrize("place", [10.0, 5000.0])
def test_the_reason_names_the_share_that_was_asked_for(
    slide: Path, min_inside: float, place: float
) -> None:
    side = SIDE * min_inside**0.5 * 0.99
    found = reason(slide, shapely.box(place, place, place + side, place + side), min_inside)
    assert found.startswith("Case 7: ")
    assert (
        f"no tile of 128 µm has a share of {min_inside:g} of its area inside (--min-inside)"
        in found
    )
    assert "half" not in found


def test_a_note_says_the_same() -> None:
    assert holds_no_tile(TileChoice(min_inside=0.9), TileGeometry()) == (
        "no tile of 128 µm has a share of 0.9 of its area inside (--min-inside)"
    )
