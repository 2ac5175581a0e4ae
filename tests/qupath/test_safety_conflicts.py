"""QuPath saved while we were at work, or after a crash of ours: nothing of its is lost."""

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qupath_hccmil.errors import ConflictError, ProjectError, WriteError
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import ImageResults
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.writing import project_list as projectlist
from qupath_hccmil.qupath.writing import transaction
from qupath_hccmil.qupath.writing.backups import BACKUPS
from qupath_hccmil.qupath.writing.restore_backup import backups, restore
from tests.qupath.faults.transitions import (
    leftovers,
    make_project,
    only_ours_differ,
    results_of,
    score,
    shown,
    tree,
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


def data(project: Path) -> Path:
    return project / "data" / "1" / "data.qpdata"


def add_image(project: Path) -> None:
    """Save the list with one more image and another name, as QuPath does."""
    path = project / "project.qpproj"
    content = json.loads(path.read_text())
    second = json.loads(json.dumps(content["images"][0]))
    second |= {"entryID": 2, "imageName": "added"}
    second["metadata"] = {"theirs": "too"}
    content["images"].append(second)
    content["images"][0]["imageName"] = "renamed"
    path.write_text(json.dumps(content, indent=2))


def entries(project: Path) -> dict[str, dict[str, str]]:
    with NativeProject(project) as opened:
        return {each.name: dict(each.metadata) for each in opened.images}


class Crashed(BaseException):
    """Stands for a process that ends: nothing of ours goes on."""


@contextlib.contextmanager
def crashing(monkeypatch: pytest.MonkeyPatch, at: str) -> Iterator[None]:
    """Let the process end just before, or just after, the data are renamed."""
    real = transaction.Transaction._replace

    def die(self: Any, step: Any) -> None:
        if at == "after":
            real(self, step)
        raise Crashed

    with monkeypatch.context() as patch:
        patch.setattr(transaction.Transaction, "_replace", die)
        patch.setattr(transaction.Transaction, "_undo", lambda self: None)
        with pytest.raises(Crashed):
            yield


def test_an_image_that_qupath_saved_meanwhile_is_not_written(project: Path) -> None:
    with NativeProject(project) as opened:
        state = opened.read(opened.images[0])
        theirs = data(project).read_bytes()[:-9]
        data(project).write_bytes(theirs)
        before = tree(project)
        with pytest.raises(ConflictError, match=r"data\.qpdata.*nothing was written"):
            opened.write(state.entry, results_of(state, 0.5), state.stamp)
    assert tree(project) == before
    assert leftovers(project) == []


def test_a_save_in_the_last_moment_is_seen(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the last comparison and the rename, with the old results' metadata out already."""
    score(NativeProject, project, 0.2)
    real = transaction.Transaction._replace
    theirs = data(project).read_bytes()

    def saved_first(self: Any, step: Any) -> None:
        if step.path.endswith("data.qpdata"):
            # the same content, saved again
            data(project).unlink()
            data(project).write_bytes(theirs)
        real(self, step)

    before = tree(project)
    monkeypatch.setattr(transaction.Transaction, "_replace", saved_first)
    with pytest.raises(ConflictError):
        score(NativeProject, project, 0.7)
    assert tree(project) == before
    assert shown(project) == ("0.2", "0.2")


def test_data_that_qupath_has_put_aside_are_waited_for(project: Path) -> None:
    data(project).rename(data(project).with_name("data.qpdata.bkp"))
    with (
        NativeProject(project) as opened,
        pytest.raises(ConflictError, match="QuPath is saving it"),
    ):
        opened.read(opened.images[0])


@pytest.mark.parametrize("before", [False, True], ids=["first", "again"])
def test_an_image_that_was_added_meanwhile_stays(project: Path, before: bool) -> None:
    if before:
        score(NativeProject, project, 0.2)
    with NativeProject(project) as opened:
        state = opened.read(opened.images[0])
        add_image(project)
        opened.write(state.entry, results_of(state, 0.7), state.stamp)
    now = entries(project)
    assert now["renamed"][names.META_RISK] == "0.7"
    assert now["renamed"]["Patient ID"] == "P1"
    assert now["added"] == {"theirs": "too"}
    # a restore takes back ours alone
    restore(project)
    assert entries(project)["added"] == {"theirs": "too"}
    assert entries(project)["renamed"].get(names.META_RISK) == ("0.2" if before else None)


def merging(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None], at: int) -> None:
    """Let the list change just before one of the two times that ours is put in place."""
    real, calls = transaction.settle, []

    def late(*arguments: Any) -> str:
        calls.append(arguments)
        if len(calls) == at:
            change()
        return real(*arguments)

    monkeypatch.setattr(transaction, "settle", late)


@pytest.mark.parametrize("at", [1, 2], ids=["old metadata taken out", "new metadata put in"])
@pytest.mark.parametrize("twice", [False, True], ids=["once", "and again"])
def test_a_list_that_is_saved_while_ours_is_written_is_merged(
    project: Path, monkeypatch: pytest.MonkeyPatch, at: int, twice: bool
) -> None:
    score(NativeProject, project, 0.2)
    merging(monkeypatch, lambda: add_image(project), at)
    if twice:
        _touch_while_writing(project, monkeypatch, times=1)
    score(NativeProject, project, 0.7)
    now = entries(project)
    assert now["renamed"][names.META_RISK] == "0.7"
    assert now["added"] == {"theirs": "too"}
    assert leftovers(project) == []
    restore(project)
    assert entries(project)["renamed"][names.META_RISK] == "0.2"
    assert "added" in entries(project)


def _touch_while_writing(project: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    really, left = projectlist.write_list, [times]

    def slow(*arguments: Any) -> None:
        really(*arguments)
        if left[0]:
            left[0] -= 1
            path = project / "project.qpproj"
            path.write_text(path.read_text() + "\n")

    monkeypatch.setattr(projectlist, "write_list", slow)


def test_a_list_that_never_rests_is_left_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score(NativeProject, project, 0.2)
    before = data(project).read_bytes()
    monkeypatch.setattr(projectlist, "PAUSE", 0)
    with monkeypatch.context() as patch:
        merging(patch, lambda: add_image(project), 2)
        _touch_while_writing(project, patch, times=projectlist.TRIES)
        with pytest.raises(WriteError, match="being changed by another program"):
            score(NativeProject, project, 0.7)
    assert data(project).read_bytes() == before
    assert entries(project)["renamed"][names.META_RISK] == "0.2"
    assert "added" in entries(project)


def test_an_image_that_was_taken_out_meanwhile_is_not_written(project: Path) -> None:
    before = data(project).read_bytes()
    with NativeProject(project) as opened:
        state = opened.read(opened.images[0])
        path = project / "project.qpproj"
        path.write_text(json.dumps({**json.loads(path.read_text()), "images": []}))
        with pytest.raises(ProjectError, match="no longer in the project"):
            opened.write(state.entry, results_of(state, 0.7), state.stamp)
    assert data(project).read_bytes() == before


@pytest.mark.parametrize("look", [True, False], ids=["a look", "the next run"])
@pytest.mark.parametrize("at", ["before", "after"])
def test_after_a_crash_the_write_is_completed_and_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any, at: str, look: bool
) -> None:
    score(NativeProject, project, 0.2)
    with crashing(monkeypatch, at):
        score(NativeProject, project, 0.7)
    assert shown(project) == ("0.2" if at == "before" else "0.7", "-")
    with NativeProject(project) as opened:
        if not look:
            opened.begin()
        found = opened.read(opened.images[0]).results
    assert found.root[names.SLIDE_RISK] == 0.7
    assert found.metadata[names.META_RISK] == "0.7"
    (said,) = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert "was interrupted while it wrote; this was completed: data/1" in said
    assert leftovers(project) == []
    restore(project)
    assert shown(project) == ("0.2", "0.2")


@pytest.mark.parametrize("at", ["before", "after"])
def test_what_the_user_saved_after_the_crash_is_kept(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at: str
) -> None:
    score(NativeProject, project, 0.2)
    with crashing(monkeypatch, at):
        score(NativeProject, project, 0.7)
    # QuPath opens what it finds, and saves the image and the list: here with another image
    other = tmp_path / "other" / "project"
    other.parent.mkdir()
    shutil.copytree(project, other, ignore=shutil.ignore_patterns(BACKUPS, "*hccmil*"))
    with NativeProject(other) as opened:
        state = opened.read(opened.images[0])
        edited = replace(state.results, annotations={})
        opened.write(state.entry, edited, state.stamp)
    theirs = data(other).read_bytes()
    data(project).write_bytes(theirs)
    add_image(project)
    with NativeProject(project) as opened:
        found = opened.read(opened.images[0]).results
    assert data(project).read_bytes() == theirs
    assert found.metadata[names.META_RISK] == ("0.2" if at == "before" else "0.7")
    assert "added" in entries(project)
    assert leftovers(project) == []


def test_a_project_that_cannot_be_written_is_read_as_it_is(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    score(NativeProject, project, 0.2)
    with crashing(monkeypatch, "after"):
        score(NativeProject, project, 0.7)
    before = tree(project)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "x")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", refuse)
        with NativeProject(project) as opened:
            assert opened.read(opened.images[0]).results.root[names.SLIDE_RISK] == 0.7
    assert "was interrupted or is still active" in caplog.text
    assert tree(project) == before


def test_restore_names_the_image_that_was_changed_since(project: Path) -> None:
    score(NativeProject, project, 0.2)
    data(project).write_bytes(data(project).read_bytes()[:-3])
    before = tree(project)
    with pytest.raises(ConflictError, match=r"Slide 1 \(data/1/data\.qpdata\).*--force"):
        restore(project)
    assert tree(project) == before


def test_restore_does_not_mind_a_list_that_qupath_saved(project: Path) -> None:
    """QuPath saves it whenever a project is open; what is in it stays."""
    before = data(project).read_bytes()
    score(NativeProject, project, 0.2)
    add_image(project)
    classes = project / "classifiers" / "classes.json"
    classes.write_text(json.dumps({"pathClasses": [{"name": "theirs", "color": -1}]}))
    restore(project)
    assert "theirs" in classes.read_text()
    assert data(project).read_bytes() == before
    assert entries(project)["added"] == {"theirs": "too"}
    assert names.META_RISK not in entries(project)["renamed"]


def test_the_last_scoring_run_can_always_be_taken_back(project: Path, tmp_path: Path) -> None:
    """However often it went back and forth since: restores push no backup of a run out."""
    first = tree(project)
    score(NativeProject, project, 0.2)
    (scored,) = backups(project)
    for _ in range(7):
        restore(project, backups(project)[-1].run)
    assert backups(project)[0].run == scored.run
    restore(project, scored.run)
    assert tree(project) == first


@pytest.mark.parametrize("refused", ["fsync of folders", "fsync", "link", "chmod"])
def test_a_file_system_that_knows_less_will_do(
    project: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def unsupported(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    def no_folders(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(22, "Invalid argument")

    change: Callable[..., None] = no_folders if refused == "fsync of folders" else unsupported
    monkeypatch.setattr(os, refused.split()[0], change)
    score(NativeProject, project, 0.2)
    score(NativeProject, project, 0.7)
    monkeypatch.undo()
    assert shown(project) == ("0.7", "0.7")
    assert leftovers(project) == []


def test_a_disk_that_cannot_flush_is_not_trusted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    before = tree(project)
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(WriteError, match="Input/output error"):
        score(NativeProject, project, 0.2)
    monkeypatch.undo()
    assert tree(project) == before


def test_a_drive_that_has_gone_is_no_image_without_annotations(project: Path) -> None:
    with NativeProject(project) as opened:
        (entry,) = opened.images
        project.rename(project.with_name("unmounted"))
        with pytest.raises(ProjectError, match="no longer exists"):
            opened.read(entry)


def test_clear_after_a_crash_leaves_the_users_state(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tmp_path / "before" / "project"
    shutil.copytree(project, before)
    with crashing(monkeypatch, "after"):
        score(NativeProject, project, 0.7)
    with NativeProject(project) as opened:
        (entry,) = opened.images
        opened.write(entry, ImageResults(), opened.read(entry).stamp)
    assert only_ours_differ(before, project) == []
    assert data(project).read_bytes() == data(before).read_bytes()
