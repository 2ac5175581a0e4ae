"""Reads GeoJSON with the QuPath of PAQUO_QUPATH_DIR, as drag and drop does; prints it as JSON.

Runs in its own process: one process holds one Java.
"""

import json
import sys

import paquo.java  # noqa: F401  starts QuPath's Java
from jpype import JClass


def describe(item) -> dict:
    """One object in plain values."""
    roi, path_class = item.getROI(), item.getPathClass()
    values = item.getMeasurements()
    return {
        "id": str(item.getID()),
        "kind": str(item.getClass().getSimpleName()),
        "name": None if item.getName() is None else str(item.getName()),
        "class": None if path_class is None else str(path_class.toString()),
        "colour": None if path_class is None else int(path_class.getColor()) & 0xFFFFFF,
        "locked": bool(item.isLocked()),
        "roi": str(roi.getRoiName()),
        "area": float(roi.getArea()),
        "bounds": [
            float(roi.getBoundsX()),
            float(roi.getBoundsY()),
            float(roi.getBoundsWidth()),
            float(roi.getBoundsHeight()),
        ],
        "measurements": {
            str(entry.getKey()): float(entry.getValue()) for entry in values.entrySet()
        },
    }


path = JClass("java.nio.file.Paths").get(sys.argv[1])
objects = JClass("qupath.lib.io.PathIO").readObjects(path)
print(json.dumps([describe(item) for item in objects]))
