"""Files of a newer QuPath than was tested: written where the codec gives them back, else read."""

import json
import shutil
from pathlib import Path

import pytest

from qupath_hccmil.cli.main import run
from qupath_hccmil.errors import UnsupportedDataError
from qupath_hccmil.qupath.native.javanodes import JavaString, encode
from qupath_hccmil.qupath.native.native_project import parse
from qupath_hccmil.qupath.native.qpdata import QpData
from qupath_hccmil.qupath.project_differences import difference
from qupath_hccmil.qupath.qupath_versions import is_newer, why_read_only
from tests.conftest import ROOT
from tests.qupath.engines import NATIVE, assert_same_state, files, results_for

FIXTURE = "tests/data/projects/qupath-0.7.0"
TUMOUR = "6"
NEWER = [("0.8.0", "3"), ("0.8.0-SNAPSHOT", "3"), ("0.10.2", "3"), ("1.0.0", "4"), ("0.7.0", "4")]


def newer(content: bytes, qupath: str, version: str = "3") -> bytes:
    """Data that say that they are of a newer QuPath, or format."""
    data = QpData(content)
    text = data.server_json.replace('"0.7.0"', f'"{qupath}"')
    data.stream.contents[1] = JavaString.of(text)
    return data.to_bytes().replace(b"Data file version 3", b"Data file version " + encode(version))


@pytest.fixture
def project(tmp_path: Path):
    """Make a project as a newer QuPath would say it."""

    def make(qupath: str, version: str = "3", name: str = "project") -> Path:
        folder = Path(shutil.copytree(ROOT / FIXTURE, tmp_path / name))
        listed = json.loads((folder / "project.qpproj").read_bytes())
        listed["version"] = qupath
        listed["images"] = [each for each in listed["images"] if str(each["entryID"]) == TUMOUR]
        for other in (folder / "data").iterdir():
            if other.is_dir() and other.name != TUMOUR:
                shutil.rmtree(other)
        (folder / "project.qpproj").write_text(json.dumps(listed, ensure_ascii=False), "utf-8")
        path = data_of(folder)
        path.write_bytes(newer(path.read_bytes(), qupath, version))
        return folder

    return make


def data_of(project: Path) -> Path:
    return project / "data" / TUMOUR / "data.qpdata"


def long_end(content: bytes) -> bytes:
    """Store the last text in a longer form, which Java reads and nobody writes."""
    end = b"t\x00\x03EOF"
    assert content.endswith(end)
    return content[: -len(end)] + b"\x7c" + (3).to_bytes(8, "big") + b"EOF"


def unknown(content: bytes) -> bytes:
    """Rename QuPath's class of annotations to one that nobody knows."""
    return content.replace(b"PathAnnotationObject", b"PathAnnotationObjext")


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    capsys.readouterr()
    code = run([str(each) for each in arguments])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


@pytest.mark.parametrize(("qupath", "version"), NEWER)
def test_newer_files_are_written_with_a_note(project, tmp_path, qupath: str, version: str) -> None:
    folder = project(qupath, version)
    before = shutil.copytree(folder, tmp_path / "before")
    [state] = NATIVE("read", folder)
    assert state.read_only == ""
    [note] = state.notes
    assert (
        f"was written by QuPath {qupath} (data file version {version}), which is newer than" in note
    )
    assert "\n" not in note
    NATIVE("write", folder, {TUMOUR: results_for(state)}, {TUMOUR: state.stamp})
    assert difference(before, folder) == []
    written = parse(data_of(folder))
    assert (written.version, written.qupath_version) == (version, qupath)
    [scored] = NATIVE("read", folder)
    assert scored.results.tiles
    NATIVE("write", folder, {TUMOUR: type(scored.results)()}, {TUMOUR: scored.stamp})
    assert data_of(folder).read_bytes() == data_of(before).read_bytes()


def test_a_newer_file_that_does_not_come_back_is_read_only(project, capsys) -> None:
    folder = project("0.8.0")
    data_of(folder).write_bytes(long_end(data_of(folder).read_bytes()))
    before = files(folder)
    [state] = NATIVE("read", folder)
    assert len(state.annotations) == 1
    assert state.notes == ()
    assert "newest tested version (0.7), and this program could not write it back unchanged" in (
        state.read_only
    )
    with pytest.raises(UnsupportedDataError, match="could not write it back unchanged"):
        NATIVE("write", folder, {TUMOUR: results_for(state)}, {TUMOUR: state.stamp})
    for command in (("score", folder, "--dry-run"), ("project", "check", folder)):
        code, text = said(capsys, *command, "--engine", "native")
        assert (code, "it is read only" in text) == (3, True)
    assert {path: files(folder)[path] for path in before} == before


def test_the_same_of_a_tested_qupath_is_damage(project) -> None:
    folder = project("0.7.0")
    data_of(folder).write_bytes(long_end(data_of(folder).read_bytes()))
    with pytest.raises(UnsupportedDataError, match="could not be written back unchanged; use a"):
        NATIVE("read", folder)


def test_a_newer_file_of_an_unknown_form_says_so(project, capsys) -> None:
    folder = project("0.8.0")
    data_of(folder).write_bytes(unknown(data_of(folder).read_bytes()))
    for command in (("score", folder, "--dry-run"), ("project", "check", folder)):
        code, text = said(capsys, *command, "--engine", "native")
        assert code == 3
        assert "contains an unknown object (PathAnnotationObjext)" in text
        assert "it was written by QuPath 0.8.0 (data file version 3), which is newer" in text
        assert "use a backup" not in text


def test_info_and_check_note_a_newer_file(project, capsys) -> None:
    folder = project("0.8.0")
    for command in ("check", "info"):
        _, text = said(capsys, "project", command, folder, "--engine", "native")
        assert "(0.7); this program can write it back byte for byte" in text
        assert "written by QuPath 0.8.0" in text


@pytest.mark.parametrize(
    ("version", "qupath", "expected"),
    [
        ("3", "0.7.0", False),
        ("3", "v0.4.0", False),
        ("3", "0.8.0", True),
        ("4", "0.6.0", True),
        ("4", "0.3.2", False),
        ("4", "", False),
        ("3", "0.99999999999999999999.0", False),
        ("3", "1.0", True),
        ("x", "0.7.0", False),
        ("9" * 5000, "0.7.0", False),
    ],
)
def test_newer_is_told_from_older_and_from_nonsense(version, qupath, expected) -> None:
    assert is_newer(version, qupath) == expected
    reason = why_read_only(version, qupath)
    assert bool(reason) == (expected or version != "3" or not qupath.startswith(("0.7", "v0.4")))
    assert len(reason) < 400
    # an older format of a newer QuPath was never seen
    assert why_read_only("2", "0.8.0", gives_back=True)


@pytest.mark.qupath
@pytest.mark.parametrize(("qupath_version", "version"), [("0.8.0", "3"), ("1.0.0", "4")])
def test_both_engines_write_newer_files_alike(
    project, qupath, tmp_path, qupath_version: str, version: str
) -> None:
    folders = [project(qupath_version, version, name) for name in ("native", "paquo")]
    before = shutil.copytree(folders[0], tmp_path / "before")
    for engine, folder in zip((NATIVE, qupath), folders, strict=True):
        [state] = engine("read", folder)
        assert (state.read_only, len(state.notes)) == ("", 1)
        engine("write", folder, {TUMOUR: results_for(state)}, {TUMOUR: state.stamp})
        assert difference(before, folder) == []
    # an older QuPath would drop what it does not know, so its classes do not write
    assert data_of(folders[0]).read_bytes() == data_of(folders[1]).read_bytes()
    states = [engine("read", folder)[0] for engine in (NATIVE, qupath) for folder in folders]
    for state in states[1:]:
        assert_same_state(states[0], state)


@pytest.mark.qupath
def test_both_engines_only_read_what_does_not_come_back(project, qupath) -> None:
    folder = project("0.8.0")
    data_of(folder).write_bytes(long_end(data_of(folder).read_bytes()))
    [ours], [theirs] = NATIVE("read", folder), qupath("read", folder)
    assert_same_state(ours, theirs)
    assert ours.read_only == theirs.read_only != ""
    with pytest.raises(UnsupportedDataError, match="could not write it back unchanged"):
        qupath("write", folder, {TUMOUR: results_for(theirs)}, {TUMOUR: theirs.stamp})
