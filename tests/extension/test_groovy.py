"""The extension's Groovy without a window: it compiles, and its logic is right."""

import pytest

from tests.conftest import qupath_dirs
from tests.extension.groovy_runs import JAR, Groovy, groovys
from tests.extension.window import why_no_window

HERE = JAR.parents[1] / "tests" / "extension"
WITH_WINDOW = {folder.name for folder in qupath_dirs() if why_no_window(folder) is None}
LOGIC = sorted((HERE / "logic").glob("*.groovy"))


@pytest.fixture(params=groovys() or [None], ids=lambda found: found.name if found else "none")
def groovy(request) -> Groovy:
    if request.param is None:
        pytest.skip("no Groovy: neither a QuPath nor Debian's groovy nor one of Maven is here")
    return request.param


@pytest.mark.qupath
def test_all_of_it_compiles_against_this_qupath(groovy, tmp_path):
    if groovy.name not in WITH_WINDOW:
        pytest.skip(f"{groovy.name} lacks the classes of QuPath's window")
    files = sorted((JAR / "hccmil").rglob("*.groovy"))
    done = groovy.compile(files, tmp_path)
    assert done.returncode == 0, done.stderr
    compiled = {path.stem for path in tmp_path.rglob("*.class")}
    assert {path.stem for path in files} <= compiled


def test_logic(groovy):
    if not groovy.has_gson_and_jts:
        pytest.skip(f"{groovy.name} has no Gson and JTS beside it")
    done = groovy.scripts(*LOGIC)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(LOGIC)


def test_each_entry_of_the_menu_has_its_class():
    lines = (JAR / "hccmil" / "menu.txt").read_text(encoding="utf-8").splitlines()
    named = [line.split("|")[1].strip() for line in lines if "|" in line and line[0] != "#"]
    assert named
    for name in named:
        assert (JAR / f"{name.replace('.', '/')}.groovy").is_file(), name
