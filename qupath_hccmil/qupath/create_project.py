"""A new QuPath project, made without QuPath."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from qupath_hccmil.atomic_files import atomic_folder
from qupath_hccmil.errors import ProjectError, WriteError
from qupath_hccmil.qupath.image_files import VERSIONS, as_json, image_files
from qupath_hccmil.qupath.names import CLASS_COLOURS
from qupath_hccmil.qupath.new_image import NewAnnotation, NewImage
from qupath_hccmil.qupath.qpproj import CLASSES, with_classes

__all__ = ["VERSIONS", "NewAnnotation", "NewImage", "create_project"]


def create_project(
    folder: Path, images: Sequence[NewImage], *, qupath_version: str = "0.6.0"
) -> Path:
    """Make a project of H&E images in a new or empty folder: all of it, or nothing.

    Parameters
    ----------
    folder : Path
        Parents are made.
    images : sequence of NewImage
    qupath_version : {"0.5.1", "0.6.0", "0.7.0"}
        QuPath whose files are written; newer ones open them too.

    Returns
    -------
    Path
        The ``project.qpproj``.

    Raises
    ------
    ProjectError
        The folder is not empty, or cannot be written.
    """
    if qupath_version not in VERSIONS:
        raise ProjectError(
            f"QuPath {qupath_version}: projects can be made for {', '.join(VERSIONS)}"
        )
    folder = folder.absolute()
    _require_empty(folder)
    files = _files(folder, images, qupath_version)
    try:
        with atomic_folder(folder) as new:
            for name, content in files.items():
                target = new / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
    except WriteError as error:
        raise ProjectError(f"{error}; choose another folder for the project") from error
    return folder / "project.qpproj"


def _require_empty(folder: Path) -> None:
    try:
        if any(folder.iterdir()):
            raise ProjectError(f"{folder}: is not empty; give a new folder for the project")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ProjectError(f"{folder}: {error.strerror}; give a new folder") from error


def _files(folder: Path, images: Sequence[NewImage], version: str) -> dict[str, bytes]:
    """Return all files by their path in the folder."""
    now = time.time_ns() // 1_000_000
    project = folder / "project.qpproj"
    made = [
        image_files(image, number, project=project, qupath_version=version, now=now)
        for number, image in enumerate(images, 1)
    ]
    files = {path: content for each in made for path, content in each.files.items()}
    classes = {name: colour for each in made for name, colour in each.classes.items()}
    files[CLASSES.as_posix()] = with_classes(b"", {**classes, **CLASS_COLOURS}) or b""
    if version != "0.5.1":
        files["data/metadata.json"] = b"{}"
    files["project.qpproj"] = as_json(
        {
            "version": version,
            "createTimestamp": now,
            "modifyTimestamp": now,
            "uri": project.as_uri(),
            "lastID": len(images),
            "images": [each.entry for each in made],
        }
    )
    return files
