"""Small projects before and after one of our writes, and what may be found in between."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from shapely.geometry import box

from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.data_types import ImageResults, ImageState, TileObjects, WorkflowStep
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.project_differences import difference
from qupath_hccmil.qupath.project_folder import Project
from qupath_hccmil.qupath.writing.backups import BACKUPS
from qupath_hccmil.qupath.writing.restore_backup import restore

Engine = type[Project]


def results_of(state: ImageState, risk: float) -> ImageResults:
    """Results that tell by their numbers which run they are of."""
    identity = state.annotations[0].index
    tiles = TileObjects(
        bounds=np.array([[100.0, 100.0, 512.0, 512.0], [612.0, 100.0, 512.0, 512.0]]),
        class_names=[names.CLASS_HIGH, names.CLASS_LOW],
        measurements={names.TILE_RISK: np.array([risk, risk / 2])},
    )
    return ImageResults(
        annotations={identity: {names.ANNOTATION_RISK: risk}},
        tiles={identity: tiles},
        root={names.SLIDE_RISK: risk},
        metadata={names.META_RISK: repr(risk), names.META_MODEL: "a model"},
        step=WorkflowStep(names.STEP_NAME, "// nothing", {"record": repr(risk)}),
    )


def make_project(folder: Path) -> Path:
    outline = NewAnnotation(box(0, 0, 2000, 1500), "Tumor", "Knoten é")
    image = NewImage(
        folder.parent / "slide.tif",
        "Slide 1",
        3000,
        2000,
        0.25,
        annotations=[outline],
        metadata={"Patient ID": "P1"},
    )
    create_project(folder, [image])
    return folder


def score(engine: Engine, folder: Path, risk: float) -> None:
    with engine(folder) as project:
        project.add_classes(names.CLASS_COLOURS)
        for entry in project.images:
            state = project.read(entry)
            project.write(entry, results_of(state, risk), state.stamp)


def clear(engine: Engine, folder: Path) -> None:
    with engine(folder) as project:
        for entry in project.images:
            project.write(entry, ImageResults(), project.read(entry).stamp)


@dataclass(frozen=True)
class Transition:
    """A write.

    Attributes
    ----------
    prepare : callable
        Brings a new project to where the write begins.
    write : callable
        The write.
    """

    prepare: Callable[[Path], object]
    write: Callable[[Engine, Path], object]


TRANSITIONS = {
    "score": Transition(lambda folder: None, lambda engine, folder: score(engine, folder, 0.7)),
    "score again": Transition(
        lambda folder: score(NativeProject, folder, 0.2),
        lambda engine, folder: score(engine, folder, 0.7),
    ),
    "clear": Transition(
        lambda folder: score(NativeProject, folder, 0.2),
        lambda engine, folder: clear(engine, folder),
    ),
    "restore": Transition(
        lambda folder: [score(NativeProject, folder, risk) for risk in (0.2, 0.7)],
        lambda engine, folder: restore(folder),
    ),
}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a project that is not ours alone, without the time in a summary."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name.startswith(BACKUPS) or is_temporary(path):
            continue
        content = path.read_bytes()
        if path.name == "summary.json":
            content = json.dumps({**json.loads(content), "timestamp": 0}).encode()
        found[name] = content
    return found


def is_temporary(path: Path) -> bool:
    return path.name.endswith("hccmil-tmp") or path.name.startswith(("hccmil.lock", ".hccmil.lock"))


def leftovers(folder: Path) -> list[str]:
    """What no finished run leaves: files beside others, locks, journals, empty folders."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if is_temporary(path)
        or path.name.startswith(("journal", "manifest-next"))
        or path.name == ".undo"
        or (path.is_dir() and not any(path.iterdir()))
    ]


def shown(folder: Path) -> tuple[str, str]:
    """Which run's results the image shows, and which the project's list does; "-" for none.

    Raises
    ------
    HccMilError
        The project cannot be opened as it lies there.
    """
    found = set()
    copy = folder.with_name(folder.name + "-looked-at")
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(BACKUPS, "*hccmil.lock*"))
    try:
        with NativeProject(copy) as project:
            for entry in project.images:
                results = project.read(entry).results
                values = {
                    results.root.get(names.SLIDE_RISK),
                    *(each[names.ANNOTATION_RISK] for each in results.annotations.values()),
                    *(
                        round(float(each.measurements[names.TILE_RISK][0]), 6)
                        for each in results.tiles.values()
                    ),
                }
                listed = results.metadata.get(names.META_RISK)
                found.add((*(str(value or "-") for value in values), listed or "-"))
    finally:
        shutil.rmtree(copy)
    ((in_image, in_list),) = found
    return in_image, in_list


def only_ours_differ(before: Path, after: Path) -> list[str]:
    """Differences that are not ours, but for files that wait to be renamed."""
    return [line for line in difference(before, after) if "hccmil" not in line]
