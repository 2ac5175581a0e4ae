"""``qupath install`` and ``uninstall``: what they write, what they leave, what doctor says."""

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

import qupath_hccmil
from qupath_hccmil.qupath.extension import command, java_preferences
from qupath_hccmil.qupath.extension.command import COMMAND_FILE, this_command
from qupath_hccmil.qupath.extension.jar import TITLE, jar_bytes, jar_name, menu_entries
from tests.extension.window import prefer

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="preferences as Linux keeps them")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home folder whose user has never started QuPath."""
    folder = tmp_path / "Jürgen Müller"
    folder.mkdir()
    monkeypatch.setattr(java_preferences, "user_home", lambda: folder)
    return folder


@pytest.fixture
def program(tmp_path, monkeypatch) -> Path:
    """A program of this package with a space and an umlaut in its path."""
    path = tmp_path / "Programme für alle" / "qupath-hccmil"
    path = path.with_suffix(".exe") if os.name == "nt" else path
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setattr(command.sys, "argv", [str(path), "qupath", "install"])
    return path


def other_jar(folder: Path, name: str, title: str = TITLE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as jar:
        manifest = f"Implementation-Title: {title}\r\nImplementation-Version: 0.0.9\r\n"
        jar.writestr("META-INF/MANIFEST.MF", manifest)
    return folder / name


def test_install_writes_the_jar_and_where_the_command_is(cli, program, tmp_path):
    folder = tmp_path / "extensions"
    ran = cli("qupath", "install", "--dir", folder)
    assert (ran.code, ran.err) == (0, "")
    assert str(folder / jar_name()) in ran.out
    assert (folder / jar_name()).read_bytes() == jar_bytes()
    assert (folder / COMMAND_FILE).read_text("utf-8") == f"{program}\n"
    assert {path.name for path in folder.iterdir()} == {jar_name(), COMMAND_FILE}


def test_install_replaces_our_older_jar_and_nothing_else(cli, program, tmp_path):
    older = other_jar(tmp_path, f"{TITLE}-0.0.9.jar")
    theirs = other_jar(tmp_path, f"{TITLE}-copy.jar", "another")
    cli("qupath", "install", "--dir", tmp_path)
    assert not older.exists()
    assert theirs.exists()
    assert (tmp_path / jar_name()).exists()


def test_uninstall_removes_what_is_ours(cli, program, tmp_path):
    cli("qupath", "install", "--dir", tmp_path)
    theirs = other_jar(tmp_path, "other.jar", "another")
    before = {path.name for path in tmp_path.iterdir()} - {jar_name(), COMMAND_FILE}
    ran = cli("qupath", "uninstall", "--dir", tmp_path)
    assert ran.code == 0
    assert jar_name() in ran.out
    assert {path.name for path in tmp_path.iterdir()} == before
    assert theirs.exists()
    assert "Nothing was installed" in cli("qupath", "uninstall", "--dir", tmp_path).out


@LINUX
def test_each_qupath_with_a_user_directory_gets_it(cli, program, home):
    for version in ("0.5.1", "0.7.0"):
        (home / version).mkdir()
        prefer(home, Path(f"QuPath-{version}"), {"userPath": str(home / version)})
    # of one whose folder is gone, as after a move to another computer
    prefer(home, Path("QuPath-0.6.0"), {"userPath": str(home / "gone")})
    ran = cli("qupath", "install")
    assert ran.code == 0
    for version in ("0.5.1", "0.7.0"):
        assert (home / version / "extensions" / jar_name()).is_file()
    assert not (home / "gone").exists()


@LINUX
def test_where_no_qupath_has_a_user_directory_one_line_says_what_to_do(cli, program, home):
    (home / "QuPath" / "v0.7").mkdir(parents=True)
    ran = cli("qupath", "install")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "--dir" in ran.err
    assert not list(home.rglob("*.jar"))


def test_a_folder_that_cannot_be_written_is_one_line(cli, program, tmp_path):
    (tmp_path / "extensions").write_text("a file")
    ran = cli("qupath", "install", "--dir", tmp_path / "extensions" / "deep")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "cannot be written" in ran.err


@LINUX
def test_doctor_says_what_is_installed_and_whether_it_is_of_this_version(cli, program, home):
    def said() -> dict:
        findings = json.loads(cli("doctor", "--json").out)
        (found,) = [each for each in findings if each["what"] == "QuPath extension"]
        return found

    found = said()
    assert (found["ok"], found["needed"]) == (False, False)
    assert "qupath-hccmil qupath install" in found["found"]
    prefer(home, Path("QuPath-0.7.0"), {"userPath": str(home)})
    cli("qupath", "install")
    found = said()
    assert found["ok"]
    assert qupath_hccmil.__version__ in found["found"]
    assert str(program) in found["found"]
    other_jar(home / "extensions", jar_name())
    found = said()
    assert not found["ok"]
    assert "0.0.9" in found["found"]
    assert "run: qupath-hccmil qupath install" in found["found"]


def test_the_scripts_of_a_project_are_the_entries_of_the_menu(cli, program, project):
    ran = cli("qupath", "install", "--project", project)
    assert (ran.code, ran.err) == (0, "")
    folder = project / "scripts" / "HCC-MIL"
    scripts = {path.name: path.read_text("utf-8") for path in folder.glob("*.groovy")}
    assert len(scripts) == len(menu_entries())
    for class_name in menu_entries().values():
        assert any(f'"{class_name}"' in text for text in scripts.values())
    assert (folder / jar_name()).read_bytes() == jar_bytes()
    # again, over our own
    assert cli("qupath", "install", "--project", project / "project.qpproj").code == 0
    ran = cli("qupath", "uninstall", "--project", project)
    assert ran.code == 0
    assert not folder.exists()


def test_a_script_of_the_users_own_is_never_touched(cli, program, project):
    cli("qupath", "install", "--project", project)
    folder = project / "scripts" / "HCC-MIL"
    first, *_ = sorted(folder.glob("*.groovy"))
    first.write_text("print 'mine'", encoding="utf-8")
    (folder / "my own.groovy").write_text("print 'mine'", encoding="utf-8")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    ran = cli("qupath", "install", "--project", project)
    assert ran.code == 1
    assert str(first) in ran.err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    cli("qupath", "uninstall", "--project", project)
    assert {path.name for path in folder.iterdir()} == {first.name, "my own.groovy"}


def test_a_folder_that_is_no_project_is_one_line(cli, program, tmp_path):
    ran = cli("qupath", "install", "--project", tmp_path / "nothing")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "nothing").exists()


def test_the_command_is_found_next_to_python(monkeypatch):
    monkeypatch.setattr(command.sys, "argv", ["-m"])
    beside = shutil.which("qupath-hccmil", path=Path(sys.executable).parent)
    if beside is None:
        pytest.skip("the package is not installed in this environment")
    assert this_command() == Path(beside)
