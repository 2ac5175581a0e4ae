"""Checks whether a project's data folders agree with its list of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qupath_hccmil.qupath.data_types import ImageEntry
from qupath_hccmil.qupath.lost_data import objects_listed
from qupath_hccmil.qupath.writing.durable_files import in_plain_words, there

DATA = "data"


def without_image(project: Path, images: Sequence[ImageEntry]) -> list[str]:
    """List data folders that belong to no image of the project, one line each.

    This is not a fault: QuPath leaves the data of an image that was removed from the project,
    unless the user asks it to delete them.

    Parameters
    ----------
    project : Path
        The ``.qpproj``.
    images : sequence of ImageEntry
        All images of the project.

    Raises
    ------
    ProjectError
        The disk cannot be read.
    """
    folder = project.parent / DATA
    known = {entry.id for entry in images}
    with in_plain_words(folder):
        if not there(folder):
            return []
        left = sorted(each for each in folder.iterdir() if each.name not in known and each.is_dir())
    return [
        f"{each}: these data belong to no image of the project (its summary lists "
        f"{objects_listed(each) or 'no objects'}); QuPath leaves them when an image is removed "
        "from the project"
        for each in left
    ]
