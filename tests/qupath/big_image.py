"""Image data with any number of cells, as QuPath's cell detection leaves them: written in no time.

A few cells are made as nodes; the bytes of the others are theirs, with other identities, places
and values.
"""

import json
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from shapely.geometry import box

from qupath_hccmil.qupath.native.javaclasses import ClassBook
from qupath_hccmil.qupath.native.javanodes import (
    END,
    ClassDesc,
    JavaObject,
    JavaString,
    Part,
    block,
)
from qupath_hccmil.qupath.native.javastream import parse, serialise
from qupath_hccmil.qupath.native.measurements import NamePool
from qupath_hccmil.qupath.native.newdata import NewAnnotation, new_data

MEASUREMENTS = 30
SIDE = 100_000
_CELL = b"qupath.lib.objects.PathCellObject"
_PLANE = struct.pack(">iii", -1, 0, 0)
# from where a cell begins to its identity: codes, references and counts
_BEFORE_ID = 47
# numbers that stand for those that differ
_VALUE, _X, _Y = (struct.pack(">f", mark) for mark in (12345.5, 23456.5, 34567.5))


def write_big_project(folder: Path, cells: int, annotations: int = 2) -> Path:
    """Make a project whose one image has tumour outlines, with cells inside the last of them."""
    home = folder / "data" / "1"
    home.mkdir(parents=True)
    server = {
        "builderType": "uri",
        "providerClassName": "qupath.lib.images.servers.openslide.OpenslideServerBuilder",
        "uri": (folder / "absent.svs").as_uri(),
        "args": [],
        "metadata": {
            "width": SIDE,
            "height": SIDE,
            "sizeZ": 1,
            "sizeT": 1,
            "isRGB": True,
            "pixelCalibration": {
                key: {"value": 0.25, "unit": "µm"} for key in ("pixelWidth", "pixelHeight")
            },
        },
    }
    entry = {"serverBuilder": server, "entryID": 1, "imageName": "big", "metadata": {}}
    content = {"version": "0.6.0", "uri": "", "lastID": 1, "images": [entry]}
    project = folder / "project.qpproj"
    project.write_text(json.dumps(content), encoding="utf-8")
    with (home / "data.qpdata").open("wb") as file:
        for piece in big_data(cells, annotations, server):
            file.write(piece)
    return project


def big_data(cells: int, annotations: int = 2, server: object = None) -> Iterator[bytes]:
    """Give a data file with cells in its last annotation, piece by piece."""
    outlines = [
        NewAnnotation(box(at, at, SIDE - at, SIDE - at), "Tumor") for at in range(annotations)
    ]
    base = new_data(
        server or {}, outlines, qupath_version="0.6.0", entry_path="a::1", data_path="d"
    )
    stream = parse(base)
    book = ClassBook(stream.classes)
    hierarchy = next(
        part
        for part in stream.contents
        if isinstance(part, JavaObject) and part.desc.short == "PathObjectHierarchy"
    )
    outline = hierarchy.parts[0].parts[-2]
    maker = CellMaker(book, outline)
    # the first describes the classes, the last shows where the one before it ends
    few = [maker.cell(points) for points in (12, 12, 20, 28, 12)]
    outline.parts[4:5] = [block(struct.pack(">i", cells)), *few]
    whole = serialise(stream.contents)
    starts = [whole.index(cell.parts[2].parts[2].parts[0].data) - _BEFORE_ID for cell in few[1:]]
    kinds = [whole[a:b] for a, b in pairwise(starts)]
    yield whole[: starts[-1]]
    rng = np.random.default_rng(0)
    left = cells - len(few)
    while left:
        count = min(left, int(rng.integers(1, 400)))
        yield _others(kinds, count, rng)
        left -= count
    yield whole[starts[-1] :]


class CellMaker:
    """Makes cells that share what QuPath's share."""

    def __init__(self, book: ClassBook, outline: JavaObject) -> None:
        self.book = book
        self.pool = NamePool(book, immutable=True)
        self.names = [f"Nucleus: Feature {at}" for at in range(MEASUREMENTS)]
        detection = book.get("qupath.lib.objects.PathDetectionObject")
        suid = bytes.fromhex("0000000000000001")
        self.desc = ClassDesc(_CELL, suid, 0x0C, (), detection)
        # number of the metadata, their key, whether locked
        self.one = outline.parts[2].parts[0]
        self.key = outline.parts[2].parts[1].parts[0]
        self.false = outline.parts[5]
        self.path_class = book.object(
            "qupath.lib.objects.classes.PathClass",
            book.integer(-0x37FFFF00),
            JavaString.of("Hepatocyte"),
            None,
        )
        self.number = 0

    def cell(self, points: int) -> JavaObject:
        self.number += 1
        metadata = self.book.object(
            "qupath.lib.objects.MetadataMap",
            self.one,
            self.book.array([self.key]),
            self.book.array([JavaString.of(f"00000000-0000-4000-8000-{self.number:012d}")]),
            END,
        )
        parts: list[Part] = [
            None,
            None,
            metadata,
            self.pool.float_list(self.names, _VALUE * MEASUREMENTS),
            block(struct.pack(">i", 0)),
            self.false,
            self.path_class,
            self.outline(points),
            block(struct.pack(">d", float("nan"))),
            self.outline(points),
            END,
        ]
        return JavaObject(self.desc, parts)

    def outline(self, points: int) -> JavaObject:
        x, y = (self.book.floats(mark * points) for mark in (_X, _Y))
        name = "qupath.lib.roi.PolygonROI$SerializationProxy"
        return self.book.object(name, _PLANE, None, None, x, y)


def _others(kinds: list[bytes], count: int, rng: np.random.Generator) -> bytes:
    """Return more cells of some kinds."""
    made = []
    which = rng.integers(len(kinds), size=count)
    for number, kind in enumerate(kinds):
        rows = np.tile(np.frombuffer(kind, np.uint8), (int((which == number).sum()), 1))
        digits = np.frombuffer(rng.bytes(16 * len(rows)).hex().encode(), np.uint8)
        identity = digits.reshape(-1, 32)
        for first, last, at in ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24)):
            begin = _BEFORE_ID + at
            rows[:, begin : begin + last - first] = identity[:, first:last]
        # only the pattern of a UUID of version 4 matters
        rows[:, _BEFORE_ID + 14] = ord("4")
        rows[:, _BEFORE_ID + 19] = ord("a")
        _put(rows, kind.index(_VALUE), rng.normal(50, 9, (len(rows), MEASUREMENTS)))
        points = kind.count(_X) // 2
        angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
        centre = rng.uniform(100, SIDE - 100, (2, len(rows), 1))
        cell, nucleus = kind.index(_X), kind.index(_X, kind.index(_Y))
        for begin, radius in ((cell, 20), (nucleus, 9)):
            _put(rows, begin, centre[0] + radius * np.cos(angle))
            _put(rows, kind.index(_Y, begin), centre[1] + radius * np.sin(angle))
        made.append((np.flatnonzero(which == number), rows))
    ordered = {int(at): row for places, rows in made for at, row in zip(places, rows, strict=True)}
    return b"".join(ordered[at].tobytes() for at in range(count))


def _put(rows: np.ndarray, begin: int, values: np.ndarray) -> None:
    data = values.astype(">f4").view(np.uint8).reshape(len(rows), 4 * values.shape[1])
    rows[:, begin : begin + data.shape[1]] = data
