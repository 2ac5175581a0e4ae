"""Many small slides for measurements: entries of one drawn slide, and results of any size."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from shapely.geometry import box

from qupath_hccmil.demo.demo_project import make_demo_project
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.data_types import ImageResults, TileObjects
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.run_record import RunRecord
from qupath_hccmil.results.result_file import read_head, read_results, write_result

SIDE = 512
WIDTH, HEIGHT = 3000, 2400


def drawn_slide(folder: Path) -> Path:
    """Draw a slide of 7 megapixels."""
    return make_demo_project(folder, drawn=True, drawn_size=(WIDTH, HEIGHT)).slide


def project_of(folder: Path, slide: Path, count: int) -> Path:
    """Make a project of `count` images of a slide, each with an outline of four tiles."""
    shape = box(SIDE, SIDE, 3 * SIDE, 3 * SIDE)
    images = [
        NewImage(slide, f"S{n}", WIDTH, HEIGHT, 0.25, annotations=[NewAnnotation(shape, "Tumor")])
        for n in range(count)
    ]
    create_project(folder, images)
    return folder


def results_for(project: Path, like: Path, folder: Path, tiles: int) -> Iterator[Path]:
    """Write a result of so many tiles for each image of a project, made of one that was scored."""
    head = read_head(like)
    results = _with_tiles(read_results(head), tiles)
    with NativeProject(project) as opened:
        for entry in opened.images:
            state = opened.read(entry)
            noted = {"id": entry.id, "name": entry.name}
            depends_on = replace(
                head.depends_on, entry=noted, outlines=annotation_fingerprint(state.annotations)
            )
            path = folder / depends_on.file_name
            write_result(path, depends_on, state.annotations, results, Path(head.slide))
            yield path


def _with_tiles(results: ImageResults, count: int) -> ImageResults:
    """Results of one outline with its tiles repeated, each at a place and with values of its own.

    The values differ in their last digits, since equal ones would take little space on the disk.
    """
    noise = np.random.default_rng(0).uniform(0.999, 1.001, count)
    ((key, tiles),) = results.tiles.items()
    rows = [n % len(tiles) for n in range(count)]
    bounds = tiles.bounds[rows]
    across = int(np.ceil(np.sqrt(count)))
    bounds[:, 0] = SIDE * (np.arange(count) % across)
    bounds[:, 1] = SIDE * (np.arange(count) // across)
    many = TileObjects(
        bounds,
        [tiles.class_names[row] for row in rows],
        {name: values[rows] * noise for name, values in tiles.measurements.items()},
    )
    record = RunRecord.of_step(results.step)
    assert record is not None
    assert results.step is not None
    outlines = tuple(replace(each, tiles=count) for each in record.outlines)
    noted = replace(record, tiles=count, outlines=outlines).to_parameter()
    parameters = {**results.step.parameters, names.STEP_RECORD: noted}
    return replace(results, tiles={key: many}, step=replace(results.step, parameters=parameters))
