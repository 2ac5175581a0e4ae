"""Two runs on one project: one at a time, the dead recognised, the living never robbed."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qupath_hccmil.errors import WriteError
from qupath_hccmil.qupath.writing import lock_owner as holder
from qupath_hccmil.qupath.writing.project_lock import LOCK_NAME, ProjectLock
from tests.conftest import ROOT

HOLD = """
import sys, time
from pathlib import Path
from qupath_hccmil.qupath.writing.project_lock import ProjectLock
lock = ProjectLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.readline()
lock.release()
"""

COUNT = """
import sys
from pathlib import Path
from qupath_hccmil.qupath.writing.project_lock import ProjectLock
folder, times = Path(sys.argv[1]), int(sys.argv[2])
for _ in range(times):
    lock = ProjectLock(folder)
    lock.acquire(wait=60)
    # none but the holder may do this; two at once would lose a count
    (folder / "alone").mkdir()
    number = int((folder / "count").read_text())
    (folder / "count").write_text(str(number + 1))
    (folder / "alone").rmdir()
    if len(sys.argv) > 3:
        import os
        os._exit(0)
    lock.release()
"""


def python(script: str, *arguments: object, **how: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **how,
    )


@pytest.fixture
def held(tmp_path: Path):
    """A process that holds the lock of the folder."""
    process = python(HOLD, tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_the_second_is_told_who_the_first_is(held, tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=rf"process {held.pid} on .* since .*--wait"):
        ProjectLock(tmp_path).acquire()


def test_the_second_waits_and_says_for_whom(held, tmp_path: Path, caplog) -> None:
    lock = ProjectLock(tmp_path)
    with pytest.raises(WriteError, match=f"process {held.pid}"):
        lock.acquire(wait=0.3)
    (said,) = caplog.messages
    assert f"process {held.pid} on {socket.gethostname()}" in said
    assert "waiting up to 0.3 s" in said
    held.stdin.write("\n")
    held.stdin.flush()
    lock.acquire(wait=60)
    assert lock.held
    lock.release()


def test_the_lock_of_a_killed_process_is_released(held, tmp_path: Path) -> None:
    held.kill()
    # it ended, though nobody has collected it yet
    deadline = time.monotonic() + 30
    while not holder.is_gone(json.loads((tmp_path / LOCK_NAME).read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    lock = ProjectLock(tmp_path)
    lock.acquire()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_many_take_turns(tmp_path: Path) -> None:
    """Some of them die with the lock in hand; no two hold it at once."""
    (tmp_path / "count").write_text("0")
    living = [python(COUNT, tmp_path, 5) for _ in range(3)]
    dying = [python(COUNT, tmp_path, 1, "die") for _ in range(3)]
    assert [each.wait(120) for each in living + dying] == [0] * 6
    assert (tmp_path / "count").read_text() == str(3 * 5 + 3)
    ProjectLock(tmp_path).acquire()


def test_what_the_dead_left_on_the_way_to_a_lock_is_swept(tmp_path: Path) -> None:
    (tmp_path / f".{LOCK_NAME}.0123").write_text("")
    gone = python("")
    gone.wait()
    dead = {**holder.this_process(), "pid": gone.pid, "token": "abc"}
    (tmp_path / LOCK_NAME).write_text(json.dumps(dead))
    # it died while it removed the lock of another that had died
    removal = tmp_path / f".{LOCK_NAME}.abc.removal"
    removal.write_text(json.dumps({**dead, "token": "def"}))
    lock = ProjectLock(tmp_path)
    lock.acquire()
    lock.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({}, False),
        ({"host": "elsewhere"}, False),
        ({"machine": "a container of the same name"}, False),
        ({"boot": "before the machine started again"}, True),
        ({"started": -1e9}, True),
        ({"pid": 2**22 + 1}, True),
        ({"pid": 10**30}, True),
        ({"pid": "1"}, False),
        ({"started": None}, False),
    ],
)
def test_who_is_gone(change: dict[str, object], gone: bool) -> None:
    assert holder.is_gone({**holder.this_process(), **change}) is gone


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="no such clock")
def test_a_clock_that_is_set_kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start of a process is told by the machine's own clock, not the time of day."""
    now = holder.this_process()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert holder.this_process()["started"] == now["started"]
    assert not holder.is_gone(now)


def test_a_file_system_without_links_has_locks_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first, second = ProjectLock(tmp_path), ProjectLock(tmp_path)
    first.acquire()
    with pytest.raises(WriteError, match=str(os.getpid())):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
    assert list(tmp_path.iterdir()) == []
