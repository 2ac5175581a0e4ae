"""A tile has the same UUID in every run and with every engine."""

import uuid

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qupath_hccmil.qupath.tile_ids import copies, tile_id_bytes, tile_ids

numbers = st.floats(-1e7, 1e7).map(lambda value: round(value, 3) + 0.0)


@given(st.uuids(), st.lists(st.tuples(*[numbers] * 4), max_size=5))
def test_ids_are_version_5_uuids_of_the_bounds(annotation, rows):
    bounds = np.array(rows, dtype=np.float64).reshape(-1, 4)
    wanted = [
        uuid.uuid5(annotation, f"HCC-MIL tile {x!r} {y!r} {width!r} {height!r}")
        for x, y, width, height in rows
    ]
    assert tile_ids(str(annotation), bounds) == [str(each) for each in wanted]
    assert [row.tobytes() for row in tile_id_bytes(str(annotation), bounds)] == [
        each.bytes for each in wanted
    ]


def test_sides_that_come_back_rounded_make_no_other_tile() -> None:
    annotation = str(uuid.uuid4())
    bounds = np.array([[1024.1234, 7.0, 256.4129, 256.4129]])
    x, y, width, height = bounds[0]
    kept = np.array([[x, y, (x + width) - x, (y + height) - y]])
    assert kept.tolist() != bounds.tolist()
    assert tile_ids(annotation, kept) == tile_ids(annotation, bounds)


def test_a_copy_of_an_outline_has_tiles_of_its_own() -> None:
    annotation, other = str(uuid.uuid4()), str(uuid.uuid4())
    assert copies([annotation, other, annotation, annotation]) == [0, 0, 1, 2]
    bounds = np.array([[0.0, 0, 512, 512]])
    ids = {tile_ids(annotation, bounds, copy)[0] for copy in range(3)}
    assert len(ids) == 3
