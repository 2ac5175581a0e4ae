"""What a real QuPath, of any version from 0.2 on, finds in data files: all of it, as JSON.

    python scripts/proofs/qupath_content.py --qupath DIR --out found.json data.qpdata [...]

QuPath's own ``PathIO`` reads the files; nothing of this project does. A file that QuPath cannot
read gives its error instead.
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qupath_jvm import numbers, start, white_image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--qupath", type=Path, required=True, help="folder of a QuPath")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("files", type=Path, nargs="*")
    arguments = parser.parse_args()
    reader = Reader(numbers(start(arguments.qupath)))
    found = {str(path): reader.content(path) for path in arguments.files}
    arguments.out.write_text(json.dumps(found), "utf-8")


class Reader:
    """Reads data files through QuPath's classes.

    Parameters
    ----------
    version : (int, int)
        Of the QuPath that runs.
    """

    def __init__(self, version: tuple[int, int]) -> None:
        from jpype import JClass

        self.java = JClass
        self.version = version
        image = JClass("java.awt.image.BufferedImage")
        self._class = image.class_
        # QuPath 0.5 wants pixels before it reads objects: any will do
        server = JClass("qupath.lib.images.servers.WrappedBufferedImageServer")
        self._server = server("any", white_image(64, 64))

    def content(self, path: Path) -> dict[str, Any]:
        """All that is in a data file, or the error."""
        error = self.java("java.lang.Throwable")
        try:
            return self._read(path)
        except error as raised:
            return {"error": " ".join(str(raised).split())}

    def _read(self, path: Path) -> dict[str, Any]:
        self._forget_classes()
        data = self.java("qupath.lib.io.PathIO").readImageData(
            self.java("java.io.File")(str(path)), None, self._server, self._class
        )
        hierarchy = data.getHierarchy()
        root = hierarchy.getRootObject()
        everything = [root, *root.getDescendantObjects(None)]
        number = {each: at for at, each in enumerate(everything)}
        return {
            "image type": str(data.getImageType().name()),
            "stains": str(data.getColorDeconvolutionStains()),
            "properties": dict(self._properties(data)),
            "history": [
                [str(step.getName()), str(step.getScript()), _texts(step.getParameterMap())]
                for step in data.getHistoryWorkflow().getSteps()
            ],
            "TMA": self._grid(hierarchy.getTMAGrid()),
            # a parent by its number: QuPath before 0.4 has no other identity
            "objects": [
                {**self._object(each), "parent": number.get(each.getParent())}
                for each in everything
            ],
        }

    def _forget_classes(self) -> None:
        """Let each file bring its own colours: QuPath keeps one object a class name."""
        if self.version >= (0, 4):
            classes = self.java("qupath.lib.objects.classes.PathClass").class_
            field = classes.getDeclaredField("existingClasses")
            field.setAccessible(True)
            field.get(None).clear()

    def _properties(self, data: Any) -> Iterator[tuple[str, Any]]:
        for key, value in data.getProperties().items():
            if str(key) == "OBJECT_CONNECTIONS":
                yield str(key), [self._links(group) for group in value.getConnectionGroups()]
            else:
                yield str(key), str(value)

    def _links(self, group: Any) -> list[Any]:
        return [
            [self._place(each), [self._place(other) for other in group.getConnectedObjects(each)]]
            for each in group.getPathObjects()
        ]

    def _place(self, each: Any) -> str:
        return str(each.getROI()) + "/" + self._id(each)

    def _grid(self, grid: Any) -> Any:
        if grid is None:
            return None
        names = [f"{core.getName()} {core.isMissing()}" for core in grid.getTMACoreList()]
        return [int(grid.getGridWidth()), int(grid.getGridHeight()), names]

    def _id(self, each: Any) -> str:
        return str(each.getID()) if self.version >= (0, 4) else ""

    def _object(self, each: Any) -> dict[str, Any]:
        path_class, roi = each.getPathClass(), each.getROI()
        colour = each.getColor() if self.version >= (0, 4) else each.getColorRGB()
        nucleus = getattr(each, "getNucleusROI", lambda: None)()
        return {
            "kind": str(each.getClass().getSimpleName()),
            "id": self._id(each),
            "name": None if each.getName() is None else str(each.getName()),
            "colour": None if colour is None else int(colour),
            "class": self._class_of(path_class),
            "probability": struct.pack(">d", each.getClassProbability()).hex(),
            "locked": bool(each.isLocked()),
            "metadata": self._metadata(each),
            "roi": self._roi(roi),
            "nucleus": self._roi(nucleus),
            "measurements": self._measurements(each.getMeasurementList()),
        }

    def _class_of(self, path_class: Any) -> Any:
        if path_class is None:
            return None
        colour = path_class.getColor()
        return [str(path_class), None if colour is None else int(colour)]

    def _metadata(self, each: Any) -> dict[str, str]:
        if hasattr(each, "getMetadata"):
            return _texts(each.getMetadata())
        return _texts(each.getMetadataMap()) if hasattr(each, "getMetadataMap") else {}

    def _roi(self, roi: Any) -> Any:
        if roi is None:
            return None
        wkb = self.java("org.locationtech.jts.io.WKBWriter")().write(roi.getGeometry())
        plane = [int(roi.getC()), int(roi.getZ()), int(roi.getT())]
        return [str(roi.getRoiName()), plane, bytes(memoryview(wkb)).hex()]

    def _measurements(self, found: Any) -> list[list[str]]:
        get = found.get if self.version >= (0, 4) else found.getMeasurementValue
        # as bits: a NaN is equal to itself then
        return [
            [str(name), struct.pack(">d", get(name)).hex()] for name in found.getMeasurementNames()
        ]


def _texts(values: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in values.items()}


if __name__ == "__main__":
    main()
