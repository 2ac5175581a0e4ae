"""The paquo engine: an image's objects through the classes of the user's own QuPath.

paquo finds and starts QuPath. Its project object is not used: loading one makes folders, and
saving one writes in place (see :mod:`~qupath_hccmil.project.javadata`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from qupath_hccmil.errors import ConflictError, HccMilError, ProjectError, WriteError
from qupath_hccmil.project.files import stamp, stamp_bytes
from qupath_hccmil.project.javadata import read_data, require_writable, write_data
from qupath_hccmil.project.javaobjects import (
    annotations_of,
    descendants,
    our_tiles,
    read_annotation,
    user_content,
)
from qupath_hccmil.project.javaresults import (
    add_results,
    census,
    has_results,
    holds,
    read_results,
    remove_results,
)
from qupath_hccmil.project.jvm import start_qupath
from qupath_hccmil.project.model import EngineName, ImageEntry, ImageResults, ImageState
from qupath_hccmil.project.names import is_ours
from qupath_hccmil.project.qpproj import (
    CLASSES,
    project_file,
    read_project,
    summary,
    with_classes,
    with_our_metadata,
)
from qupath_hccmil.project.safety import Replacement, WriteRun


class PaquoProject:
    """An open project, read and written by the user's QuPath.

    Parameters
    ----------
    path : Path
        The project's folder or its ``.qpproj``.

    Attributes
    ----------
    path : Path
        The ``.qpproj``.
    qupath_version : str
        Of the QuPath that wrote the project.

    Raises
    ------
    ProjectError
        It is no project.
    EngineError
        QuPath is not found or does not start.
    """

    engine: EngineName = "paquo"

    def __init__(self, path: Path) -> None:
        self.path = project_file(path)
        self._file = read_project(self.path)
        self.qupath_version = self._file.version
        start_qupath()
        self._run = WriteRun(self.path.parent)

    @property
    def previous_uri(self) -> str | None:
        """Where the project was when QuPath saved it."""
        return self._file.previous_uri

    @property
    def images(self) -> list[ImageEntry]:
        """All images, in the project's order."""
        return list(self._file.images)

    def read(self, entry: ImageEntry) -> ImageState:
        """Objects of an image; its slide is not needed.

        Raises
        ------
        UnsupportedDataError
            QuPath cannot read the data file.
        """
        path = self._data_path(entry)
        fingerprint = stamp(path)
        metadata = {key: value for key, value in entry.metadata.items() if is_ours(key)}
        if not fingerprint:
            return ImageState(entry, "UNSET", [], 0, ImageResults(metadata=metadata), "")
        data = read_data(path)
        everything = descendants(data.root)
        annotations = [read_annotation(each, data.root) for each in annotations_of(everything)]
        return ImageState(
            entry=entry,
            image_type=data.image_type,
            annotations=annotations,
            object_count=int(everything.size() - our_tiles(everything).size()) - len(annotations),
            results=replace(read_results(data), metadata=metadata),
            stamp=fingerprint,
        )

    def write(self, entry: ImageEntry, results: ImageResults, stamp: str) -> None:
        """Replace our results in an image: verified, atomic, with a backup of what was there.

        The data, the summary and the project's entry are replaced together or not at all. The
        slide is not needed.

        Parameters
        ----------
        entry : ImageEntry
            Of :attr:`images`.
        results : ImageResults
            Empty ones remove ours.
        stamp : str
            :attr:`ImageState.stamp` of the state that the results were made from.

        Raises
        ------
        ConflictError
            The data file is no longer the one that was read.
        UnsupportedDataError
            The data file is of another QuPath than 0.5 to 0.7.
        WriteError
            Nothing was changed.
        """
        self._run.begin()
        self._require_unchanged(entry, stamp)
        files = self._data_files(entry, results, stamp) if stamp else _no_data(entry, results)
        content = self.path.read_bytes()
        changed = with_our_metadata(content, entry.id, results.metadata)
        if changed != content:
            files.append(Replacement.of_bytes(self.path, changed, stamp_bytes(content), _readable))
        self._run.replace(files)
        self._file = read_project(self.path)

    def add_classes(self, colours: Mapping[str, int]) -> None:
        """Add classes to the project's class list, by union; `colours` are packed RGB."""
        path = self.path.parent / CLASSES
        content = path.read_bytes() if path.exists() else b""
        try:
            changed = with_classes(content, colours)
        except (ValueError, AttributeError, TypeError) as error:
            raise ProjectError(
                f"{path}: is damaged ({error}); save the class list in QuPath again"
            ) from error
        if changed is not None:
            expected = stamp_bytes(content) if content else stamp(path)
            self._run.replace([Replacement.of_bytes(path, changed, expected)])

    def close(self) -> None:
        """Let go of the project. Saves nothing."""
        self._run.close()

    def __enter__(self) -> PaquoProject:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _data_path(self, entry: ImageEntry) -> Path:
        return self.path.parent / "data" / entry.id / "data.qpdata"

    def _require_unchanged(self, entry: ImageEntry, expected: str) -> None:
        path = self._data_path(entry)
        if stamp(path) != expected:
            raise ConflictError(
                f"{path}: was changed by another program since it was read (is QuPath open?); "
                "nothing was written: close it and run again"
            )

    def _data_files(
        self, entry: ImageEntry, results: ImageResults, expected: str
    ) -> list[Replacement]:
        path = self._data_path(entry)
        data = read_data(path)
        if not (has_results(data) or _for_data(results)):
            return []
        require_writable(path, data)
        remove_results(data)
        users = user_content(data.root)
        add_results(data, results, path)

        def write(beside: Path) -> None:
            write_data(beside, data)

        def verify(beside: Path) -> None:
            try:
                written = read_data(beside)
            except HccMilError as error:
                raise WriteError(f"{path}: not written; it is as it was ({error})") from error
            if not (user_content(written.root) == users and holds(written, results)):
                raise WriteError(f"{path}: does not read back as it was written; it is as it was")

        summary_path = path.with_name("summary.json")
        content = summary_path.read_bytes() if summary_path.exists() else b""
        return [
            Replacement(path, write, expected, verify),
            Replacement.of_bytes(
                summary_path,
                summary(content, entry, data.image_type, census(data), int(time.time() * 1000)),
                stamp_bytes(content) if content else stamp(summary_path),
            ),
        ]


def _for_data(results: ImageResults) -> bool:
    """Whether results have something for the data file, beside the project's entry."""
    return bool(results.annotations or results.tiles or results.root or results.step)


def _no_data(entry: ImageEntry, results: ImageResults) -> list[Replacement]:
    if _for_data(results):
        raise WriteError(
            f"{entry.name}: was never saved in QuPath, so it has no annotation to write to; "
            "outline the tumour and save"
        )
    return []


def _readable(beside: Path) -> None:
    read_project(beside)
