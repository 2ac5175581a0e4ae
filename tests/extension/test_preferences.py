"""QuPath's preferences, as Java keeps them on each system."""

import plistlib
import sys

import pytest

from qupath_hccmil.qupath.extension.java_preferences import (
    from_property_list,
    from_registry,
    from_xml,
    java_preference,
    to_registry,
    xml_file,
)
from tests.extension.groovy_runs import groovys

NODE = ("io.github.qupath", "0.5")
PATH = '/home/Jürgen Müller/QuPath <0.5> & "mehr"'


def test_linux_as_java_itself_writes_it(tmp_path):
    found = groovys()
    if not found or sys.platform != "linux":
        pytest.skip("no Groovy is here, or this is not Linux")
    script = tmp_path / "write.groovy"
    script.write_text(
        "def node = java.util.prefs.Preferences.userRoot().node('io.github.qupath/0.5')\n"
        f"node.put('userPath', '{PATH}')\nnode.flush()\n",
        encoding="utf-8",
    )
    done = found[0].scripts(script, options=[f"-Djava.util.prefs.userRoot={tmp_path}"])
    assert done.returncode == 0, done.stderr
    assert from_xml(xml_file(tmp_path, NODE), "userPath") == PATH
    assert from_xml(xml_file(tmp_path, NODE), "other") is None


def test_macos(tmp_path):
    file = tmp_path / "com.apple.java.util.prefs.plist"
    file.write_bytes(
        plistlib.dumps(
            {"/": {"io.github.qupath/": {"0.5/": {"userPath": PATH}}}}, fmt=plistlib.FMT_BINARY
        )
    )
    assert from_property_list(file, NODE, "userPath") == PATH
    assert from_property_list(file, NODE, "other") is None
    assert from_property_list(file, ("io.github.qupath", "0.9"), "userPath") is None


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("userPath", "user/Path"),
        ("C:\\Users\\Jo\\QuPath", "/C:///Users///Jo///Qu/Path"),
        ("a/b", "a\\b"),
        ("Jürgen", "/J/u00fcrgen"),
    ],
)
def test_windows(text, stored):
    assert from_registry(stored) == text
    if "/" not in text and text.isascii():
        assert to_registry(text) == stored


def test_what_cannot_be_read_is_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "qupath_hccmil.qupath.extension.java_preferences.user_home", lambda: tmp_path
    )
    assert java_preference(NODE, "userPath") is None
    file = xml_file(tmp_path, NODE)
    file.parent.mkdir(parents=True)
    file.write_text("<map>", encoding="utf-8")
    assert java_preference(NODE, "userPath") is None
