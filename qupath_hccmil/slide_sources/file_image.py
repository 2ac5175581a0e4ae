"""Which image of which file a slide is, so that one image is not taken for two patients'."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from qupath_hccmil.errors import DataError, HccMilError
from qupath_hccmil.qupath.data_types import ImageEntry
from qupath_hccmil.qupath.project_folder import Project
from qupath_hccmil.qupath.slide_location import locate_slide
from qupath_hccmil.scoring.open_image import image_in_file


@dataclass(frozen=True)
class FileImage:
    """An image in a file, equal for all links and URIs that lead to it.

    Attributes
    ----------
    file : str
        Path without links; the URI of a file that is not here.
    image : tuple of str
        See :func:`~qupath_hccmil.scoring.open_image.image_in_file`; empty for the first image, or
        the only one.
    """

    file: str
    image: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path, entry: ImageEntry | None = None) -> FileImage:
        """Image that an entry shows of a file; without an entry, the file as a whole."""
        part = () if entry is None else image_in_file(entry.server)
        return cls(os.path.normcase(os.path.realpath(path)), part)

    @classmethod
    def of_project(
        cls, entry: ImageEntry, project: Project, slides_dir: Path | None = None
    ) -> FileImage:
        """Image of a project's entry, whose file need not be here."""
        try:
            return cls.of(
                locate_slide(entry, project.path, project.previous_uri, slides_dir), entry
            )
        except HccMilError:
            # An image that QuPath composed of several files has no URI, and no other is like it.
            return cls(entry.server.uri or f"image {entry.id}", image_in_file(entry.server))


def refuse_images_of_two_patients(owned: Iterable[tuple[FileImage, str, str]]) -> list[str]:
    """Refuse an image that belongs to two patients, whom a split could put on both sides.

    Parameters
    ----------
    owned : iterable of (FileImage, str, str)
        Image, patient, and the name of the slide or file, for the message.

    Returns
    -------
    list of str
        For each file of which several patients have an image of their own, a line that says so.

    Raises
    ------
    DataError
        It names the file and both patients.
    """
    first: dict[FileImage, tuple[str, str]] = {}
    in_file: dict[str, dict[str, str]] = {}
    for image, patient, name in owned:
        other, before = first.setdefault(image, (patient, name))
        if other != patient:
            raise DataError(
                f"{image.file}: is of two patients, {other!r} (as {before}) and {patient!r} (as "
                f"{name}), so a split could put it on both sides; keep it for one of them"
            )
        in_file.setdefault(image.file, {}).setdefault(patient, name)
    return [
        f"{file}: its images are of {len(of)} patients, "
        + ", ".join(f"{patient!r} ({name})" for patient, name in of.items())
        + "; check that they are"
        for file, of in in_file.items()
        if len(of) > 1
    ]
