"""An image's ``data.qpdata`` as Java objects, read and written by QuPath's own classes.

QuPath's ``PathIO.readImageData`` is not used: it needs the slide (0.5), adds steps to the history
each time it reads (0.6, 0.7), and after an error returns an image without objects. Instead, the
objects of the stream are read and written as they are, so that everything but our results stays the
same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from qupath_hccmil.errors import EngineError, HccMilError, UnsupportedDataError
from qupath_hccmil.qupath.bounded_json import parse_json
from qupath_hccmil.qupath.native.qpdata import QpData
from qupath_hccmil.qupath.paquo.jvm import java, out_of_memory, text_of
from qupath_hccmil.qupath.qupath_versions import (
    HEAD,
    is_newer,
    newer_note,
    version_number,
    what_to_do,
    why_read_only,
)

HEADER = "Data file version "
END = "EOF"
_HIERARCHY = "qupath.lib.objects.hierarchy.PathObjectHierarchy"
_WORKFLOW = "qupath.lib.plugins.workflow.Workflow"
_IMAGE_TYPE = "qupath.lib.images.ImageData$ImageType"


@dataclass(frozen=True)
class JavaData:
    """The content of a data file.

    Attributes
    ----------
    header : str
        ``Data file version 3``.
    objects : list
        The Java objects of the stream, in order, without the ``EOF`` at its end.
    gives_back : bool
        Whether the native codec can write the file back byte for byte, so that nothing in it is
        unknown to this program. This is certain for files of tested QuPath versions.
    """

    header: str
    objects: list[Any]
    gives_back: bool

    @property
    def hierarchy(self) -> Any:
        """QuPath's object hierarchy."""
        return self.first(_HIERARCHY)

    @property
    def root(self) -> Any:
        """The root object of the hierarchy."""
        return self.hierarchy.getRootObject()

    @property
    def workflow(self) -> Any:
        """The history of the image."""
        return self.first(_WORKFLOW)

    @property
    def image_type(self) -> str:
        """QuPath's constant, such as ``BRIGHTFIELD_H_E``; UNSET if there is none."""
        found = self.first(_IMAGE_TYPE)
        return "UNSET" if found is None else str(found.name())

    @property
    def qupath_version(self) -> str:
        """Version of the QuPath that wrote the file; empty if the file does not state it."""
        try:
            return str(parse_json(text_of(self.objects[0])).get("qupathVersion") or "")
        except (ValueError, AttributeError, IndexError):
            return ""

    @property
    def read_only(self) -> str:
        """Why the file is never written; empty if it may be written."""
        return why_read_only(*self.versions, gives_back=self.gives_back)

    @property
    def note(self) -> str:
        """Note for the user on a file that may be written; usually empty."""
        return "" if self.read_only else newer_note(*self.versions)

    def is_newer_than(self, qupath: str) -> bool:
        """Whether the file is newer than the newest tested QuPath, and newer than `qupath`."""
        return is_newer(*self.versions) and version_number(self.qupath_version) > version_number(
            qupath
        )

    @property
    def versions(self) -> tuple[str, str]:
        """Versions of the format and of the QuPath that wrote the file."""
        return self.header.removeprefix(HEADER), self.qupath_version

    def first(self, class_name: str) -> Any:
        """First object of a class; None if there is none."""
        kind = java(class_name)
        return next((each for each in self.objects if isinstance(each, kind)), None)


def read_data(path: Path) -> JavaData:
    """Read a data file.

    Raises
    ------
    UnsupportedDataError
        QuPath's classes cannot read the file, or something is missing in it.
    """
    try:
        _forget_classes()
        with contextlib.closing(_input(path)) as stream:
            header = str(stream.readUTF())
            objects = list(_objects(stream))
    except java("java.lang.Throwable") as error:
        # The error is not kept, so that the Java memory that it refers to can be freed.
        raise _not_read(path, error) from error
    data = JavaData(header, objects, gives_back=True)
    if is_newer(*data.versions):
        data = replace(data, gives_back=_gives_back(path))
    for kind in (_HIERARCHY, _WORKFLOW):
        if data.first(kind) is None:
            raise UnsupportedDataError(f"{path}: contains no {kind}; restore it from a backup")
    return data


def _gives_back(path: Path) -> bool:
    try:
        return QpData(path.read_bytes()).gives_back
    except UnsupportedDataError:
        return False


def write_data(file: BinaryIO, data: JavaData) -> None:
    """Write a data file like QuPath; Java makes the bytes, and Python writes them.

    Parameters
    ----------
    file : binary file
        Open for writing.
    data : JavaData

    Raises
    ------
    OSError
        The disk refuses.
    """
    import jpype

    sink = _Sink(file)
    channel = jpype.JProxy("java.nio.channels.WritableByteChannel", inst=sink)
    raw = java("java.nio.channels.Channels").newOutputStream(channel)
    buffered = java("java.io.BufferedOutputStream")(raw, 1 << 20)
    try:
        with contextlib.closing(java("java.io.ObjectOutputStream")(buffered)) as stream:
            stream.writeUTF(data.header)
            for each in data.objects:
                stream.writeObject(each)
            stream.writeObject(END)
    except java("java.lang.Throwable"):
        if sink.failure is None:
            raise
    if sink.failure is not None:
        raise sink.failure


class _Sink:
    """A Java channel into a Python file; errors of the file are kept until Java has returned."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.failure: OSError | None = None

    def write(self, buffer: Any) -> int:
        """Write everything that is left in a Java buffer."""
        size = int(buffer.remaining())
        piece = java("byte[]")(size)
        buffer.get(piece)
        if self.failure is None:
            try:
                self._file.write(memoryview(piece).cast("B"))
            except OSError as error:
                self.failure = error
        return size

    def isOpen(self) -> bool:  # noqa: N802 - Java's name
        """Whether the channel can be written."""
        return True

    def close(self) -> None:
        """Keep the file open; the caller flushes and closes it."""


def require_writable(path: Path, data: JavaData) -> None:
    """Refuse a file that is read only.

    Raises
    ------
    UnsupportedDataError
        For the reason in :attr:`JavaData.read_only`.
    """
    if data.read_only:
        raise UnsupportedDataError(f"{path}: {data.read_only}")


def _objects(stream: Any) -> Iterator[Any]:
    string = java("java.lang.String")
    # Called directly from Python, the stream would not find QuPath's classes: it asks the loader of
    # the nearest calling Java class, which is JPype's if reflection is used.
    read_object = java("java.io.ObjectInputStream").class_.getMethod("readObject")
    while True:
        each = read_object.invoke(stream)
        if isinstance(each, string) and str(each) == END:
            return
        yield each


def _input(path: Path) -> Any:
    raw = java("java.nio.file.Files").newInputStream(_path(path))
    try:
        # QuPath's filter accepts only its own classes and Java's basic ones.
        return java("qupath.lib.io.PathIO").createObjectInputStream(
            java("java.io.BufferedInputStream")(raw, 1 << 20)
        )
    except BaseException:
        raw.close()
        raise


def _path(path: Path) -> Any:
    return java("java.nio.file.Path").of(str(path))


def _forget_classes() -> None:
    """Forget class colours, so that the next file has its own.

    QuPath keeps one object per class name as long as the process lives, with the colour that was
    read first, so a second image with another colour would be saved with the colour of the first.
    """
    field = java("qupath.lib.objects.classes.PathClass").class_.getDeclaredField("existingClasses")
    field.setAccessible(True)
    field.get(None).clear()


def _not_read(path: Path, error: Any) -> HccMilError:
    """Turn a Java error on reading into an error of ours."""
    if isinstance(error, java("java.lang.reflect.InvocationTargetException")):
        # an error of a call by reflection wraps the real one
        error = error.getCause() or error
    if isinstance(error, java("java.lang.OutOfMemoryError")):
        return EngineError(f"{path}: {out_of_memory(error)}")
    with path.open("rb") as file:
        advice = what_to_do(file.read(HEAD))
    return UnsupportedDataError(f"{path}: QuPath cannot read it ({_reason(error)}); {advice}")


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
