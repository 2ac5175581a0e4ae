"""The tiles of the stain's sample, and those that are read during the fit, are read once."""

from collections import Counter
from threading import Event

import numpy as np
import pytest

from qupath_hccmil.errors import SlideError
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.slides.open_slide import open_slide
from qupath_hccmil.slides.tissue import TissueRule
from qupath_hccmil.tiles import tile_reader
from qupath_hccmil.tiles.read_ahead import CHUNK, LOOKAHEAD, READERS
from qupath_hccmil.tiles.tile_reader import READ_MEANWHILE, STAIN_TILES, TileReader
from tests.drawn_slides import texture, write_pyramid

COLUMNS, SIDE, MPP = 14, 64, 2.0
# A chunk more than the sample needs may have been read by each place in the queue of readers.
OF_SAMPLE = STAIN_TILES + CHUNK * (1 + READERS * LOOKAHEAD)


class Rules:
    geometry = TileGeometry()
    tissue_rule = TissueRule(min_tissue=0, min_detail=0)


class CountedSlide:
    """A real slide that counts how often each tile is read, and says so when some have been."""

    def __init__(self, slide, *, damaged=None):
        self.slide, self.path, self.damaged = slide, slide.path, damaged
        self.reads = Counter()
        self.enough, self.has_enough = float("inf"), Event()

    def read_tile(self, x, y, *sides):
        self.reads[x, y] += 1
        if (x, y) == self.damaged:
            raise SlideError(f"{self.path}: is damaged at {x:g}, {y:g}")
        if self.reads.total() >= self.enough:
            self.has_enough.set()
        return self.slide.read_tile(x, y, *sides)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    side = COLUMNS * SIDE
    folder = tmp_path_factory.mktemp("slide")
    return write_pyramid(folder / "s.tif", texture(side, side), mpp=MPP)


@pytest.fixture
def slide(path):
    with open_slide(path) as opened:
        yield CountedSlide(opened)


@pytest.fixture
def fit_waits(monkeypatch):
    """The fit ends only when the slide has been read often enough."""

    def wait(slide, reads):
        slide.enough = reads
        real = tile_reader.fit

        def fit(pixels, *, name):
            assert slide.has_enough.wait(60)
            return real(pixels, name=name)

        monkeypatch.setattr(tile_reader, "fit", fit)

    return wait


def reader_of(slide):
    x, y = (SIDE * grid.ravel() for grid in np.meshgrid(np.arange(COLUMNS), np.arange(COLUMNS)))
    sides = np.full(len(x), SIDE)
    return TileReader(slide, np.stack([x, y, sides, sides], axis=1).astype(float), Rules(), MPP)


EVERY = range(COLUMNS**2)


def place_of(row):
    return SIDE * (row % COLUMNS), SIDE * (row // COLUMNS)


def test_tiles_are_read_during_the_fit_and_then_not_again(slide, fit_waits):
    fit_waits(slide, reads=OF_SAMPLE + 20)
    reader = reader_of(slide)
    stain = reader.fit_stain(EVERY)
    assert slide.reads.total() >= OF_SAMPLE + 20
    rgb, _ = reader.read(np.array(EVERY))
    assert set(slide.reads.values()) == {1}
    # and they are the tiles that would have been read without a fit, and the fit is the same
    alone = reader_of(slide)
    np.testing.assert_array_equal(rgb, alone.read(np.array(EVERY))[0])
    assert alone.fit_stain().to_dict() == stain.to_dict()


def test_memory_is_bounded(slide, fit_waits, monkeypatch):
    monkeypatch.setattr(tile_reader, "READ_MEANWHILE", 10)
    assert READ_MEANWHILE * 224 * 224 * 3 < 40e6
    reader = reader_of(slide)
    reader.fit_stain(EVERY)
    assert slide.reads.total() <= OF_SAMPLE + 10


def test_a_damaged_tile_is_an_error_in_its_turn_however_long_the_fit_takes(slide, fit_waits):
    reader_of(slide).fit_stain()
    row = next(row for row in reversed(EVERY) if place_of(row) not in slide.reads)
    slide.reads.clear()
    slide.damaged = place_of(row)
    fit_waits(slide, reads=STAIN_TILES)
    reader = reader_of(slide)
    reader.fit_stain([row])
    with pytest.raises(SlideError, match="is damaged at"):
        reader.read(np.array([row]))
