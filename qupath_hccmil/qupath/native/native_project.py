"""The native engine, which reads and writes QuPath's own files without Java."""

from __future__ import annotations

import hashlib
from pathlib import Path

from qupath_hccmil.errors import ProjectError, UnsupportedDataError, WriteError
from qupath_hccmil.qupath.data_types import EngineName, ImageResults
from qupath_hccmil.qupath.native.javastream import Bytes
from qupath_hccmil.qupath.native.native_results import (
    add_results,
    counts,
    left_to_user,
    read_data,
    remove_results,
)
from qupath_hccmil.qupath.native.qpdata import QpData
from qupath_hccmil.qupath.project_folder import DataChange, ImageContent, Project, for_data
from qupath_hccmil.qupath.qupath_versions import HEAD, what_to_do
from qupath_hccmil.qupath.results_comparison import same_results
from qupath_hccmil.qupath.writing.durable_files import stamp_bytes


class NativeProject(Project):
    """An open project whose images are read and written without QuPath and without Java.

    Parameters
    ----------
    path : Path
        The project's folder or its ``.qpproj``.

    Raises
    ------
    ProjectError
        The path is not a project.
    """

    engine: EngineName = "native"

    def _content(self, path: Path) -> ImageContent:
        data = parse(path)
        try:
            annotations, others, results = read_data(data)
        except UnsupportedDataError as error:
            raise UnsupportedDataError(f"{path}: {error}") from error
        return ImageContent(
            data.image_type, annotations, others, results, data.read_only, data.note
        )

    def _change(self, path: Path, results: ImageResults) -> DataChange | None:
        return native_change(path, results)


def native_change(path: Path, results: ImageResults) -> DataChange | None:
    """Prepare a data file with other results; None if it has none and gets none.

    Raises
    ------
    UnsupportedDataError
        The file is damaged or read only, or contains something that is not understood.
    WriteError
        Results belong to an annotation that the file does not have.
    """
    data = parse(path)
    try:
        if not (remove_results(data) or for_data(results)):
            return None
        data.require_writable()
        base = data.digest()
        written = left_to_user(data, results)
        counted = counts(data, written.tiles.values())
        add_results(data, written)
    except UnsupportedDataError as error:
        raise UnsupportedDataError(f"{path}: {error}") from error
    except WriteError as error:
        raise WriteError(f"{path}: {error}") from error

    held = [data]
    meant = hashlib.sha256()

    def write(beside: Path) -> None:
        # released afterwards, because the check reads the same amount again
        with beside.open("wb") as file:

            def both(content: Bytes) -> None:
                meant.update(content)
                file.write(content)

            held.pop().write(both)

    def reads_back(beside: Path) -> bool:
        return _is_meant(beside.read_bytes(), meant.hexdigest(), base, written)

    return DataChange(write, reads_back, data.image_type, counted)


def parse(path: Path) -> QpData:
    """Parse a data file.

    Raises
    ------
    UnsupportedDataError
        The file is damaged, or contains something that is not understood.
    ProjectError
        The file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return QpData(content)
    except UnsupportedDataError as error:
        advice = what_to_do(content[:HEAD])
        raise UnsupportedDataError(f"{path}: {error}; {advice}") from error


def _is_meant(content: bytes, after: str, base: str, results: ImageResults) -> bool:
    """Whether a written file has the results, and without them equals the user's data."""
    if stamp_bytes(content) != after:
        return False
    data = QpData(content)
    if not same_results(read_data(data)[2], results):
        return False
    remove_results(data)
    return data.digest() == base
