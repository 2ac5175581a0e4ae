"""Whether the folders of a project's data and its list of images fit together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qupath_hccmil.qupath.data_types import ImageEntry
from qupath_hccmil.qupath.lost_data import objects_listed
from qupath_hccmil.qupath.writing.durable_files import in_plain_words, there

DATA = "data"


def without_image(project: Path, images: Sequence[ImageEntry]) -> list[str]:
    """One line for each folder of data that no image of the project has.

    That is no fault: QuPath leaves the data of an image that was removed from the project, unless
    it is told to delete them.

    Parameters
    ----------
    project : Path
        The ``.qpproj``.
    images : sequence of ImageEntry
        All of the project.

    Raises
    ------
    ProjectError
        The disk does not tell.
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
