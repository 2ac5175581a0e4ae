"""Handling of a project's files, which both engines share; each engine parses image data."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from qupath_hccmil.errors import (
    ConflictError,
    HccMilError,
    ProjectError,
    UnsupportedDataError,
    WriteError,
    one_line,
)
from qupath_hccmil.qupath.data_types import (
    Annotation,
    EngineName,
    ImageEntry,
    ImageResults,
    ImageState,
)
from qupath_hccmil.qupath.lost_data import (
    also_a_copy,
    note_of_no_folder,
    require_not_empty,
    require_nothing_lost,
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
from qupath_hccmil.qupath.writing.durable_files import in_plain_words, stamp
from qupath_hccmil.qupath.writing.replace_files import ListChange, Replacement, WriteRun


@dataclass(frozen=True)
class ImageContent:
    """The content that an engine finds in a data file.

    Attributes
    ----------
    image_type : str
        QuPath's constant.
    annotations : list of Annotation
        Depth first.
    other_objects : int
        Number of the user's objects that are not annotations.
    results : ImageResults
        Our results, without the metadata.
    read_only : str
        Why the file is never written; empty if it may be written.
    note : str
        Note for the user on the file; usually empty.
    """

    image_type: str
    annotations: list[Annotation]
    other_objects: int
    results: ImageResults
    read_only: str = ""
    note: str = ""


@dataclass(frozen=True)
class DataChange:
    """A data file that an engine is about to write.

    Attributes
    ----------
    write : callable
        Writes the new file to the path that it is given.
    reads_back : callable
        Reads it again, and says whether it is what was meant.
    image_type : str
        QuPath's constant.
    counts : mapping
        Object counts as in ``summary.json``.
    """

    write: Callable[[Path], None]
    reads_back: Callable[[Path], bool]
    image_type: str
    counts: Mapping[str, Any]

    def verify(self, path: Path, beside: Path) -> None:
        """Make sure that the new data file at `beside`, to replace the one at `path`, is as meant.

        Raises
        ------
        WriteError
            It is not.
        """
        try:
            meant = self.reads_back(beside)
        except HccMilError as error:
            raise WriteError(f"{path}: was not written and is unchanged ({error})") from error
        if not meant:
            raise WriteError(
                f"{path}: could not be read back as it was written; the old file is unchanged"
            )


class _DataFiles:
    """The new data file of an image, and the summary that follows from it.

    The data are made when they are written and not held afterwards, so that of many images in one
    transaction only those of one are in memory.
    """

    def __init__(self, entry: ImageEntry, path: Path, make: Callable[[], DataChange]) -> None:
        self._entry = entry
        self._path = path
        self._make = make
        self._change: DataChange | None = None
        self._summary = path.with_name("summary.json")
        self._old_summary = _stamp(self._summary)

    def replacements(self, expected: str) -> list[Replacement]:
        """Of the data file, whose stamp is the expected one, and of the summary."""
        return [
            Replacement(self._path, self._write, expected, self._verify),
            Replacement(self._summary, self._write_summary, self._old_summary),
        ]

    def _write(self, beside: Path) -> None:
        change = self._make()
        change.write(beside)
        self._change = change

    def _verify(self, beside: Path) -> None:
        change, self._change = self._change, None
        assert change is not None, "it was written before"
        change.verify(self._path, beside)

    def _write_summary(self, beside: Path) -> None:
        change = self._change
        assert change is not None, "the data are written before"
        content = summary(
            _bytes(self._summary) if self._old_summary else b"",
            self._entry,
            change.image_type,
            change.counts,
            time.time_ns() // 1_000_000,
        )
        beside.write_bytes(content)


@dataclass(frozen=True)
class ImageChange:
    """What :meth:`Project.write` is given for one image.

    Attributes
    ----------
    entry : ImageEntry
        Of :attr:`Project.images`.
    results : ImageResults
        Empty ones remove ours.
    stamp : str
        :attr:`ImageState.stamp` of the state that the results were made from.
    """

    entry: ImageEntry
    results: ImageResults
    stamp: str


class Project(ABC):
    """An open QuPath project; both engines give the same objects and values.

    Parameters
    ----------
    path : Path
        The project's folder or its ``.qpproj``.
    recover : bool
        End first what a killed run left half done. False changes nothing in the folder: the
        project is read as it is, which is whole, as every file of it is replaced whole.

    Attributes
    ----------
    path : Path
        The ``.qpproj``.
    qupath_version : str
        Version of the QuPath that wrote the project.
    qupath_in_use : str
        Version of the QuPath that reads and writes it; empty if none is used.
    previous_uri : str or None
        Location of the project when QuPath saved it.

    Raises
    ------
    ProjectError
        The path is not a project.
    """

    engine: EngineName
    qupath_in_use = ""

    def __init__(self, path: Path, *, recover: bool = True) -> None:
        with in_plain_words(path):
            self.path = project_file(path)
            if recover:
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
        """Prepare a data file with other results; None if it has none and gets none."""

    @property
    def heading(self) -> str:
        """One line with the project's path, the engine, and the QuPath that wrote it."""
        by = f"QuPath {self.qupath_in_use}" if self.qupath_in_use else "without QuPath"
        made = f"written by QuPath {self.qupath_version}"
        return f"{self.path}: engine {self.engine} ({by}); {made}"

    @property
    def images(self) -> list[ImageEntry]:
        """All images, in the order of the project."""
        return list(self._file.images)

    def read(self, entry: ImageEntry) -> ImageState:
        """Read the objects of an image; its slide is not needed.

        Raises
        ------
        UnsupportedDataError
            The data file is damaged, or contains something that is not understood.
        ProjectError
            The data are lost, or the image's entry in the project's list is damaged.
        """
        path = self._data_path(entry)
        with in_plain_words(path), _in_one_line(path):
            return self._read(entry, path)

    def _read(self, entry: ImageEntry, path: Path) -> ImageState:
        # Taken before reading, so that a change in between is noticed when we write.
        fingerprint = _stamp(path)
        metadata = {key: value for key, value in entry.metadata.items() if is_our_metadata(key)}
        if not fingerprint:
            require_nothing_lost(path, self.path, metadata)
            notes = note_of_no_folder(path.parent)
            return ImageState(
                entry, "UNSET", [], 0, ImageResults(metadata=metadata), "", notes=notes
            )
        require_not_empty(path, metadata)
        try:
            content = self._content(path)
        except UnsupportedDataError as error:
            raise UnsupportedDataError(f"{error}{also_a_copy(path)}") from error
        found = content.results
        return ImageState(
            entry=entry,
            image_type=content.image_type,
            annotations=content.annotations,
            object_count=content.other_objects,
            results=ImageResults(found.annotations, found.tiles, found.root, metadata, found.step),
            stamp=fingerprint,
            read_only=content.read_only,
            notes=tuple(_notes(content)),
        )

    def begin(self, wait: float = 0.0) -> None:
        """Become the only writer of the project until :meth:`close`; :meth:`write` does this too.

        Parameters
        ----------
        wait : float
            Seconds to wait for another of our runs that is active on the project.

        Raises
        ------
        WriteError
            Another run is active, or the project cannot be written.
        """
        if self._run.begin(wait):
            # The run that we waited for, or an interrupted one, may have changed it.
            self._file = read_project(self.path)

    def write(self, entry: ImageEntry, results: ImageResults, stamp: str) -> None:
        """Replace our results in an image: verified, atomic, and with a backup.

        The data, the summary and the project's entry are replaced together or not at all. The
        slide is not needed.

        Parameters
        ----------
        entry : ImageEntry
            One of :attr:`images`.
        results : ImageResults
            New results; empty ones remove ours.
        stamp : str
            :attr:`ImageState.stamp` of the state from which the results were made.

        Raises
        ------
        ConflictError
            The data file is no longer the one that was read.
        UnsupportedDataError
            The data file is read only, see :attr:`ImageState.read_only`.
        WriteError
            Nothing was changed.
        """
        self.write_all([ImageChange(entry, results, stamp)])

    def write_all(self, changes: Sequence[ImageChange]) -> None:
        """Replace our results in several images as :meth:`write` does, all of them or none.

        The project's list, which is long where there are many images, is written once for all of
        them. In memory are the results of all images, and the data of one at a time.

        Parameters
        ----------
        changes : sequence of ImageChange
            One for each image.

        Raises
        ------
        ConflictError, UnsupportedDataError, WriteError
            As :meth:`write`, for any of the images; none was changed.
        """
        with in_plain_words(self.path):
            self.begin()
            files = [
                file
                for each in changes
                for file in self._data_files(each.entry, each.results, each.stamp)
            ]
            metadata = {each.entry.id: each.results.metadata for each in changes}
            self._run.replace(files, ListChange(self.path, metadata))
        self._note_listed(metadata)

    def write_list(self, metadata: Mapping[str, Mapping[str, str]]) -> None:
        """Write our metadata of images into the project's list; the images are not changed.

        Parameters
        ----------
        metadata : mapping of str to mapping of str to str
            By the ID of the image.

        Raises
        ------
        WriteError
            Nothing was changed.
        """
        with in_plain_words(self.path):
            self.begin()
            self._run.replace([], ListChange(self.path, metadata))
        self._note_listed(metadata)

    def _note_listed(self, metadata: Mapping[str, Mapping[str, str]]) -> None:
        # Not read again: the list has been written, even if the drive vanishes now.
        images = tuple(
            _with_ours(each, metadata[each.id]) if each.id in metadata else each
            for each in self._file.images
        )
        self._file = replace(self._file, images=images)

    def add_classes(self, colours: Mapping[str, int]) -> bool:
        """Add missing classes to the project's class list; `colours` are packed RGB.

        Returns
        -------
        bool
            Whether a class was missing, or had the colour that earlier versions of us gave it.
        """
        path = require_inside(self.path.parent / CLASSES, self.path.parent)
        expected = _stamp(path)
        try:
            changed = with_classes(_bytes(path) if expected else b"", colours)
        except (ValueError, AttributeError, TypeError) as error:
            raise ProjectError(
                f"{path}: is damaged ({error}); save the project's classes in QuPath again"
            ) from error
        if changed is not None:
            self._run.replace([Replacement.of_bytes(path, changed, expected)])
        return changed is not None

    def close(self) -> None:
        """Close the project without saving anything."""
        self._run.close()

    def __enter__(self) -> Project:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _data_path(self, entry: ImageEntry) -> Path:
        if entry.problem:
            raise ProjectError(f"{entry.name}: {entry.problem}")
        path = self.path.parent / "data" / entry.id / "data.qpdata"
        return require_inside(path, self.path.parent)

    def _data_files(
        self, entry: ImageEntry, results: ImageResults, expected: str
    ) -> list[Replacement]:
        """Return the new data file and summary; nothing if they do not change."""
        path = self._data_path(entry)
        if _stamp(path) != expected:
            raise ConflictError(
                f"{path}: was changed by another program since it was read (is QuPath open?); "
                "nothing was written: close it and run again"
            )
        if not expected:
            _refuse_without_data(entry, results)
            return []

        def make() -> DataChange | None:
            with _in_one_line(path):
                return self._change(path, results)

        if for_data(results):
            return _DataFiles(entry, path, lambda: _some(make())).replacements(expected)
        # whether there is anything to remove is only known from the data
        change = make()
        if change is None:
            return []
        return _DataFiles(entry, path, lambda: change).replacements(expected)


def _some(change: DataChange | None) -> DataChange:
    assert change is not None, "data that get results are changed"
    return change


def for_data(results: ImageResults) -> bool:
    """Whether results have values for the data file, and not only for the project's entry."""
    return bool(results.annotations or results.tiles or results.root or results.step)


def _with_ours(image: ImageEntry, metadata: Mapping[str, str]) -> ImageEntry:
    """Return an entry with these metadata of ours."""
    theirs = {key: value for key, value in image.metadata.items() if not is_our_metadata(key)}
    return replace(image, metadata={**theirs, **metadata})


def _refuse_without_data(entry: ImageEntry, results: ImageResults) -> None:
    if for_data(results):
        raise WriteError(
            f"{entry.name}: was never saved in QuPath, so it has no annotation to write to; "
            "outline the tumour in QuPath and save the image"
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


@contextlib.contextmanager
def _in_one_line(path: Path) -> Iterator[None]:
    """Turn any error of an engine, also of Java, into an error of ours that names the file.

    Raises
    ------
    ProjectError
        Instead of an unexpected error.
    """
    try:
        yield
    except (HccMilError, OSError):
        raise
    except Exception as error:
        raise ProjectError(f"{path}: {one_line(error)}") from error


def _notes(content: ImageContent) -> Iterator[str]:
    """Yield notes for the user on an image's data."""
    if content.note:
        yield content.note
    for annotation in content.annotations:
        if annotation.odd:
            label = " ".join((annotation.name or annotation.id).split())
            yield f"{label}: {annotation.odd}; it is left as it is"
