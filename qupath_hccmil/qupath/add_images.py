"""Adds images to an existing project and keeps its content byte for byte."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from qupath_hccmil.qupath.image_files import VERSIONS, image_files
from qupath_hccmil.qupath.new_image import NewImage
from qupath_hccmil.qupath.path_guard import require_inside
from qupath_hccmil.qupath.qpproj import (
    CLASSES,
    next_entry_id,
    read_project,
    with_classes,
    with_new_entries,
)
from qupath_hccmil.qupath.writing.durable_files import stamp, stamp_bytes
from qupath_hccmil.qupath.writing.replace_files import Replacement, WriteRun


def add_images(run: WriteRun, project: Path, images: Sequence[NewImage]) -> None:
    """Append images to those of a project: all of them, or none.

    Parameters
    ----------
    run : WriteRun
        A run of kind ``add``; it may add several times.
    project : Path
        The ``.qpproj``.
    images : sequence of NewImage

    Raises
    ------
    ProjectError
        The project cannot be read.
    ConflictError
        QuPath saved the project's list in the meantime; nothing was changed.
    WriteError
        The disk refused; nothing was changed.
    """
    run.begin()
    version = written_as(read_project(project).version)
    content = project.read_bytes()
    first = next_entry_id(project)
    now = time.time_ns() // 1_000_000
    made = [
        image_files(image, number, project=project, qupath_version=version, now=now)
        for number, image in enumerate(images, first)
    ]
    folder = project.parent
    files = [
        Replacement.of_bytes(require_inside(folder / path, folder), new, "")
        for each in made
        for path, new in each.files.items()
    ]
    files += _classes(folder, {name: rgb for each in made for name, rgb in each.classes.items()})
    # Last, because from then on the images are in the project.
    longer = with_new_entries(content, [each.entry for each in made])
    files.append(Replacement.of_bytes(project, longer, stamp_bytes(content), _is_project))
    run.replace(files)


def written_as(version: str) -> str:
    """QuPath version for new files in a project of another version: the nearest older one.

    Examples
    --------
    >>> written_as("0.6.0-rc3"), written_as("0.8.1"), written_as("0.4.4")
    ('0.6.0', '0.7.0', '0.5.1')
    """
    numbers = version.split("-")[0].split(".")
    minor = ".".join(numbers[:2])
    same = [known for known in VERSIONS if known.startswith(f"{minor}.")]
    older = [known for known in VERSIONS if _parts(known) <= _parts(version)]
    return (same or older[-1:] or [VERSIONS[0]])[0]


def _parts(version: str) -> list[int]:
    return [int(each) for each in version.split("-")[0].split(".") if each.isdigit()]


def _classes(folder: Path, colours: dict[str, int]) -> list[Replacement]:
    path = require_inside(folder / CLASSES, folder)
    before = stamp(path)
    changed = with_classes(path.read_bytes() if before else b"", colours) if colours else None
    return [] if changed is None else [Replacement.of_bytes(path, changed, before)]


def _is_project(path: Path) -> None:
    read_project(path)
