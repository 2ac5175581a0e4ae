"""A patient's random tiles: each slide is opened, planned and stain-fitted once."""

import pytest
from shapely.geometry import box

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
