"""Killed at every call that touches a project, or refused by the disk at any: nothing is harmed.

A library that is loaded before all others counts the calls and lets one of them fail
(``faults/project_faults.c``). Here a sample of the places is taken, but every place of a kill in
the longest write; ``HCCMIL_FAULTS=all`` takes them all, and each error at each.
"""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, qupath_dirs
from tests.qupath.faults import shim
from tests.qupath.faults.shim import Fault
from tests.qupath.faults.transitions import TRANSITIONS

EVERY = os.environ.get("HCCMIL_FAULTS") == "all"
SERVER = Path(__file__).parent / "faults" / "server.py"

Ask = Callable[[str, Any], list[dict[str, Any]]]


class Server:
    """A process whose calls fail when it is told."""

    def __init__(self, top: Path, library: Path, engine: str, qupath: Path | None) -> None:
        named = {} if qupath is None else {"PAQUO_QUPATH_DIR": str(qupath)}
        self._errors = top.with_suffix(".log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, SERVER, top, engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **named, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)},
        )

    def __call__(self, transition: str, task: Any) -> list[dict[str, Any]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((transition, task), self._process.stdin)
        self._process.stdin.flush()
        try:
            answers: list[dict[str, Any]] = pickle.load(self._process.stdout)
        except EOFError:
            self._errors.seek(0)
            pytest.fail(self._errors.read()[-3000:])
        return answers

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = shim.build(tmp_path_factory.mktemp("faults"))
    if built is None:
        pytest.skip("no C compiler on Linux: the library that makes calls fail cannot be made")
    return built


@pytest.fixture(scope="session")
def in_memory() -> Iterator[Path]:
    """A folder in memory where there is one: what a kill leaves is the same, sooner."""
    memory = Path("/dev/shm")
    top = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=top) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def native(library: Path, in_memory: Path) -> Iterator[Server]:
    server = Server(in_memory / "native", library, "native", None)
    yield server
    server.close()


@pytest.fixture(scope="session")
def paquo(library: Path, in_memory: Path) -> Iterator[Server]:
    installed = qupath_dirs()
    if not installed:
        pytest.skip("no QuPath: set PAQUO_QUPATH_DIR or install it as /opt/QuPath-*")
    server = Server(in_memory / "paquo", library, "paquo", installed[-1])
    yield server
    server.close()


def check(answers: list[dict[str, Any]]) -> Counter[str]:
    """Nothing may be wrong after any fault; how the writes ended."""
    wrong = {each["fault"]: (each["outcome"], each["wrong"]) for each in answers if each["wrong"]}
    assert not wrong
    ended = Counter(each["outcome"].split(":")[0] for each in answers)
    print(len(answers), "faults:", dict(ended))
    return ended


def calls(server: Ask, transition: str, *, writes: bool = False) -> int:
    return int(server(transition, writes)[0]["count"])


@pytest.mark.parametrize("transition", TRANSITIONS)
def test_killed_at_any_call_an_image_is_old_or_new(native: Server, transition: str) -> None:
    last = calls(native, transition, writes=True)
    step = 1 if EVERY or transition == "score again" else 13
    answers = native(
        transition, [Fault(at, shim.KILL, writes=True) for at in range(0, last + 1, step)]
    )
    assert check(answers)["died"] == len(answers)
    if step == 1:
        # before and after the one rename, and the list never says what the image doesn't show
        in_image = [each["shown"][0] for each in answers]
        assert in_image == sorted(in_image, key=list(dict.fromkeys(in_image)).index)
        assert len(set(in_image)) == 2


@pytest.mark.parametrize("transition", TRANSITIONS)
def test_a_call_that_fails_leaves_the_project_as_it_was(native: Server, transition: str) -> None:
    last = calls(native, transition)
    step = 1 if EVERY else 149
    faults = [
        Fault(at, shim.FAIL, error)
        for number, error in enumerate(shim.ERRORS)
        for at in range(1 if EVERY else 7 + 25 * number, last + 1, step)
    ]
    ended = check(native(transition, faults))
    assert ended["refused"] > len(faults) // 4


@pytest.mark.parametrize("error", ["ESTALE", "EIO", "ENOSPC", "EROFS"])
def test_a_drive_that_vanishes_does_no_harm(native: Server, error: str) -> None:
    last = calls(native, "score again")
    faults = [Fault(at, shim.GONE, error) for at in range(1, last + 1, 1 if EVERY else 97)]
    check(native("score again", faults))


def test_a_write_that_is_cut_short_goes_on(native: Server) -> None:
    last = calls(native, "score again")
    faults = [Fault(at, shim.SHORT) for at in range(1, last + 1, 1 if EVERY else 97)]
    assert check(native("score again", faults))["done"] == len(faults)


@pytest.mark.qupath
@pytest.mark.parametrize("mode", [shim.FAIL, shim.GONE], ids=["fails", "vanishes"])
def test_the_disk_fails_while_qupath_writes(paquo: Server, mode: int) -> None:
    """A process that loses the disk for good leaves what one leaves that is killed."""
    last = calls(paquo, "score again")
    faults = [Fault(at, mode, shim.ERRORS[at % 4]) for at in range(5, last + 1, 1 if EVERY else 97)]
    check(paquo("score again", faults))


def test_killed_at_any_call_images_are_added_or_not(library: Path, in_memory: Path) -> None:
    folder = in_memory / "added"
    folder.mkdir()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.qupath.faults.added_images"),
            *(folder, "1" if EVERY else "7"),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ended = json.loads(done.stdout)
    assert set(ended) == {1, 3}
    assert ended == sorted(ended)


@pytest.mark.qupath
def test_qupath_opens_what_a_kill_leaves(native: Server, qupath: Any, tmp_path: Path) -> None:
    """The places around the renames: old, old without list, new without list, new."""
    last = calls(native, "score again", writes=True)
    seen = set()
    for at in range(last // 2, last, 3):
        left = tmp_path / str(at) / "project"
        (answer,) = native("score again", [Fault(at, shim.KILL, writes=True, keep=str(left))])
        if tuple(answer["shown"]) not in seen:
            (state,) = qupath("opened", left)
            assert (state["image"], state["list"]) == tuple(answer["shown"])
            assert (state["annotations"], state["tiles"]) == (1, 2)
            seen.add(tuple(answer["shown"]))
    assert seen == {("0.2", "0.2"), ("0.2", "-"), ("0.7", "-"), ("0.7", "0.7")}


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
def test_no_change_of_the_project_escapes_the_counting(library: Path, in_memory: Path) -> None:
    """What strace sees of the system calls is what the library counts."""
    trace = in_memory / "trace"
    script = (
        "import os, sys; from pathlib import Path\n"
        "from tests.qupath.faults import shim\n"
        "from tests.qupath.faults.transitions import NativeProject, make_project, score\n"
        "folder = make_project(Path(sys.argv[1])); score(NativeProject, folder, 0.2)\n"
        "os.access('/begin', 0)\n"
        "shim.arm(folder, shim.Fault(writes=True)); score(NativeProject, folder, 0.7)\n"
        "count = shim.disarm(); os.access('/end', 0); print(count)\n"
    )
    project = in_memory / "traced" / "project"
    done = subprocess.run(
        ["strace", "-f", "-y", "-o", trace, sys.executable, "-c", script, project],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)},
    )
    if done.returncode != 0 and "ptrace" in done.stderr.lower():
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    lines = trace.read_text(errors="replace").splitlines()
    begin = next(at for at, line in enumerate(lines) if '"/begin"' in line)
    end = next(at for at, line in enumerate(lines) if '"/end"' in line)
    changing = re.compile(
        r"^\d+ +(?!(?:readlink|read|pread64|newfstatat|fstat|statx|stat|lstat|lseek|ioctl|close|"
        r"getdents64|access|faccessat2?|readlinkat|getcwd|openat|open|fcntl|mmap)\()\w+\("
    )
    opened = re.compile(r"open(?:at)?\(.*O_(?:CREAT|TRUNC)")
    seen = [
        line
        for line in lines[begin:end]
        if str(project) in line and (changing.match(line) or opened.search(line))
    ]
    assert len(seen) == int(done.stdout)
