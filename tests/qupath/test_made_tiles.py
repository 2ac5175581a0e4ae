"""Tiles that are made at once are those that would be made one by one, byte for byte."""

import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from qupath_hccmil.errors import WriteError
from qupath_hccmil.qupath.data_types import ImageResults, TileObjects
from qupath_hccmil.qupath.native import native_results
from qupath_hccmil.qupath.native.javanodes import END, JavaString, Part
from qupath_hccmil.qupath.native.native_results import (
    add_results,
    name_pool,
    read_data,
    remove_results,
)
from qupath_hccmil.qupath.native.pathobjects import OBJECT_ID, PathObject
from qupath_hccmil.qupath.native.qpdata import QpData
from qupath_hccmil.qupath.native.rois import read_roi, rectangle_node
from qupath_hccmil.qupath.native.similar_records import distinct
from qupath_hccmil.qupath.native.tilenodes import (
    _NO_CHILDREN,
    _NO_PROBABILITY,
    TileMaker,
)
from tests.qupath.big_image import big_data
from tests.qupath.big_results import some_results

REAL = ("qupath-0_5_1", "qupath-0_6_0", "qupath-0_7_0")


class OneByOne(TileMaker):
    """Makes a node for each tile, in plain steps."""

    def make(self, annotation: PathObject, tiles: TileObjects, copy: int = 0) -> list[Part]:
        self._key = self._key or JavaString.of(OBJECT_ID)
        self._one = self._one or self._pool.integer(1)
        self._false = self._false or self._book.boolean(False)
        return [self._of_row(annotation, tiles, row, copy) for row in range(len(tiles))]

    def _of_row(self, annotation: PathObject, tiles: TileObjects, row: int, copy: int) -> Part:
        book = self._book
        bounds = tiles.bounds[row].tolist()
        what = "HCC-MIL tile" + (f" of copy {copy}" if copy else "")
        rounded = " ".join(repr(round(side, 3) + 0.0) for side in bounds)
        identity = uuid.uuid5(uuid.UUID(annotation.id), f"{what} {rounded}")
        values = {name: float(each[row]) for name, each in tiles.measurements.items()}
        present = {name: value for name, value in values.items() if np.isfinite(value)}
        roi = read_roi(annotation.roi)
        return book.object(
            "qupath.lib.objects.PathTileObject",
            None,
            None,
            book.object(
                "qupath.lib.objects.MetadataMap",
                self._one,
                book.array([self._key]),
                book.array([JavaString.of(str(identity))]),
                END,
            ),
            self._pool.float_list(list(present), np.array([*present.values()], ">f4").tobytes()),
            _NO_CHILDREN,
            self._false,
            self.path_class(tiles.class_names[row]),
            rectangle_node(book, bounds, (roi.c, roi.z, roi.t)),
            _NO_PROBABILITY,
            END,
        )


@pytest.fixture
def both(monkeypatch):
    """Gives the bytes of data with results, made at once and one by one."""

    def write(content: bytes, results, maker) -> bytes:
        monkeypatch.setattr(native_results, "TileMaker", maker)
        data = QpData(content)
        remove_results(data)
        add_results(data, results)
        return data.to_bytes()

    return lambda content, results: [
        write(content, results, maker) for maker in (TileMaker, OneByOne)
    ]


def outlines_of(content: bytes) -> list[int]:
    return [each.index for each in read_data(QpData(content))[0]]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("count", [1, 7, 40])
def test_among_cells_and_over_earlier_ones(both, count: int, missing: bool) -> None:
    content = b"".join(big_data(60))
    results = some_results(outlines_of(content), count, missing=missing)
    at_once, one_by_one = both(content, results)
    assert at_once == one_by_one
    again, one_by_one = both(at_once, results)
    assert again == one_by_one == at_once


@pytest.mark.parametrize("name", REAL)
def test_in_files_of_each_qupath(both, data_dir: Path, name: str) -> None:
    for path in sorted((data_dir / "projects" / name).rglob("data.qpdata")):
        content = path.read_bytes()
        outlines = outlines_of(content)
        if len(outlines) > 1:
            at_once, one_by_one = both(content, some_results(outlines, 20, missing=True))
            assert at_once == one_by_one


def tiles_of(measurements: dict[str, Sequence[float]], count: int = 2) -> TileObjects:
    bounds = np.array([[512.0 * n, 0, 512, 512] for n in range(count)]).reshape(-1, 4)
    columns = {name: np.array(values, float) for name, values in measurements.items()}
    return TileObjects(bounds, ["HCC-MIL high risk"] * count, columns)


@pytest.mark.parametrize("measurements", [{}, {"HCC-MIL: Tile risk": [0.5, np.nan]}])
def test_a_tile_without_a_value_is_refused(measurements) -> None:
    data = QpData(b"".join(big_data(20)))
    view = next(PathObject(part) for part in PathObject(data.root).children if PathObject(part).id)
    with pytest.raises(WriteError, match="a tile without any value"):
        TileMaker(name_pool(data)).make(view, tiles_of(measurements))


def test_tiles_of_several_kinds_and_one_size_take_turns(both) -> None:
    """Each lacks another value, so their bytes are as many."""
    content = b"".join(big_data(20))
    (outline, *_) = outlines_of(content)
    values = {
        "HCC-MIL: Tile risk": [0.1, np.nan, 0.3, np.nan, 0.5],
        "HCC-MIL: Tile logit": [np.nan, 0.2, np.nan, 0.4, np.nan],
    }
    at_once, one_by_one = both(content, ImageResults(tiles={outline: tiles_of(values, 5)}))
    assert at_once == one_by_one


@pytest.mark.parametrize("most", [1, 3, 40, 10**12])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_numbers_are_told_apart_as_numpy_does(count: int, most: int) -> None:
    numbers = np.random.default_rng(count).integers(7, 7 + most, count)
    wanted = np.unique(numbers, return_index=True, return_inverse=True)
    for found, each in zip(distinct(numbers), wanted, strict=True):
        assert found.tolist() == each.tolist()


def test_no_tiles_are_nothing() -> None:
    data = QpData(b"".join(big_data(20)))
    view = PathObject(PathObject(data.root).children[0])
    assert TileMaker(name_pool(data)).make(view, tiles_of({}, 0)) == []
