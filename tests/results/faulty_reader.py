"""A native engine whose reading of one image fails, as processes that prepare images import it.

As a program, it commits results with such an engine: PROJECT RESULTS MARKERS. Each process that
prepares an image leaves a file with its number in MARKERS, and waits there.
"""

import errno
import os
import signal
import sys
import time
from pathlib import Path

from qupath_hccmil.cli.main import run
from qupath_hccmil.errors import WriteError
from qupath_hccmil.qupath.native import native_project
from qupath_hccmil.qupath.native.native_project import NativeData, NativeProject

FAULTY = "2"
MARKERS = "HCCMIL_TEST_MARKERS"


def of_faulty(path: Path) -> bool:
    return path.parent.name == FAULTY


class Dies(NativeData):
    """The process is killed, as by a system without memory."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        if of_faulty(path):
            os.kill(os.getpid(), signal.SIGKILL)


class NoMemory(NativeData):
    """There is not enough memory for the image."""

    def content(self):
        if of_faulty(self._path):
            raise MemoryError
        return super().content()


class FullDisk(NativeData):
    """The disk takes half of the new file."""

    def change(self, results):
        change = super().change(results)
        if not of_faulty(self._path):
            return change

        def half(beside: Path) -> None:
            change.write(beside)
            os.truncate(beside, beside.stat().st_size // 2)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(beside))

        return type(change)(half, change.reads_back, change.image_type, change.counts)


class OtherBytes(NativeData):
    """The new file is not what was meant."""

    def change(self, results):
        change = super().change(results)
        if not of_faulty(self._path):
            return change

        def refused(beside: Path) -> str:
            raise WriteError("other bytes")

        return type(change)(change.write, refused, change.image_type, change.counts)


class Waits(NativeData):
    """The new file is half written when the process waits, so that a test may kill it."""

    def change(self, results):
        change = super().change(results)

        def slow(beside: Path) -> None:
            beside.write_bytes(b"half of it")
            Path(os.environ[MARKERS], str(os.getpid())).touch()
            time.sleep(3)
            change.write(beside)

        return type(change)(slow, change.reads_back, change.image_type, change.counts)


def with_reader(reader: type[NativeData]) -> type[NativeProject]:
    """The native engine with another way to read data files."""

    class Faulty(NativeProject):
        @property
        def open_file(self):
            return reader

    return Faulty


if __name__ == "__main__":
    from tests.results.faulty_reader import Waits as Reader

    native_project.NativeProject = with_reader(Reader)
    project, results, os.environ[MARKERS] = sys.argv[1:]
    line = ["project", "commit", project, results, "--engine", "native", "--workers", "2"]
    sys.exit(run(line))
