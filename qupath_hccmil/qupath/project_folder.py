"""Handling of a project's files, which both engines share; each engine parses image data."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from qupath_hccmil.errors import ProjectError
from qupath_hccmil.qupath.data_types import (
    EngineName,
    ImageEntry,
    ImageResults,
    ImageState,
)
from qupath_hccmil.qupath.image_data import (
    Image,
    ImageFiles,
    OpenFile,
    in_one_line,
    refuse_without_data,
    write_beside,
)
from qupath_hccmil.qupath.names import is_our_metadata
from qupath_hccmil.qupath.path_guard import require_inside
from qupath_hccmil.qupath.qpproj import (
    CLASSES,
    project_file,
    read_project,
    with_classes,
)
from qupath_hccmil.qupath.writing.crash_recovery import recover_before_reading
from qupath_hccmil.qupath.writing.durable_files import in_plain_words, stamp, stamp_bytes
from qupath_hccmil.qupath.writing.replace_files import (
    ListChange,
    Prepare,
    Prepared,
    Replacement,
    WriteRun,
)
from qupath_hccmil.qupath.writing.transaction import Stamps, conflict


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

    @property
    @abstractmethod
    def open_file(self) -> OpenFile:
        """How the engine reads a data file; also in other processes."""

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
        return Image(self.files_of(entry), self.open_file).state

    def files_of(self, entry: ImageEntry) -> ImageFiles:
        """Where an image's files are.

        Raises
        ------
        ProjectError
            The image's entry in the project's list is damaged, or its data are not in the
            project's folder.
        """
        if entry.problem:
            raise ProjectError(f"{entry.name}: {entry.problem}")
        path = self.path.parent / "data" / entry.id / "data.qpdata"
        return ImageFiles(entry, self.path, require_inside(path, self.path.parent))

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
        with in_plain_words(self.path):
            self.begin()
            files = self.files_of(entry)
            if _stamp(files.data) != stamp:
                raise conflict(files.data)
        if not stamp:
            refuse_without_data(entry, results)
            self.write_list({entry.id: results.metadata})
            return

        def prepare(besides: Sequence[Sequence[Path]]) -> Generator[Prepared, None, None]:
            with in_plain_words(files.data), in_one_line(files.data):
                data = self.open_file(files.data)
            if data.stamp != stamp:
                raise conflict(files.data)
            yield Prepared(write_beside(files, data, results, besides[0]), results.metadata)

        self.write_prepared([files], prepare)

    def write_prepared(
        self,
        images: Sequence[ImageFiles],
        prepare: Prepare,
        classes: Mapping[str, int] | None = None,
    ) -> None:
        """Replace our results in several images as :meth:`write` does, all of them or none.

        The project's list, which is long where there are many images, is written once for all of
        them.

        Parameters
        ----------
        images : sequence of ImageFiles
            One for each image; all have data.
        prepare : callable
            Writes the new files next to the old ones, here or in other processes, by
            :meth:`~qupath_hccmil.qupath.image_data.Image.write_beside`.
        classes : mapping of str to int, optional
            As for :meth:`add_classes`; added if the data of an image change.

        Raises
        ------
        ConflictError, WriteError
            As :meth:`write`, for any of the images; none was changed.
        """
        listed: dict[str, Mapping[str, str]] = {}
        with in_plain_words(self.path):
            self.begin()
            replaced: dict[str, tuple[Path, ...]] = {
                each.entry.id: each.replaced for each in images
            }
            listed_classes = self._new_classes(classes) if classes else None
            if listed_classes is not None:
                replaced[str(CLASSES)] = (listed_classes.path,)

        def noted(besides: Sequence[Sequence[Path]]) -> Generator[Prepared, None, None]:
            changed = False
            with contextlib.closing(prepare(besides[: len(images)])) as prepared:
                for files, found in zip(images, prepared, strict=True):
                    changed = changed or bool(found.stamps)
                    if found.metadata is not None:
                        listed[files.entry.id] = found.metadata
                    yield found
            if listed_classes is not None:
                (beside,) = besides[-1]
                yield listed_classes.prepared(beside) if changed else Prepared()

        with in_plain_words(self.path):
            self._run.replace_prepared(replaced, self.path, noted)
        self._note_listed(listed)

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
        new = self._new_classes(colours)
        if new is not None:
            self._run.replace([Replacement.of_bytes(new.path, new.content, new.expected)])
        return new is not None

    def _new_classes(self, colours: Mapping[str, int]) -> _NewClasses | None:
        """The class list with more classes; None if it has them all."""
        path = require_inside(self.path.parent / CLASSES, self.path.parent)
        expected = _stamp(path)
        try:
            changed = with_classes(_bytes(path) if expected else b"", colours)
        except (ValueError, AttributeError, TypeError) as error:
            raise ProjectError(
                f"{path}: is damaged ({error}); save the project's classes in QuPath again"
            ) from error
        return None if changed is None else _NewClasses(path, expected, changed)

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


@dataclass(frozen=True)
class _NewClasses:
    """The new content of the project's class list, and the stamp of the old one."""

    path: Path
    expected: str
    content: bytes

    def prepared(self, beside: Path) -> Prepared:
        """Write it next to the old one."""
        beside.write_bytes(self.content)
        return Prepared((Stamps(self.expected, stamp_bytes(self.content)),))


def _with_ours(image: ImageEntry, metadata: Mapping[str, str]) -> ImageEntry:
    """Return an entry with these metadata of ours."""
    theirs = {key: value for key, value in image.metadata.items() if not is_our_metadata(key)}
    return replace(image, metadata={**theirs, **metadata})


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
