"""The paquo engine, which uses the classes of the user's own QuPath for an image's objects.

paquo finds and starts QuPath. Its project object is not used, because loading it creates folders
and saving it writes in place (see :mod:`~qupath_hccmil.qupath.paquo.javadata`).
"""

from __future__ import annotations

from pathlib import Path

from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.data_types import EngineName, ImageResults
from qupath_hccmil.qupath.native.native_project import native_change
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
from qupath_hccmil.qupath.project_folder import DataChange, ImageContent, Project, for_data
from qupath_hccmil.qupath.results_comparison import same_results


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

    def _content(self, path: Path) -> ImageContent:
        data = read_data(path)
        everything = descendants(data.root)
        try:
            annotations = [
                read_annotation(each, data.root, index)
                for index, each in enumerate(annotations_of(everything))
            ]
        except UnsupportedDataError as error:
            raise UnsupportedDataError(f"{path}: {error}") from error
        users = int(everything.size() - our_tiles(everything).size())
        return ImageContent(
            image_type=data.image_type,
            annotations=annotations,
            other_objects=users - len(annotations),
            results=read_results(data),
            read_only=data.read_only,
            note=data.note,
        )

    def _change(self, path: Path, results: ImageResults) -> DataChange | None:
        data = read_data(path)
        if not (has_results(data) or for_data(results)):
            return None
        require_writable(path, data)
        if data.is_newer_than(self.qupath_in_use) or not regions_have_places(data.root):
            # QuPath's classes drop what they do not know, and change corners that are not numbers.
            return native_change(path, results)
        remove_results(data)
        users = user_content(data.root)
        written = left_to_user(data, results)
        add_results(data, written, path)

        held = [data]

        def write(beside: Path) -> None:
            # released afterwards, because the check reads the same number of objects again
            with beside.open("wb") as file:
                write_data(file, held.pop())
            keep_stains(path, beside)

        def reads_back(beside: Path) -> bool:
            found = read_data(beside)
            return user_content(found.root) == users and same_results(read_results(found), written)

        return DataChange(write, reads_back, data.image_type, census(data))
