"""The library that makes calls on a project fail: compiled here, armed from Python."""

import ctypes
import errno
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("project_faults.c")
COUNT, KILL, FAIL, GONE, SHORT = range(5)
ERRORS = ("ENOSPC", "EACCES", "EROFS", "EIO", "ESTALE", "ENOENT")


def build(folder: Path) -> Path | None:
    """Compile the library; None where there is no compiler for it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = folder / "project_faults.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return library if done.returncode == 0 else None


@dataclass(frozen=True)
class Fault:
    """What happens to the calls of a process.

    Attributes
    ----------
    at : int
        Number of the call, from 1; 0 kills before the first.
    mode : int
    error : str
        Name, such as ``ENOSPC``.
    writes : bool
        Count only calls that change something.
    keep : str
        Folder for a copy of the project as the fault leaves it; empty for none.
    """

    at: int = -1
    mode: int = COUNT
    error: str = "EIO"
    writes: bool = False
    keep: str = ""

    def __str__(self) -> str:
        kind = ("count", "kill", "fail", "gone", "short")[self.mode]
        return f"{kind} at {self.at}" + (f" {self.error}" if self.mode in (FAIL, GONE) else "")


def arm(folder: Path, fault: Fault, log: int = -1) -> None:
    """Let a fault happen to this process, which must have the library loaded."""
    library = ctypes.CDLL(None)
    library.faults_arm(
        os.fsencode(folder),
        ctypes.c_long(fault.at),
        fault.mode,
        getattr(errno, fault.error),
        int(fault.writes),
        log,
    )


def disarm() -> int:
    """Let nothing happen any more; the number of calls that were counted."""
    library = ctypes.CDLL(None)
    library.faults_disarm()
    library.faults_calls.restype = ctypes.c_long
    return int(library.faults_calls())
