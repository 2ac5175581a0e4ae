"""One image's files: read once by an engine, and the new ones that are written next to them.

All of it works without the project's list and lock, so that other processes may do it for the one
that writes the project.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from qupath_hccmil.errors import (
    HccMilError,
    ProjectError,
    UnsupportedDataError,
    WriteError,
    one_line,
)
from qupath_hccmil.qupath.data_types import Annotation, ImageEntry, ImageResults, ImageState
from qupath_hccmil.qupath.lost_data import (
    SUMMARY,
    also_a_copy,
    note_of_no_folder,
    require_not_empty,
    require_nothing_lost,
)
from qupath_hccmil.qupath.names import is_our_metadata
from qupath_hccmil.qupath.qpproj import summary
from qupath_hccmil.qupath.writing.durable_files import in_plain_words, stamp_bytes, there
from qupath_hccmil.qupath.writing.transaction import Stamps


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
        Reads it again, and returns its stamp; empty if it is not what was meant.
    image_type : str
        QuPath's constant.
    counts : mapping
        Object counts as in ``summary.json``.
    """

    write: Callable[[Path], None]
    reads_back: Callable[[Path], str]
    image_type: str
    counts: Mapping[str, Any]

    def verify(self, path: Path, beside: Path) -> str:
        """Make sure that the new data file at `beside`, to replace the one at `path`, is as meant.

        Returns
        -------
        str
            Stamp of the new file.

        Raises
        ------
        WriteError
            It is not.
        """
        try:
            found = self.reads_back(beside)
        except HccMilError as error:
            raise WriteError(f"{path}: was not written and is unchanged ({error})") from error
        if not found:
            raise WriteError(
                f"{path}: could not be read back as it was written; the old file is unchanged"
            )
        return found


class OpenData(Protocol):
    """A data file that an engine has read."""

    @property
    def stamp(self) -> str:
        """Stamp of the file that was read."""

    def content(self) -> ImageContent:
        """What is in it."""

    def change(self, results: ImageResults) -> DataChange | None:
        """Prepare the file with other results; None if it has none and gets none.

        To be called last, since it uses the data up.
        """


OpenFile = Callable[[Path], OpenData]
"""How an engine reads a data file; a function of a module, as other processes call it too."""


@dataclass(frozen=True)
class ImageFiles:
    """Where an image's files are.

    Attributes
    ----------
    entry : ImageEntry
        Of the project's list.
    project : Path
        The ``.qpproj``.
    data : Path
        The ``data.qpdata``, whether or not there is one.
    """

    entry: ImageEntry
    project: Path
    data: Path

    @property
    def replaced(self) -> tuple[Path, Path]:
        """The files that new results replace: the data and their summary."""
        return self.data, self.data.with_name(SUMMARY)


class Image:
    """An image that is read, and of which new files may then be made.

    The data file is read once for both, so what is replaced is what was read.

    Parameters
    ----------
    files : ImageFiles
    open_file : callable
        How the engine reads a data file.

    Attributes
    ----------
    state : ImageState

    Raises
    ------
    UnsupportedDataError
        The data file is damaged, or contains something that is not understood.
    ProjectError
        The data are lost.
    """

    def __init__(self, files: ImageFiles, open_file: OpenFile) -> None:
        self._files = files
        self._data: OpenData | None = None
        with in_plain_words(files.data), in_one_line(files.data):
            self.state = self._read(open_file)

    def _read(self, open_file: OpenFile) -> ImageState:
        entry, path = self._files.entry, self._files.data
        metadata = {key: value for key, value in entry.metadata.items() if is_our_metadata(key)}
        if not there(path):
            require_nothing_lost(path, self._files.project, metadata)
            notes = note_of_no_folder(path.parent)
            return ImageState(
                entry, "UNSET", [], 0, ImageResults(metadata=metadata), "", notes=notes
            )
        require_not_empty(path, metadata)
        try:
            self._data = open_file(path)
            content = self._data.content()
        except UnsupportedDataError as error:
            raise UnsupportedDataError(f"{error}{also_a_copy(path)}") from error
        found = content.results
        return ImageState(
            entry=entry,
            image_type=content.image_type,
            annotations=content.annotations,
            object_count=content.other_objects,
            results=ImageResults(found.annotations, found.tiles, found.root, metadata, found.step),
            stamp=self._data.stamp,
            read_only=content.read_only,
            notes=tuple(_notes(content)),
        )

    def write_beside(self, results: ImageResults, besides: Sequence[Path]) -> tuple[Stamps, ...]:
        """Write the files with other results; see :func:`write_beside`.

        Raises
        ------
        WriteError
            The image has no data.
        """
        if self._data is None:
            refuse_without_data(self._files.entry, results)
            return ()
        return write_beside(self._files, self._data, results, besides)


def write_beside(
    files: ImageFiles,
    data: OpenData,
    results: ImageResults,
    besides: Sequence[Path],
) -> tuple[Stamps, ...]:
    """Write an image's files with other results next to the old ones, and read them again.

    They are not flushed.

    Parameters
    ----------
    files : ImageFiles
    data : OpenData
    results : ImageResults
        Empty ones remove ours.
    besides : sequence of Path
        Where the new data and the new summary are written.

    Returns
    -------
    tuple of Stamps
        Of data and summary; empty if neither changes.

    Raises
    ------
    UnsupportedDataError
        The data file is read only, or contains something that is not understood.
    WriteError
        The results do not fit, or the new file is not as it was meant.
    OSError
        The disk refuses.
    """
    with in_one_line(files.data):
        change = data.change(results)
    if change is None:
        return ()
    change.write(besides[0])
    after = change.verify(files.data, besides[0])
    return Stamps(data.stamp, after), _write_summary(files, change, besides[1])


def _write_summary(files: ImageFiles, change: DataChange, beside: Path) -> Stamps:
    _, path = files.replaced
    old = path.read_bytes() if there(path) else None
    now = time.time_ns() // 1_000_000
    new = summary(old or b"", files.entry, change.image_type, change.counts, now)
    beside.write_bytes(new)
    return Stamps("" if old is None else stamp_bytes(old), stamp_bytes(new))


def for_data(results: ImageResults) -> bool:
    """Whether results have values for the data file, and not only for the project's entry."""
    return bool(results.annotations or results.tiles or results.root or results.step)


def refuse_without_data(entry: ImageEntry, results: ImageResults) -> None:
    """Refuse results for an image that has no data.

    Raises
    ------
    WriteError
        They are not only metadata of the project's list.
    """
    if for_data(results):
        raise WriteError(
            f"{entry.name}: was never saved in QuPath, so it has no annotation to write to; "
            "outline the tumour in QuPath and save the image"
        )


@contextlib.contextmanager
def in_one_line(path: Path) -> Iterator[None]:
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
