"""Tiles decoded directly are OpenSlide's own bits, and what is unusual is left to OpenSlide."""

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from qupath_hccmil.demo.pyramid import write_pyramid
from qupath_hccmil.slides.jpeg_tiles import jpeg_tiles
from qupath_hccmil.slides.open_slide import open_slide


def noisy(x, y, width, height):
    rng = np.random.default_rng([x, y])
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiles") / "slide.tif"
    write_pyramid(path, 2500, 1900, 0.25, noisy)
    return path


def by_openslide(path, level, left, top, width, height):
    with openslide.OpenSlide(path) as slide:
        down = int(slide.level_downsamples[level])
        rgba = slide.read_region((left * down, top * down), level, (width, height))
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return np.asarray(white)


def direct(path):
    with openslide.OpenSlide(path) as slide:
        vendor = slide.properties[openslide.PROPERTY_NAME_VENDOR]
        return jpeg_tiles(path, vendor, slide.level_dimensions)


BLOCKS = [
    (0, 0, 0, 512, 512),
    (0, 300, 211, 700, 513),
    (0, -20, -30, 100, 90),
    (0, 2300, 1800, 400, 300),
    (0, 5000, 5000, 20, 20),
    (1, 17, 5, 300, 200),
]


@pytest.mark.parametrize("block", BLOCKS)
def test_the_bits_are_openslides(pyramid, block):
    tiles = direct(pyramid)
    np.testing.assert_array_equal(tiles.read(*block), by_openslide(pyramid, *block))
    tiles.close()


def test_the_bits_are_openslides_on_a_scanners_slide(data_dir):
    path = data_dir / "slides" / "CMU-1-Small-Region.svs"
    tiles = direct(path)
    for block in [(0, 0, 0, 2220, 2967), (0, 777, 1333, 257, 257), (0, 2100, 2900, 256, 256)]:
        np.testing.assert_array_equal(tiles.read(*block), by_openslide(path, *block))
    tiles.close()


def test_other_compressions_and_formats_are_left_to_openslide(tmp_path):
    path = tmp_path / "deflate.tif"
    tifffile.imwrite(path, noisy(0, 0, 600, 400), tile=(256, 256), compression="deflate")
    assert direct(path) is None
    assert jpeg_tiles(path, "hamamatsu", [(600, 400)]) is None
    with open_slide(path) as slide:
        assert slide.read_tile(0, 0, 300, 300).shape == (224, 224, 3)


def test_a_tile_that_does_not_decode_is_left_to_openslide(pyramid, tmp_path):
    path = tmp_path / "damaged.tif"
    content = bytearray(pyramid.read_bytes())
    with tifffile.TiffFile(pyramid) as tiff:
        start, length = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    content[start : start + length] = bytes(length)
    path.write_bytes(content)
    tiles = direct(path)
    assert tiles.read(0, 0, 0, 100, 100) is None
    assert tiles.read(0, 600, 0, 100, 100) is not None
    tiles.close()


def test_memory_for_tiles_is_bounded(pyramid):
    tiles = direct(pyramid)
    tiles.read(0, 0, 0, 2500, 1900)
    assert sum(tile.nbytes for tile in tiles._cache.values()) == tiles._cached_bytes <= 2**24
    tiles.close()
