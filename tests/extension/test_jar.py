"""The jar is the same whoever makes it, and its classes are what their source says."""

import shutil
import subprocess
import zipfile
from io import BytesIO

import pytest

import qupath_hccmil
from qupath_hccmil.qupath.extension.jar import jar_bytes, jar_name, jar_version
from tests.conftest import ROOT

EXTENSION = ROOT / "extension"


def test_the_jar_holds_the_classes_the_groovy_and_the_menu():
    with zipfile.ZipFile(BytesIO(jar_bytes())) as jar:
        names = jar.namelist()
        service = jar.read("META-INF/services/qupath.lib.gui.extensions.QuPathExtension")
    # Java looks for the manifest at the start
    assert names[0] == "META-INF/MANIFEST.MF"
    assert names[1:] == sorted(names[1:])
    assert {"hccmil/HccMilExtension.class", "hccmil/menu.txt", "hccmil/Start.groovy"} <= {*names}
    assert service == b"hccmil.HccMilExtension\n"


def test_the_jar_says_its_version(tmp_path):
    jar = tmp_path / jar_name()
    jar.write_bytes(jar_bytes())
    assert jar_version(jar) == qupath_hccmil.__version__
    assert qupath_hccmil.__version__ in jar.name


def test_a_file_that_is_no_jar_has_no_version(tmp_path):
    (tmp_path / "a.jar").write_bytes(b"PK")
    assert jar_version(tmp_path / "a.jar") is None
    assert jar_version(tmp_path / "not there.jar") is None


def test_the_jar_has_nothing_of_the_day_in_it():
    with zipfile.ZipFile(BytesIO(jar_bytes())) as jar:
        assert {info.date_time for info in jar.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        # what no compression library can change
        assert {info.compress_type for info in jar.infolist()} == {zipfile.ZIP_STORED}


def test_text_in_the_jar_is_the_same_on_every_system():
    for path in (EXTENSION / "jar").rglob("*"):
        if path.is_file() and path.suffix != ".class":
            assert b"\r" not in path.read_bytes(), path


def java_version(javac: str) -> int:
    said = subprocess.run([javac, "-version"], capture_output=True, text=True, check=True)
    return int((said.stdout + said.stderr).split()[-1].split(".")[0])


def test_the_classes_are_those_of_their_source(tmp_path):
    javac = shutil.which("javac")
    if javac is None or java_version(javac) < 17:
        pytest.skip("no JDK of 17 or newer is installed")
    sources = sorted((EXTENSION / "java" / "hccmil").glob("*.java"))
    options = ("--release", "17", "-Xlint:all", "-Werror", "-proc:none", "-implicit:none")
    stubs = ("-sourcepath", EXTENSION / "stubs")
    subprocess.run([javac, *options, *stubs, "-d", tmp_path, *sources], check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.rglob("*.class")}
    kept = {path.name: path.read_bytes() for path in (EXTENSION / "jar").rglob("*.class")}
    assert made.keys() == kept.keys()
    for name, content in made.items():
        assert content == kept[name], f"{name} is not of its source: run `make extension`"
