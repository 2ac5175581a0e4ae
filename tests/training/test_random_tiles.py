"""A patient's random tiles: each slide is opened, planned and stain-fitted once."""

import numpy as np
import pytest
from shapely.geometry import box

from qupath_hccmil.errors import SlideError
from qupath_hccmil.qupath.data_types import Annotation, ImageEntry, Server
from qupath_hccmil.slide_sources import outlined_slides
from qupath_hccmil.slide_sources.outlined_slides import OutlinedSlide
from qupath_hccmil.stain.reference import default_reference
from qupath_hccmil.tiles import tile_reader
from qupath_hccmil.training import random_tiles
from tests.drawn_slides import texture, write_pyramid

SIDE = 512


@pytest.fixture
def slides(tmp_path) -> list[OutlinedSlide]:
    found = []
    for number in range(2):
        path = tmp_path / f"{number}.tif"
        write_pyramid(path, texture(4 * SIDE, 3 * SIDE, seed=number), mpp=0.25)
        entry = ImageEntry(str(number), path.name, Server("uri", "", path.as_uri()))
        outline = Annotation(f"a{number}", "Tumor", None, box(0, 0, 3 * SIDE, 2 * SIDE), "polygon")
        found.append(OutlinedSlide(entry, path, [outline]))
    return found


@pytest.mark.parametrize("per_patient", [None, 5])
def test_a_slide_is_opened_planned_and_fitted_once(slides, monkeypatch, per_patient):
    counted: dict[str, int] = {}

    def count(module, name):
        real = getattr(module, name)

        def call(*arguments, **more):
            counted[name] = counted.get(name, 0) + 1
            return real(*arguments, **more)

        monkeypatch.setattr(module, name, call)

    count(outlined_slides, "open_image")
    count(random_tiles, "plan_tiles")
    count(tile_reader, "fit")
    settings = random_tiles.TileSettings(per_patient, 0, None, default_reference())
    left_out = []
    tiles = sum(len(batch) for batch in random_tiles.patient_tiles(slides, settings, left_out))
    assert left_out == []
    assert tiles == (12 if per_patient is None else 5)
    assert counted == {"open_image": 2, "plan_tiles": 2, "fit": 2}


def test_of_a_slide_that_fails_halfway_it_is_said_that_its_first_tiles_are_used(
    slides, monkeypatch
):
    """As on a network drive that goes away, or in a file whose end is missing."""
    real = tile_reader.TileReader.read

    def read(self, rows):
        if list(rows) == [4, 5]:
            raise SlideError("0.tif: cannot be read")
        return real(self, rows)

    monkeypatch.setattr(random_tiles, "chunks_of", lambda rows: iter(np.array_split(rows, 3)))
    monkeypatch.setattr(random_tiles.TileReader, "read", read)
    settings = random_tiles.TileSettings(None, 0, None, default_reference())
    left_out = []
    tiles = sum(len(batch) for batch in random_tiles.patient_tiles(slides[:1], settings, left_out))
    assert tiles == 4
    (one,) = left_out
    assert one.reason == random_tiles.IN_PART
    assert one.detail == "0.tif: cannot be read; its first 4 tiles are used"
