"""A view shows what QuPath's cropped and rotated servers show."""

from pathlib import Path

import numpy as np
import pytest

from qupath_hccmil.slides.open_slide import Slide, open_slide
from qupath_hccmil.slides.server_view import SlideView
from tests.drawn_slides import texture, write_pyramid

PIXELS = texture(700, 600)
REGION = (40, 30, 500, 400)


@pytest.fixture
def slide(tmp_path: Path) -> Slide:
    return open_slide(write_pyramid(tmp_path / "slide.tif", PIXELS))


@pytest.mark.parametrize("region", [None, REGION])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_is_the_turned_crop(
    slide: Slide, region: tuple[int, int, int, int] | None, degrees: int
) -> None:
    x, y, width, height = region or (0, 0, 700, 600)
    # numpy turns counterclockwise. QuPath 0.6's RotatedImageServer gives this for each angle.
    expected = np.rot90(PIXELS[y : y + height, x : x + width], -degrees // 90)
    with SlideView(slide, region, degrees) as view:
        assert (view.height, view.width) == expected.shape[:2]
        np.testing.assert_array_equal(view.thumbnail(10_000), expected)
        np.testing.assert_array_equal(view.read_tile(17, 29, 224, 224), expected[29:253, 17:241])


def test_tiles_that_are_not_square_turn_too(slide: Slide) -> None:
    with SlideView(slide, degrees=90) as view:
        found = view.read_tile(100, 50, 300, 150, out=64)
        straight = slide.read_tile(50, 600 - 100 - 300, 150, 300, out=64)
    np.testing.assert_array_equal(found, np.rot90(straight, -1))


def test_views_nest(slide: Slide) -> None:
    crop = SlideView(slide, REGION)
    with SlideView(crop, (10, 20, 100, 200), 270) as view:
        expected = np.rot90(PIXELS[50:250, 50:150])
        np.testing.assert_array_equal(view.thumbnail(1000), expected)
        assert view.path == slide.path


@pytest.mark.parametrize(("flip", "step"), [("HORIZONTAL", (1, -1)), ("VERTICAL", (-1, 1))])
def test_is_mirrored_after_it_is_turned(slide: Slide, flip: str, step: tuple[int, int]) -> None:
    # QuPath 0.7's FlippedImageServer gives this, see tests/qupath/test_fixtures.py
    expected = np.rot90(PIXELS[30:430, 40:540], -1)[:: step[0], :: step[1]]
    with SlideView(slide, REGION, 90, flip) as view:
        np.testing.assert_array_equal(view.thumbnail(10_000), expected)
        np.testing.assert_array_equal(view.read_tile(17, 29, 224, 224), expected[29:253, 17:241])


def test_refuses_other_flips(slide: Slide) -> None:
    with pytest.raises(ValueError, match="DIAGONAL"):
        SlideView(slide, flip="DIAGONAL")


def test_pixel_size_turns(slide: Slide) -> None:
    slide.mpp = (0.25, 0.5)
    assert SlideView(slide, degrees=180).mpp == (0.25, 0.5)
    assert SlideView(slide, degrees=90).mpp == (0.5, 0.25)


def test_refuses_other_angles(slide: Slide) -> None:
    with pytest.raises(ValueError, match="45"):
        SlideView(slide, degrees=45)
