"""Objects that a file of QuPath may hold and nobody can score: broken, or made by other tools."""

import struct
from pathlib import Path

import numpy as np
import shapely

from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.native.javaclasses import ClassBook
from qupath_hccmil.qupath.native.javanodes import JavaObject, JavaString, PrimitiveArray
from qupath_hccmil.qupath.native.native_project import parse
from qupath_hccmil.qupath.native.pathobjects import PathObject

HALF_A_PAIR = "half \ud83e a pair"
"""A name that is no text: QuPath writes and reads it all the same."""

_PLANE = struct.pack(">iii", -1, 0, 0)


def polygon(*corners: tuple[float, float]):
    """Make a polygon of any corners."""

    def make(book: ClassBook) -> JavaObject:
        x, y = (
            book.floats(np.array([corner[axis] for corner in corners], ">f4").tobytes())
            for axis in (0, 1)
        )
        return book.object("qupath.lib.roi.PolygonROI$SerializationProxy", _PLANE, None, None, x, y)

    return make


def geometry(shape: shapely.Geometry):
    """Make a region of any geometry."""

    def make(book: ClassBook) -> JavaObject:
        wkb = shapely.to_wkb(shape, byte_order=0, output_dimension=2)
        array = PrimitiveArray(book.get("[B"), wkb, 1)
        return book.object("qupath.lib.roi.GeometryROI$WKBSerializationProxy", _PLANE, None, array)

    return make


def rectangle(x: float, y: float, x2: float, y2: float):
    """Make a rectangle of any corners."""

    def make(book: ClassBook) -> JavaObject:
        data = struct.pack(">iiddddi", -1, 0, x, x2, y, y2, 0)
        return book.object("qupath.lib.roi.RectangleROI$SerializationProxy", data, None)

    return make


NAN = float("nan")
with np.errstate(invalid="ignore"):
    _NAN_IN_A_HOLE = shapely.Polygon(
        [(0, 0), (900, 0), (900, 900), (0, 900)], [[(10, 10), (20, NAN), (30, 30)]]
    )
ODD = {
    "one corner": polygon((100, 100)),
    "no corner": polygon(),
    "two corners": polygon((100, 100), (300, 300)),
    "NaN corner": polygon((100, 100), (NAN, 300), (300, 300)),
    "infinite corner": polygon((100, 100), (float("inf"), 300), (300, 300)),
    "NaN rectangle": rectangle(NAN, 10, 300, 200),
    "empty polygon": geometry(shapely.Polygon()),
    "empty collection": geometry(shapely.GeometryCollection()),
    "NaN in a hole": geometry(_NAN_IN_A_HOLE),
}
"""Name of an annotation to how its region is made."""


def odd_project(
    folder: Path, slide: Path, odd: tuple[str, ...] = tuple(ODD), *, size: tuple[int, int]
) -> Path:
    """Make a project of one image with a sound tumour outline and annotations that are odd.

    The outline's name is :data:`HALF_A_PAIR`.
    """
    width, height = size
    sound = shapely.box(0, 0, width, height)
    annotations = [NewAnnotation(sound, "Tumor", name) for name in ("sound", *odd)]
    image = NewImage(slide, slide.name, width, height, 0.25, annotations=annotations)
    project = create_project(folder, [image])
    path = folder / "data" / "1" / "data.qpdata"
    data = parse(path)
    book = ClassBook(data.stream.classes)
    first, *others = map(PathObject, PathObject(data.root).children)
    first.node.parts[0] = JavaString.of(HALF_A_PAIR)
    for view, name in zip(others, odd, strict=True):
        view.node.parts[view.class_at + 1] = ODD[name](book)
    path.write_bytes(data.to_bytes())
    return project
