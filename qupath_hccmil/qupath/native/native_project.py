"""The native engine, which reads and writes QuPath's own files without Java."""

from __future__ import annotations

import hashlib
from pathlib import Path

from qupath_hccmil.errors import ProjectError, UnsupportedDataError, WriteError
from qupath_hccmil.qupath.data_types import EngineName, ImageResults
from qupath_hccmil.qupath.image_data import DataChange, ImageContent, OpenFile, for_data
from qupath_hccmil.qupath.native.javastream import Bytes
from qupath_hccmil.qupath.native.native_results import (
    add_results,
    counts,
    left_to_user,
    read_data,
    remove_results,
)
from qupath_hccmil.qupath.native.qpdata import QpData
from qupath_hccmil.qupath.project_folder import Project
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

    @property
    def open_file(self) -> OpenFile:
        """How the engine reads a data file; also in other processes."""
        return NativeData


class NativeData:
    """A data file that was read; see :class:`~qupath_hccmil.qupath.image_data.OpenData`.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    stamp : str
        Of the bytes that were read.

    Raises
    ------
    UnsupportedDataError
        The file is damaged, or contains something that is not understood.
    ProjectError
        The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.stamp, self._data = _parsed(path)

    def content(self) -> ImageContent:
        """What is in the file."""
        data = self._data
        try:
            annotations, others, results = read_data(data)
        except UnsupportedDataError as error:
            raise UnsupportedDataError(f"{self._path}: {error}") from error
        return ImageContent(
            data.image_type, annotations, others, results, data.read_only, data.note
        )

    def change(self, results: ImageResults) -> DataChange | None:
        """Prepare the file with other results; None if it has none and gets none.

        Raises
        ------
        UnsupportedDataError
            The file is read only, or contains something that is not understood.
        WriteError
            Results belong to an annotation that the file does not have.
        """
        data = self._data
        try:
            if not (remove_results(data) or for_data(results)):
                return None
            data.require_writable()
            base = data.digest()
            written = left_to_user(data, results)
            counted = counts(data, written.tiles.values())
            add_results(data, written)
        except UnsupportedDataError as error:
            raise UnsupportedDataError(f"{self._path}: {error}") from error
        except WriteError as error:
            raise WriteError(f"{self._path}: {error}") from error

        meant = hashlib.sha256()

        def write(beside: Path) -> None:
            # released afterwards, because the check reads the same amount again
            held = self._data
            del self._data
            with beside.open("wb") as file:

                def both(content: Bytes) -> None:
                    meant.update(content)
                    file.write(content)

                held.write(both)

        def reads_back(beside: Path) -> str:
            content = beside.read_bytes()
            found = stamp_bytes(content)
            as_meant = found == meant.hexdigest() and _is_meant(content, base, written)
            return found if as_meant else ""

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
    return _parsed(path)[1]


def _parsed(path: Path) -> tuple[str, QpData]:
    """The stamp of a data file, and its content."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return stamp_bytes(content), QpData(content)
    except UnsupportedDataError as error:
        advice = what_to_do(content[:HEAD])
        raise UnsupportedDataError(f"{path}: {error}; {advice}") from error


def _is_meant(content: bytes, base: str, results: ImageResults) -> bool:
    """Whether a written file has the results, and without them equals the user's data."""
    data = QpData(content)
    if not same_results(read_data(data)[2], results):
        return False
    remove_results(data)
    return data.digest() == base
