"""A tile has the same UUID in every run and with every engine."""

import uuid

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qupath_hccmil.qupath.tile_ids import tile_id_bytes, tile_ids

numbers = st.floats(allow_nan=False, allow_infinity=False)


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
