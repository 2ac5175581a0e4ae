"""Reads an image's data with a real QuPath, prints what is in it as JSON, and writes it again.

Usage: python qupath_reader.py QUPATH_DIR PROJECT ENTRY_ID WRITTEN_AGAIN
"""

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(qupath: str, project: str, entry_id: str, again: str) -> None:
    os.environ["PAQUO_QUPATH_DIR"] = qupath
    from jpype import JClass
    from paquo.java import LogManager

    LogManager.setWarn()
    path = JClass("java.io.File")(project)
    opened = JClass("qupath.lib.projects.ProjectIO").loadProject(
        path, JClass("java.awt.image.BufferedImage").class_
    )
    entry = next(each for each in opened.getImageList() if str(each.getID()) == entry_id)
    objects = list(_contents(Path(project).parent / "data" / entry_id / "data.qpdata"))
    hierarchy = next(each for each in objects if hasattr(each, "getRootObject"))
    workflow = next(each for each in objects if hasattr(each, "getSteps"))
    root = hierarchy.getRootObject()
    result = {
        "name": str(entry.getImageName()),
        "metadata": {str(k): str(v) for k, v in entry.getMetadataMap().items()},
        "thumbnail": entry.getThumbnail() is not None,
        "classes": {str(each.toString()): each.getColor() for each in opened.getPathClasses()},
        "steps": [
            [str(each.getName()), {str(k): str(v) for k, v in each.getParameterMap().items()}]
            for each in workflow.getSteps()
        ],
        "root": _measurements(root),
        "objects": [_object(each) for each in root.getDescendantObjects(None)],
    }
    _write(objects, again)
    print("JSON" + json.dumps(result))


def _contents(path: Path) -> Any:
    from jpype import JClass

    stream = JClass("qupath.lib.io.PathIO").createObjectInputStream(
        JClass("java.io.FileInputStream")(str(path))
    )
    # through reflection, so that the stream finds QuPath's classes
    read = JClass("java.io.ObjectInputStream").class_.getMethod("readObject")
    stream.readUTF()
    while True:
        each = read.invoke(stream)
        yield each
        if str(each) == "EOF":
            break
    stream.close()


def _write(objects: list[Any], path: str) -> None:
    from jpype import JClass

    stream = JClass("java.io.ObjectOutputStream")(JClass("java.io.FileOutputStream")(path))
    stream.writeUTF("Data file version 3")
    for each in objects:
        stream.writeObject(each)
    stream.close()


def _object(each: Any) -> dict[str, Any]:
    roi, kind = each.getROI(), each.getPathClass()
    return {
        "kind": str(each.getClass().getSimpleName()),
        "id": str(each.getID()),
        "parent": str(each.getParent().getID()),
        "name": None if each.getName() is None else str(each.getName()),
        "class": None if kind is None else str(kind.toString()),
        "colour": None if kind is None else kind.getColor(),
        "locked": bool(each.isLocked()),
        "wkt": str(roi.getGeometry().toText()),
        "bounds": [
            roi.getBoundsX(),
            roi.getBoundsY(),
            roi.getBoundsWidth(),
            roi.getBoundsHeight(),
        ],
        "measurements": _measurements(each),
    }


def _measurements(each: Any) -> dict[str, float]:
    measurements = each.getMeasurementList()
    return {str(name): measurements.get(name) for name in measurements.getMeasurementNames()}


if __name__ == "__main__":
    main(*sys.argv[1:])
