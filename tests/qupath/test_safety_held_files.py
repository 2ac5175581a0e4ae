"""A project's files that another program holds for a moment, as on Windows, are waited for."""

import os
from pathlib import Path

import pytest

from qupath_hccmil import held_files
from qupath_hccmil.errors import ConflictError, WriteError
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.writing.backups import MANIFEST
from qupath_hccmil.qupath.writing.project_lock import LOCK_NAME, ProjectLock
from qupath_hccmil.qupath.writing.restore_backup import restore
from tests.held_files import HeldFile
from tests.qupath.faults.transitions import leftovers, make_project, score, shown, tree


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


@pytest.mark.parametrize("name", ["data.qpdata", "project.qpproj", LOCK_NAME, MANIFEST])
def test_held_for_a_moment(project: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    held = HeldFile(monkeypatch, name, 3)
    score(NativeProject, project, 0.2)
    score(NativeProject, project, 0.7)
    assert held.refused == 3
    assert shown(project) == ("0.7", "0.7")
    assert leftovers(project) == []


@pytest.mark.parametrize("name", ["data.qpdata", "project.qpproj"])
def test_held_for_long(project: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    score(NativeProject, project, 0.2)
    before = tree(project)
    HeldFile(monkeypatch, name, 10_000)
    with pytest.raises(WriteError, match="close the programs that have the file open"):
        score(NativeProject, project, 0.7)
    monkeypatch.undo()
    score(NativeProject, project, 0.2)
    assert tree(project).keys() == before.keys()
    assert shown(project) == ("0.2", "0.2")
    score(NativeProject, project, 0.7)
    assert shown(project) == ("0.7", "0.7")
    assert leftovers(project) == []


def test_a_backup_is_restored_when_the_file_is_free(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(NativeProject, project, 0.2)
    score(NativeProject, project, 0.7)
    held = HeldFile(monkeypatch, "data.qpdata", 3)
    restore(project)
    assert held.refused == 3
    assert shown(project) == ("0.2", "0.2")


def test_what_the_other_program_saves_meanwhile_is_kept(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QuPath holds the file because it is saving it."""
    HeldFile(monkeypatch, "data.qpdata", 1)
    saved = project / "data" / "1" / "data.qpdata"

    def saves(_: float) -> None:
        saved.write_bytes(saved.read_bytes() + b"saved by QuPath")

    monkeypatch.setattr(held_files.time, "sleep", saves)
    with pytest.raises(ConflictError, match="was changed by another program"):
        score(NativeProject, project, 0.2)
    assert saved.read_bytes().endswith(b"saved by QuPath")


def test_the_lock_is_released_while_another_process_reads_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = ProjectLock(project)
    lock.acquire()
    HeldFile(monkeypatch, LOCK_NAME, 2)
    lock.release()
    assert not os.path.lexists(project / LOCK_NAME)
