"""A process with a QuPath in it: reads tasks from standard input, writes answers to its output."""

import contextlib
import io
import json
import os
import pickle
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from qupath_hccmil.errors import HccMilError, UnsupportedDataError
from qupath_hccmil.qupath.data_types import ImageResults, ImageState
from qupath_hccmil.qupath.paquo.java_rois import check_area, roi_geometry
from qupath_hccmil.qupath.paquo.javadata import _not_read, read_data, write_data
from qupath_hccmil.qupath.paquo.javaobjects import annotations_of, descendants, our_tiles
from qupath_hccmil.qupath.paquo.jvm import java, start_qupath
from qupath_hccmil.qupath.paquo.paquo_project import PaquoProject
from tests.qupath.big_results import score


def version() -> str:
    return start_qupath()


def default_classes() -> dict[str, int]:
    """QuPath's own default classes, with their packed RGB."""
    start_qupath()
    kinds = java("qupath.lib.objects.classes.PathClass$StandardPathClasses")
    fields = ("TUMOR", "STROMA", "IMMUNE_CELLS", "NECROSIS", "OTHER", "REGION", "IGNORE")
    found = [getattr(kinds, name) for name in (*fields, "POSITIVE", "NEGATIVE")]
    return {str(each.toString()): int(each.getColor()) & 0xFFFFFF for each in found}


def read(path: Path) -> list[ImageState]:
    with PaquoProject(path) as project:
        return [project.read(entry) for entry in project.images]


def write(path: Path, results: dict[str, ImageResults], stamps: dict[str, str]) -> None:
    with PaquoProject(path) as project:
        for entry in project.images:
            if entry.id in results:
                project.write(entry, results[entry.id], stamps[entry.id])


def write_on_a_full_disk(path: Path, results: dict[str, ImageResults], limit: int) -> None:
    """Let no file grow beyond a limit, in bytes, while writing."""
    state = {each.entry.id: each.stamp for each in read(path)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        write(path, results, state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def classes(path: Path, colours: dict[str, int]) -> None:
    with PaquoProject(path) as project:
        project.add_classes(colours)


def project_classes(path: Path) -> dict[str, int]:
    """Classes as QuPath's own project object shows them."""
    from paquo.projects import QuPathProject

    project = QuPathProject(path / "project.qpproj", "r").java_object
    return {str(each.toString()): int(each.getColor()) for each in project.getPathClasses()}


def entry_metadata(path: Path) -> dict[str, str]:
    """Metadata of the first image as QuPath's own project object shows them."""
    from paquo.projects import QuPathProject

    return dict(QuPathProject(path / "project.qpproj", "r").images[0].metadata)


def shown(path: Path) -> dict[str, object]:
    """What QuPath's own way of reading finds in the first image."""
    from paquo.projects import QuPathProject

    hierarchy = QuPathProject(path / "project.qpproj", "r").images[0].hierarchy.java_object
    tiles = hierarchy.getTileObjects()
    return {
        "annotations": int(hierarchy.getAnnotationObjects().size()),
        "cells": int(hierarchy.getCellObjects().size()),
        "tiles": {
            str(tile.getID().toString()): (
                str(tile.getPathClass().toString()),
                {str(each.getKey()): float(each.getValue()) for each in measured.entrySet()},
            )
            for tile in tiles
            for measured in [tile.getMeasurements()]
        },
    }


def opened(path: Path) -> list[dict[str, Any]]:
    """Which run's results QuPath's own classes find in each image, and in the project's list."""
    from paquo.projects import QuPathProject

    start_qupath()
    found = []
    project = QuPathProject(path / "project.qpproj", "r").java_object
    for entry in project.getImageList():
        hierarchy = entry.readHierarchy()
        risk = hierarchy.getRootObject().getMeasurements().get("HCC-MIL: Slide risk score")
        listed = entry.getMetadataMap().get("HCC-MIL risk score")
        found.append(
            {
                "image": "-" if risk is None else str(float(risk)),
                "list": "-" if listed is None else str(listed),
                "annotations": int(hierarchy.getAnnotationObjects().size()),
                "tiles": int(hierarchy.getTileObjects().size()),
            }
        )
    return found


def saved(path: Path) -> list[dict[str, Any]]:
    """Open each image of a project as QuPath does, save it and the project; what QuPath found."""
    from paquo.projects import QuPathProject

    start_qupath()
    java("qupath.lib.images.servers.openslide.jna.OpenSlideLoader").tryToLoad()
    found = []
    project = QuPathProject(path / "project.qpproj", "r+").java_object
    for entry in project.getImageList():
        data = entry.readImageData()
        server = data.getServer()
        found.append(
            {
                "name": str(entry.getImageName()),
                "type": str(data.getImageType().name()),
                "stains": str(data.getColorDeconvolutionStains().getName()),
                "size": (int(server.getWidth()), int(server.getHeight())),
                "mpp": float(server.getPixelCalibration().getPixelWidthMicrons()),
                "thumbnail": entry.getThumbnail() is not None,
                "annotations": [
                    str(each.getPathClass()) for each in data.getHierarchy().getAnnotationObjects()
                ],
                "metadata": {str(k): str(v) for k, v in dict(entry.getMetadataMap()).items()},
            }
        )
        entry.saveImageData(data)
    project.syncChanges()
    return found


def pixels(path: Path, slide: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Whole images as QuPath's own servers give them, as (h, w, 3) uint8."""
    start_qupath()
    from paquo.projects import QuPathProject

    java("qupath.lib.images.servers.openslide.jna.OpenSlideLoader").tryToLoad()
    found = {}
    for entry in QuPathProject(path / "project.qpproj", "r").java_object.getImageList():
        if str(entry.getImageName()) not in names:
            continue
        moved = java("java.util.HashMap")()
        for uri in entry.getURIs():
            moved.put(uri, java("java.io.File")(str(slide)).toURI())
        server = entry.getServerBuilder().updateURIs(moved).build()
        width, height = int(server.getWidth()), int(server.getHeight())
        found[str(entry.getImageName())] = _rgb(server.readRegion(1.0, 0, 0, width, height))
        server.close()
    return found


def providers() -> list[str]:
    """Classes by which this QuPath opens files."""
    start_qupath()
    java("qupath.lib.images.servers.openslide.jna.OpenSlideLoader").tryToLoad()
    known = java("qupath.lib.images.servers.ImageServerProvider").getInstalledImageServerBuilders()
    return [str(each.getClass().getName()) for each in known]


def server_pixels(server: dict[str, Any]) -> np.ndarray | None:
    """Whole image of a server that is given as JSON, as (h, w, 3) uint8; None where not in RGB."""
    start_qupath()
    java("qupath.lib.images.servers.openslide.jna.OpenSlideLoader").tryToLoad()
    builder = java("qupath.lib.images.servers.ImageServerBuilder$ServerBuilder").class_
    gson = java("qupath.lib.io.GsonTools").getInstance()
    with contextlib.closing(gson.fromJson(json.dumps(server), builder).build()) as opened:
        if not opened.isRGB():
            return None
        size = int(opened.getWidth()), int(opened.getHeight())
        return _rgb(opened.readRegion(1.0, 0, 0, *size))


def imagej_pixels(path: Path) -> np.ndarray | None:
    """Image as ImageJ opens it, as (h, w, 3) uint8; None where it is none in RGB."""
    start_qupath()
    java("java.lang.System").setProperty("java.awt.headless", "true")
    java("ij.IJ").redirectErrorMessages(True)
    opened = java("ij.IJ").openImage(str(path))
    if opened is None or int(opened.getType()) != int(java("ij.ImagePlus").COLOR_RGB):
        return None
    return _rgb(opened.getProcessor().getBufferedImage())


def _rgb(image: Any) -> np.ndarray:
    width, height = int(image.getWidth()), int(image.getHeight())
    packed = np.array(image.getRGB(0, 0, width, height, None, 0, width), np.int32)
    return packed.view(np.uint8).reshape(height, width, 4)[..., 2::-1]


def put_into_our_tile(data_file: Path) -> int:
    """Move the first annotation's other children into its last tile, as a user can in QuPath."""
    data = read_data(data_file)
    annotation = annotations_of(descendants(data.root))[0]
    tiles = our_tiles(annotation.getChildObjects())
    others = [child for child in annotation.getChildObjects() if not tiles.contains(child)]
    tiles[tiles.size() - 1].addChildObjects(java("java.util.ArrayList")(others))
    with data_file.open("wb") as file:
        write_data(file, data)
    return len(others)


def edit_outlines(data_file: Path, second: tuple[float, ...], added: tuple[float, ...]) -> None:
    """Draw the second annotation anew, delete the third, add one; x, y, right, bottom in px."""
    start_qupath()
    data = read_data(data_file)
    annotations = annotations_of(descendants(data.root))
    annotations[1].setROI(_rectangle(second))
    data.root.removeChildObject(annotations[2])
    new = java("qupath.lib.objects.PathObjects").createAnnotationObject(
        _rectangle(added), annotations[0].getPathClass()
    )
    data.root.addChildObject(new)
    with data_file.open("wb") as file:
        write_data(file, data)


def _rectangle(bounds: tuple[float, ...]) -> Any:
    x, y, right, bottom = bounds
    roi = java("qupath.lib.roi.ROIs")
    return roi.createRectangleROI(x, y, right - x, bottom - y, _plane())


def command(arguments: list[str]) -> str:
    """Run a command line of ours in this process; what it prints."""
    from qupath_hccmil.cli.main import run

    start_qupath()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run(arguments)
    return printed.getvalue()


def java_error_at(path: Path, image: str) -> list[tuple[str, str]]:
    """Status and reason of each image where Java raises an error at one of them."""
    from qupath_hccmil.scoring.score_project import BatchOptions, score_project
    from qupath_hccmil.scoring.score_settings import ScoreSettings
    from qupath_hccmil.scoring.scorer import ScorerSource

    class Breaks:
        def start(self, name: str, n_tiles: int) -> None:
            if name == image:
                raise java("java.lang.IllegalStateException")("first\nsecond")

        def finish(self, outcome: Any) -> None:
            found.append((outcome.status, outcome.reason))

    found: list[tuple[str, str]] = []
    shutil.copy(path / "data" / "1" / "data.qpdata", path / "data" / "2" / "data.qpdata")
    with PaquoProject(path) as project:
        options = BatchOptions(dry_run=True)
        list(score_project(project, ScorerSource(None), ScoreSettings(), options, Breaks()))
    return found


def said_of_no_memory(data_file: Path) -> list[str]:
    """What is said where Java has no memory for a file, plainly and out of a call by reflection.

    The errors are made: a Java that really has no memory left may stop at any other place too.
    """
    error = java("java.lang.OutOfMemoryError")("Java heap space")
    wrapped = java("java.lang.reflect.InvocationTargetException")(error)
    return [str(_not_read(data_file, each)) for each in (error, wrapped)]


def used_memory_while(path: Path, results: ImageResults, at: list[int]) -> list[int]:
    """Score one image after the other; Java's memory in use, in bytes, at some of them."""
    used = []
    runtime = java("java.lang.Runtime").getRuntime() if start_qupath() else None
    with PaquoProject(path) as project:
        for number, entry in enumerate(project.images, 1):
            project.write(entry, results, project.read(entry).stamp)
            if number in at:
                java("java.lang.System").gc()
                used.append(int(runtime.totalMemory() - runtime.freeMemory()))
    return used


def steps_while_scoring(paths: list[Path], tiles: int) -> list[int]:
    """Lines that Python runs in the paquo engine while it reads and writes each first image."""
    steps = 0

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal steps
        if "paquo" not in frame.f_code.co_filename:
            return None
        steps += 1
        return trace

    # what is made once a process is of no image
    score(paths[0], tiles, "paquo")
    found = []
    for path in paths:
        steps = 0
        sys.settrace(trace)
        try:
            score(path, tiles, "paquo")
        finally:
            sys.settrace(None)
        found.append(steps)
    return found


def inside(corners: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, float]:
    """Which places a polygon contains, and its area, as QuPath's own classes say."""
    start_qupath()
    roi = java("qupath.lib.roi.ROIs").createPolygonROI(*map(_java, corners.T), _plane())
    return np.array([bool(roi.contains(*place)) for place in places.tolist()]), float(roi.getArea())


def inside_geometry(wkt: str, places: np.ndarray) -> np.ndarray:
    """Which places a region of several parts or with holes contains, as QuPath says."""
    start_qupath()
    tools = java("qupath.lib.roi.GeometryTools")
    reader = java("org.locationtech.jts.io.WKTReader")(tools.getDefaultFactory())
    roi = tools.geometryToROI(reader.read(wkt), _plane())
    return np.array([bool(roi.contains(*place)) for place in places.tolist()])


def most_memory() -> int:
    """Bytes that this process held at most, Java's included."""
    status = Path("/proc/self/status")
    if status.exists():
        # unlike ru_maxrss, it does not begin at what the parent held
        (line,) = (row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def refused_area(area: float, found: float) -> str:
    """Why a square is refused whose area QuPath gives as another."""
    start_qupath()
    try:
        check_area(area, found)
    except UnsupportedDataError as error:
        return str(error)
    return ""


def refused_regions() -> list[str]:
    """Regions of all kinds, large and small, on and off QuPath's grid, that are refused."""
    start_qupath()
    rois, tools = java("qupath.lib.roi.ROIs"), java("qupath.lib.roi.GeometryTools")
    bounds = [
        (10, 20, 300, 40),
        (7.123, 8.456, 0.5, 0.7),
        (1e5 + 0.37, 2e5, 3.3, 1.1),
        (0, 0, 0, 0),
    ]
    made = [
        create(*box, _plane())
        for box in bounds
        for create in (rois.createRectangleROI, rois.createEllipseROI)
    ]
    rectangles = [tools.createRectangle(*box) for box in bounds[:2]]
    crossing = "MULTIPOLYGON (((0 0, 9 9, 9 0, 0 9, 0 0)), ((1 1, 5 1, 5 5, 1 5, 1 1)))"
    made.append(rois.createAreaROI(_path([(0, 0), (9, 9), (9, 0), (0, 9)]), _plane()))
    made.append(tools.geometryToROI(rectangles[0].difference(rectangles[0].buffer(-5)), _plane()))
    reader = java("org.locationtech.jts.io.WKTReader")(tools.getDefaultFactory())
    made.append(tools.geometryToROI(reader.read(crossing), _plane()))
    made.append(rois.createPointsROI(3.0, 4.0, _plane()))
    made.append(rois.createLineROI(1.0, 2.0, 30.0, 40.0, _plane()))
    found = []
    for roi in made:
        try:
            roi_geometry(roi)
        except UnsupportedDataError as error:
            found.append(f"{roi}: {error}")
    return found


def stored_legacy_area(corners: np.ndarray) -> tuple[float, bytes]:
    """Area of a region of the kind that QuPath had in 2019, and the region serialised."""
    start_qupath()
    made = java("qupath.lib.roi.ROIs").createAreaROI(_path(corners.tolist()), _plane())
    stored = java("java.io.ByteArrayOutputStream")()
    with contextlib.closing(java("java.io.ObjectOutputStream")(stored)) as stream:
        stream.writeObject(made)
    return float(made.getArea()), bytes(stored.toByteArray())


def area_of_stored(content: bytes) -> float | str:
    """Area that is read of a serialised region, or why it is refused."""
    import jpype

    start_qupath()
    stored = java("java.io.ByteArrayInputStream")(jpype.JArray(jpype.JByte)(content))
    stream = java("qupath.lib.io.PathIO").createObjectInputStream(stored)
    # through reflection, so that the stream finds QuPath's classes
    region = java("java.io.ObjectInputStream").class_.getMethod("readObject").invoke(stream)
    try:
        return float(roi_geometry(region).area)
    except UnsupportedDataError as error:
        return str(error)


def _path(corners: list[tuple[float, float]]) -> Any:
    path = java("java.awt.geom.Path2D$Float")()
    path.moveTo(*corners[0])
    for corner in corners[1:]:
        path.lineTo(*corner)
    path.closePath()
    return path


def _java(values: np.ndarray) -> Any:
    import jpype

    return jpype.JArray.of(np.ascontiguousarray(values))


def _plane() -> Any:
    return java("qupath.lib.regions.ImagePlane").getDefaultPlane()


TASKS = {
    task.__name__: task
    for task in (
        version,
        read,
        write,
        write_on_a_full_disk,
        classes,
        default_classes,
        project_classes,
        entry_metadata,
        shown,
        opened,
        edit_outlines,
        command,
        saved,
        pixels,
        put_into_our_tile,
        java_error_at,
        said_of_no_memory,
        used_memory_while,
        steps_while_scoring,
        inside,
        providers,
        server_pixels,
        imagej_pixels,
        inside_geometry,
        most_memory,
        refused_area,
        refused_regions,
        stored_legacy_area,
        area_of_stored,
    )
}


def main() -> None:
    # what QuPath prints goes elsewhere
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            task, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer: Any = None
        error = None
        try:
            answer = TASKS[task](*arguments)
        except HccMilError as raised:
            error = (type(raised).__name__, str(raised))
        except Exception as raised:
            error = ("", repr(raised))
        pickle.dump((answer, error), answers)
        answers.flush()


if __name__ == "__main__":
    main()
