"""Promises about a project's files: all or none, nobody else's change lost, and a way back."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from qupath_hccmil.errors import ConflictError, ProjectError, WriteError
from qupath_hccmil.qupath.writing.project_lock import LOCK_NAME, ProjectLock
from qupath_hccmil.qupath.writing.replace_files import (
    BACKUPS,
    KEPT_RUNS,
    Replacement,
    WriteRun,
    stamp,
)
from qupath_hccmil.qupath.writing.restore_backup import backups, restore
from tests.no_room import no_file_above

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NOBODY = 65534


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "projet été"
    (folder / "data" / "1").mkdir(parents=True)
    (folder / "project.qpproj").write_bytes(listed(0))
    (folder / "data" / "1" / "data.qpdata").write_bytes(b"data 0")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """All files but the backups."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and BACKUPS not in path.parts
    }


def put(path: Path, content: bytes, **more: object) -> Replacement:
    return Replacement.of_bytes(path, content, stamp(path), **more)


def listed(number: int) -> bytes:
    """A project's list without images, in a state of its own."""
    return b'{"version": "0.6.0", "images": [], "lastID": %d}' % number


def write(folder: Path, number: int, run: WriteRun) -> None:
    """All three files of an image; the summary is new the first time."""
    run.replace(
        [
            put(folder / "data" / "1" / "data.qpdata", b"data %d" % number),
            put(folder / "data" / "1" / "summary.json", b"summary %d" % number),
            put(folder / "project.qpproj", listed(number)),
        ]
    )


def test_a_stamp_tells_content_and_absence(tmp_path: Path) -> None:
    assert stamp(tmp_path / "absent") == ""
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"1")
    assert stamp(tmp_path / "a") == stamp(tmp_path / "b") != ""


def test_replaces_all_and_restores_byte_for_byte(project: Path) -> None:
    before = tree(project)
    with WriteRun(project) as run:
        write(project, 1, run)
        write(project, 2, run)
    assert set(tree(project)) == {*before, "data/1/summary.json"}
    assert tree(project)["project.qpproj"] == listed(2)
    (backup,) = backups(project)
    assert (backup.run, backup.kind, backup.undone) == (run.id, "write", False)
    assert (project / BACKUPS / run.id / "data/1/data.qpdata").read_bytes() == b"data 0"
    restore(project)
    assert tree(project) == before


def test_an_older_run_takes_the_later_ones_back_with_it(project: Path) -> None:
    states = [tree(project)]
    ids = []
    for number in (1, 2, 3):
        with WriteRun(project) as run:
            write(project, number, run)
        ids.append(run.id)
        states.append(tree(project))
    restore(project)
    assert tree(project) == states[2]
    restore(project, ids[0])
    assert tree(project) == states[0]
    with pytest.raises(ProjectError, match="no backup to restore"):
        restore(project)
    # a restore is a run too, so it can be taken back
    restore(project, backups(project)[-1].run)
    assert tree(project) == states[2]


def test_restore_refuses_what_others_changed_unless_forced(project: Path) -> None:
    before = tree(project)
    with WriteRun(project) as run:
        write(project, 1, run)
    (project / "data/1/data.qpdata").write_bytes(b"saved by QuPath")
    changed = tree(project)
    with pytest.raises(ConflictError, match=r"data\.qpdata"):
        restore(project)
    assert tree(project) == changed
    restore(project, force=True)
    assert tree(project) == before


def test_restore_names_the_kept_runs_when_there_is_no_such(project: Path) -> None:
    with WriteRun(project) as run:
        write(project, 1, run)
    with pytest.raises(ProjectError, match=run.id):
        restore(project, "20200101")


def test_restore_refuses_a_damaged_backup(project: Path) -> None:
    with WriteRun(project) as run:
        write(project, 1, run)
    (project / BACKUPS / run.id / "project.qpproj").write_bytes(b"rotten")
    after = tree(project)
    with pytest.raises(ProjectError, match="damaged"):
        restore(project)
    assert tree(project) == after


def test_the_newest_backups_are_kept(project: Path) -> None:
    ids = []
    for number in range(KEPT_RUNS + 2):
        with WriteRun(project) as run:
            write(project, number + 1, run)
        ids.append(run.id)
    assert [backup.run for backup in backups(project)] == ids[-KEPT_RUNS:]


def test_a_run_that_changes_nothing_leaves_no_trace(project: Path) -> None:
    before = tree(project)
    with WriteRun(project) as run:
        write(project, 0, run)
        (project / "data/1/summary.json").unlink()
    with WriteRun(project) as run:
        run.replace([put(project / "project.qpproj", listed(0))])
    assert tree(project) == before
    assert len(backups(project)) == 1


def test_a_file_changed_since_it_was_read_is_not_overwritten(project: Path) -> None:
    expected = stamp(project / "data/1/data.qpdata")
    (project / "data/1/data.qpdata").write_bytes(b"saved by QuPath")
    before = tree(project)
    with WriteRun(project) as run, pytest.raises(ConflictError, match="QuPath"):
        run.replace(
            [
                put(project / "project.qpproj", b"new"),
                Replacement.of_bytes(project / "data/1/data.qpdata", b"ours", expected),
            ]
        )
    assert tree(project) == before
    assert not (project / BACKUPS).exists()


def test_a_file_saved_by_another_while_ours_is_written_is_not_overwritten(project: Path) -> None:
    data = project / "data/1/data.qpdata"

    def qupath_saves(_: Path) -> None:
        data.write_bytes(b"saved by QuPath")

    with WriteRun(project) as run, pytest.raises(ConflictError):
        run.replace([put(data, b"ours", verify=qupath_saves)])
    assert data.read_bytes() == b"saved by QuPath"


def test_a_file_that_fails_its_check_is_not_used(project: Path) -> None:
    before = tree(project)

    def refuse(path: Path) -> None:
        raise ProjectError(f"{path.read_bytes()!r}")

    with WriteRun(project) as run, pytest.raises(ProjectError, match="bad"):
        run.replace([put(project / "project.qpproj", b"bad", verify=refuse)])
    assert tree(project) == before


@pytest.mark.parametrize("path", ["../elsewhere", "data/../../elsewhere"])
def test_nothing_outside_the_project_is_written(project: Path, path: str) -> None:
    with WriteRun(project) as run, pytest.raises(WriteError, match="outside"):
        run.replace([put(project / path, b"x")])
    assert not (project.parent / "elsewhere").exists()


def test_a_link_that_leads_outside_is_not_followed(project: Path) -> None:
    (project.parent / "victim").write_bytes(b"theirs")
    (project / "data/1/data.qpdata").unlink()
    (project / "data/1/data.qpdata").symlink_to(project.parent / "victim")
    with WriteRun(project) as run, pytest.raises(WriteError, match="outside"):
        run.replace([put(project / "data/1/data.qpdata", b"x")])
    assert (project.parent / "victim").read_bytes() == b"theirs"


def test_a_full_disk_leaves_the_project_as_it_was(project: Path) -> None:
    before = tree(project)
    refused = pytest.raises(WriteError, match="the project is unchanged")
    with WriteRun(project) as run, no_file_above(10_000), refused:
        run.replace(
            [
                put(project / "project.qpproj", b"small"),
                put(project / "data/1/data.qpdata", b"x" * 20_000),
            ]
        )
    assert tree(project) == before


def test_a_rename_that_fails_half_way_puts_the_others_back(project: Path) -> None:
    before = tree(project)
    with WriteRun(project) as run, pytest.raises(WriteError, match="the project is unchanged"):
        run.replace(
            [
                put(project / "project.qpproj", b"new"),
                # a folder stands where the file should go, so that the rename itself fails
                put(project / "data/1/new.json", b"{}", verify=_make_folder),
            ]
        )
    assert tree(project) == before


def _make_folder(beside: Path) -> None:
    (beside.parent / "new.json").mkdir()


@pytest.fixture
def nobody() -> Iterator[None]:
    """Runs the test as a user to whom permissions apply."""
    if not AS_ROOT:
        yield
        return
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


@pytest.fixture
def open_project() -> Iterator[Path]:
    """A project where any user may go; pytest's own folder is closed to others."""
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top) / "project"
        (folder / "data" / "1").mkdir(parents=True)
        (folder / "project.qpproj").write_bytes(listed(0))
        (folder / "data" / "1" / "data.qpdata").write_bytes(b"data 0")
        Path(top).chmod(0o755)
        if AS_ROOT:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, NOBODY, -1)
        yield folder


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize("protected", [".", "data/1", "data/1/data.qpdata"])
def test_a_read_only_project_says_so(open_project: Path, protected: str, nobody: None) -> None:
    before = tree(open_project)
    path = open_project / protected
    mode = path.stat().st_mode
    path.chmod(mode & ~0o222)
    try:
        with (
            WriteRun(open_project) as run,
            pytest.raises(WriteError, match="the project is unchanged"),
        ):
            write(open_project, 1, run)
    finally:
        path.chmod(mode)
    assert tree(open_project) == before
    assert not backups(open_project)


def test_two_runs_do_not_write_at_once(project: Path) -> None:
    with WriteRun(project) as first:
        first.begin()
        with WriteRun(project) as second, pytest.raises(WriteError, match=f"{os.getpid()}"):
            second.begin()
    with WriteRun(project) as third:
        third.begin()


@pytest.mark.parametrize("started", [1.0, None])
def test_a_dead_holder_is_recognised(project: Path, started: float | None) -> None:
    """Another process may have the number by now: the start tells them apart."""
    pid = os.getpid() if started else _dead_pid()
    holder = {"host": socket.gethostname(), "pid": pid, "token": "x", "started": started or 1.0}
    (project / LOCK_NAME).write_text(json.dumps(holder))
    lock = ProjectLock(project)
    lock.acquire()
    assert lock.held
    lock.release()
    assert not (project / LOCK_NAME).exists()


def _dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    "content", ['{"host": "elsewhere", "pid": 1, "token": "x"}', "", "[]", "not json"]
)
def test_a_lock_that_may_be_alive_is_never_broken(project: Path, content: str) -> None:
    (project / LOCK_NAME).write_text(content)
    with pytest.raises(WriteError, match="delete the file"):
        ProjectLock(project).acquire()
    assert (project / LOCK_NAME).read_text() == content
