"""The paquo engine, which uses the classes of the user's own QuPath for an image's objects.

paquo finds and starts QuPath. Its project object is not used, because loading it creates folders
and saving it writes in place (see :mod:`~qupath_hccmil.qupath.paquo.javadata`).
"""

from __future__ import annotations

from pathlib import Path

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.data_types import EngineName, ImageResults
from qupath_hccmil.qupath.image_data import DataChange, ImageContent, OpenFile, for_data
from qupath_hccmil.qupath.native.native_project import NativeData
from qupath_hccmil.qupath.paquo.java_results import (
    add_results,
    census,
    has_results,
    left_to_user,
    read_results,
    remove_results,
)
from qupath_hccmil.qupath.paquo.javadata import read_data, require_writable, write_data
from qupath_hccmil.qupath.paquo.javaobjects import (
    annotations_of,
    descendants,
    our_tiles,
    read_annotation,
    regions_have_places,
    user_content,
)
from qupath_hccmil.qupath.paquo.jvm import start_qupath
from qupath_hccmil.qupath.paquo.stains import keep_stains
from qupath_hccmil.qupath.project_folder import Project
from qupath_hccmil.qupath.results_comparison import same_results
from qupath_hccmil.qupath.writing.durable_files import stamp
from qupath_hccmil.qupath.writing.transaction import conflict


class PaquoProject(Project):
    """An open project whose images are read and written by the user's QuPath.

    Parameters
    ----------
    path : Path
        The project's folder or its ``.qpproj``.
    recover : bool
        See :class:`Project`.

    Raises
    ------
    ProjectError
        The path is not a project.
    EngineError
        QuPath is not found or does not start.
    """

    engine: EngineName = "paquo"

    def __init__(self, path: Path, *, recover: bool = True) -> None:
        super().__init__(path, recover=recover)
        self.qupath_in_use = start_qupath()

    @property
    def open_file(self) -> OpenFile:
        """How the engine reads a data file; also in other processes, which start QuPath then."""
        return JavaFile


class JavaFile:
    """A data file that was read; see :class:`~qupath_hccmil.qupath.image_data.OpenData`.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    stamp : str
        Of the file when it was read.

    Raises
    ------
    UnsupportedDataError
        QuPath's classes cannot read the file.
    EngineError
        QuPath does not start in this process.
    """

    def __init__(self, path: Path) -> None:
        self._qupath = start_qupath()
        self._path = path
        # Taken before reading, so that a change in between is noticed when we write.
        self.stamp = stamp(path)
        self._data = read_data(path)

    def content(self) -> ImageContent:
        """What is in the file."""
        data = self._data
        everything = descendants(data.root)
        try:
            annotations = [
                read_annotation(each, data.root, index)
                for index, each in enumerate(annotations_of(everything))
            ]
        except UnsupportedDataError as error:
            raise UnsupportedDataError(f"{self._path}: {error}") from error
        users = int(everything.size() - our_tiles(everything).size())
        return ImageContent(
            image_type=data.image_type,
            annotations=annotations,
            other_objects=users - len(annotations),
            results=read_results(data),
            read_only=data.read_only,
            note=data.note,
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
        data, path = self._data, self._path
        if not (has_results(data) or for_data(results)):
            return None
        require_writable(path, data)
        if data.is_newer_than(self._qupath) or not regions_have_places(data.root):
            # QuPath's classes drop what they do not know, and change corners that are not numbers.
            return self._native_change(results)
        remove_results(data)
        users = user_content(data.root)
        written = left_to_user(data, results)
        add_results(data, written, path)

        def write(beside: Path) -> None:
            # released afterwards, because the check reads the same number of objects again
            held = self._data
            del self._data
            with beside.open("wb") as file:
                write_data(file, held)
            keep_stains(path, beside)

        def reads_back(beside: Path) -> str:
            stamped = stamp(beside)
            found = read_data(beside)
            as_meant = user_content(found.root) == users
            return stamped if as_meant and same_results(read_results(found), written) else ""

        return DataChange(write, reads_back, data.image_type, census(data))

    def _native_change(self, results: ImageResults) -> DataChange | None:
        native = NativeData(self._path)
        if native.stamp != self.stamp:
            raise conflict(self._path)
        return native.change(results)
