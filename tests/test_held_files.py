"""A file that another program holds for a moment is waited for; for longer, nothing is lost."""

import sys

import pytest

from qupath_hccmil import held_files
from qupath_hccmil.atomic_files import atomic_file, atomic_folder
from qupath_hccmil.errors import WriteError
from tests.held_files import HeldFile


def test_a_file_that_is_held_for_a_moment_is_replaced(tmp_path, monkeypatch):
    path = tmp_path / "scores.csv"
    path.write_text("old")
    held = HeldFile(monkeypatch, path.name, 3)
    with atomic_file(path) as new:
        new.write_text("new")
    assert path.read_text() == "new"
    assert held.refused == 3
    assert held.waits == list(held_files.WAITS[:3])
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_file_that_stays_held_is_named_and_unchanged(tmp_path, monkeypatch):
    path = tmp_path / "scores.csv"
    path.write_text("old")
    held = HeldFile(monkeypatch, path.name, 10_000)
    with pytest.raises(WriteError) as refused, atomic_file(path) as new:
        new.write_text("new")
    assert str(refused.value) == (
        f"{path}: cannot be written: The process cannot access the file because it is being used "
        "by another process, tried for 6 s: close the programs that have the file open (QuPath, "
        "Excel, a viewer), or ask for the right to change it; nothing was changed"
    )
    assert held.waits == list(held_files.WAITS)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("times", [3, 10_000])
def test_a_folder_of_which_a_file_is_held(tmp_path, monkeypatch, times):
    folder = tmp_path / "model"
    for content in ("first", "second"):
        if content == "second":
            HeldFile(monkeypatch, folder.name, times)
        try:
            with atomic_folder(folder) as new:
                (new / content).touch()
        except WriteError as error:
            assert "close the programs" in str(error)  # noqa: PT017
    kept = "second" if times == 3 else "first"
    assert [path.name for path in folder.iterdir()] == [kept]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_refusal_for_good_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(held_files.time, "sleep", lambda _: pytest.fail("waited"))
    with pytest.raises(FileNotFoundError):
        held_files.remove(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        held_files.replace(tmp_path / "none", tmp_path / "other")


@pytest.mark.skipif(sys.platform != "win32", reason="Windows alone refuses to remove an open file")
def test_an_open_file_on_windows(tmp_path, monkeypatch):
    path = tmp_path / "scores.csv"
    path.write_text("old")
    reader = path.open()
    monkeypatch.setattr(held_files.time, "sleep", lambda _: reader.close())
    with atomic_file(path) as new:
        new.write_text("new")
    assert path.read_text() == "new"
