"""What both engines do with a project's files; how an image's data are understood is theirs."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from qupath_hccmil.errors import ConflictError, ProjectError, WriteError
from qupath_hccmil.qupath.data_types import (
    Annotation,
    EngineName,
    ImageEntry,
    ImageResults,
    ImageState,
)
from qupath_hccmil.qupath.names import is_our_metadata
from qupath_hccmil.qupath.path_guard import require_inside
from qupath_hccmil.qupath.qpproj import (
    CLASSES,
    project_file,
    read_project,
    summary,
    with_classes,
)
from qupath_hccmil.qupath.writing.crash_recovery import recover_before_reading
from qupath_hccmil.qupath.writing.durable_files import in_plain_words, stamp, there
from qupath_hccmil.qupath.writing.replace_files import ListChange, Replacement, WriteRun


@dataclass(frozen=True)
class ImageContent:
    """What an engine finds in a data file.

    Attributes
    ----------
    image_type : str
        QuPath's constant.
    annotations : list of Annotation
        Depth first.
    other_objects : int
        Objects of the user that are no annotations.
    results : ImageResults
        Ours, without the metadata.
    read_only : str
        Why the file is never written; empty where it may be.
    """

    image_type: str
    annotations: list[Annotation]
    other_objects: int
    results: ImageResults
    read_only: str = ""


@dataclass(frozen=True)
class DataChange:
    """A data file that an engine is about to write.

    Attributes
    ----------
    write : callable
        Writes the new file to the path that it is given.
    verify : callable
        Reads it again; raises WriteError where it is not what was meant.
    image_type : str
        QuPath's constant.
    counts : mapping
        Object counts as in ``summary.json``.
    """

    write: Callable[[Path], None]
    verify: Callable[[Path], None]
    image_type: str
    counts: Mapping[str, Any]


class ProjectFolder(ABC):
    """An open project, for both engines; see :class:`~qupath_hccmil.qupath.data_types.Project`.

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
    qupath_in_use : str
        Version of the QuPath that reads and writes it; empty where none does.
    previous_uri : str or None
        Where the project was when QuPath saved it.

    Raises
    ------
    ProjectError
        It is no project.
    """

    engine: EngineName
    qupath_in_use = ""

    def __init__(self, path: Path) -> None:
        with in_plain_words(path):
            self.path = project_file(path)
            recover_before_reading(self.path.parent.resolve())
        self._file = read_project(self.path)
        self._run = WriteRun(self.path.parent)
        self.qupath_version = self._file.version
        self.previous_uri = self._file.previous_uri

    @abstractmethod
    def _content(self, path: Path) -> ImageContent:
        """Read a data file."""

    @abstractmethod
    def _change(self, path: Path, results: ImageResults) -> DataChange | None:
        """Prepare a data file with other results; None where it holds none and gets none."""

    @property
    def heading(self) -> str:
        """Where the project is, what opened it and what made it, in one line."""
        by = f"QuPath {self.qupath_in_use}" if self.qupath_in_use else "without QuPath"
        made = f"written by QuPath {self.qupath_version}"
        return f"{self.path}: engine {self.engine} ({by}); {made}"

    @property
    def images(self) -> list[ImageEntry]:
        """All images, in the project's order."""
        return list(self._file.images)

    def read(self, entry: ImageEntry) -> ImageState:
        """Objects of an image; its slide is not needed.

        Raises
        ------
        UnsupportedDataError
            The data file is damaged, or holds what is not understood.
        """
        path = self._data_path(entry)
        with in_plain_words(path):
            return self._read(entry, path)

    def _read(self, entry: ImageEntry, path: Path) -> ImageState:
        # before the content: who changes the file in between is noticed when we write
        fingerprint = _stamp(path)
        metadata = {key: value for key, value in entry.metadata.items() if is_our_metadata(key)}
        if not fingerprint:
            _require_nothing_lost(path, self.path)
            return ImageState(entry, "UNSET", [], 0, ImageResults(metadata=metadata), "")
        content = self._content(path)
        found = content.results
        return ImageState(
            entry=entry,
            image_type=content.image_type,
            annotations=content.annotations,
            object_count=content.other_objects,
            results=ImageResults(found.annotations, found.tiles, found.root, metadata, found.step),
            stamp=fingerprint,
            read_only=content.read_only,
        )

    def begin(self, wait: float = 0.0) -> None:
        """Become the project's one writer until :meth:`close`; :meth:`write` does so too.

        Parameters
        ----------
        wait : float
            Seconds to wait for another run of ours that is at work on it.

        Raises
        ------
        WriteError
            Another run is at work, or the project cannot be written.
        """
        if self._run.begin(wait):
            # what was waited for, or left half done, may have changed it
            self._file = read_project(self.path)

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
            The data file is of another QuPath than 0.4 to 0.7.
        WriteError
            Nothing was changed.
        """
        with in_plain_words(self.path):
            self.begin()
            files = self._data_files(entry, results, stamp)
            self._run.replace(files, ListChange(self.path, {entry.id: results.metadata}))
        self._note_listed(entry, results.metadata)

    def write_list(self, entry: ImageEntry, metadata: Mapping[str, str]) -> None:
        """Put our metadata of an image into the project's list; the image stays as it is.

        Raises
        ------
        WriteError
            Nothing was changed.
        """
        with in_plain_words(self.path):
            self.begin()
            self._run.replace([], ListChange(self.path, {entry.id: metadata}))
        self._note_listed(entry, metadata)

    def _note_listed(self, entry: ImageEntry, metadata: Mapping[str, str]) -> None:
        # not read again: what is written is written, even if the drive goes now
        images = tuple(_with_ours(each, entry.id, metadata) for each in self._file.images)
        self._file = replace(self._file, images=images)

    def add_classes(self, colours: Mapping[str, int]) -> None:
        """Add classes to the project's class list, by union; `colours` are packed RGB."""
        path = require_inside(self.path.parent / CLASSES, self.path.parent)
        expected = _stamp(path)
        try:
            changed = with_classes(_bytes(path) if expected else b"", colours)
        except (ValueError, AttributeError, TypeError) as error:
            raise ProjectError(
                f"{path}: is damaged ({error}); save the class list in QuPath again"
            ) from error
        if changed is not None:
            self._run.replace([Replacement.of_bytes(path, changed, expected)])

    def close(self) -> None:
        """Let go of the project. Saves nothing."""
        self._run.close()

    def __enter__(self) -> ProjectFolder:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _data_path(self, entry: ImageEntry) -> Path:
        path = self.path.parent / "data" / entry.id / "data.qpdata"
        return require_inside(path, self.path.parent)

    def _data_files(
        self, entry: ImageEntry, results: ImageResults, expected: str
    ) -> list[Replacement]:
        """Return the new data file and summary; none where nothing changes in them."""
        path = self._data_path(entry)
        if _stamp(path) != expected:
            raise ConflictError(
                f"{path}: was changed by another program since it was read (is QuPath open?); "
                "nothing was written: close it and run again"
            )
        if not expected:
            _refuse_without_data(entry, results)
            return []
        change = self._change(path, results)
        if change is None:
            return []
        beside = path.with_name("summary.json")
        summary_stamp = _stamp(beside)
        new_summary = summary(
            _bytes(beside) if summary_stamp else b"",
            entry,
            change.image_type,
            change.counts,
            time.time_ns() // 1_000_000,
        )
        return [
            Replacement(path, change.write, expected, change.verify),
            Replacement.of_bytes(beside, new_summary, summary_stamp),
        ]


def for_data(results: ImageResults) -> bool:
    """Whether results have something for the data file, beside the project's entry."""
    return bool(results.annotations or results.tiles or results.root or results.step)


def _with_ours(image: ImageEntry, wanted: str, metadata: Mapping[str, str]) -> ImageEntry:
    """Return an entry, the wanted one with these metadata of ours."""
    if image.id != wanted:
        return image
    theirs = {key: value for key, value in image.metadata.items() if not is_our_metadata(key)}
    return replace(image, metadata={**theirs, **metadata})


def _refuse_without_data(entry: ImageEntry, results: ImageResults) -> None:
    if for_data(results):
        raise WriteError(
            f"{entry.name}: was never saved in QuPath, so it has no annotation to write to; "
            "outline the tumour and save"
        )


def _stamp(path: Path) -> str:
    try:
        return stamp(path)
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read ({error.strerror})") from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read ({error.strerror})") from error


def _require_nothing_lost(path: Path, project: Path) -> None:
    """Tell an image that was never saved from one whose data are just not there.

    Raises
    ------
    ProjectError
        The whole project has gone, such as with a network drive.
    ConflictError
        QuPath has put the data aside to save new ones, or the disk is in two minds.
    """
    if not there(project):
        raise ProjectError(f"{project}: is no longer there; is its drive still connected?")
    if there(path):
        raise ConflictError(f"{path}: was not there a moment ago, and is again; run again")
    aside = path.with_name(f"{path.name}.bkp")
    if there(aside):
        raise ConflictError(
            f"{path}: is being saved by QuPath, or QuPath was stopped while it saved (then open "
            f"the image in QuPath: it takes {aside.name}); run again"
        )
