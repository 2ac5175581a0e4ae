"""The page on the architecture is about the code as it is."""

import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
# A path starts at one of these folders; other code in the text names commands or libraries.
TOP = ("qupath_hccmil/", "tests/", "scripts/", "docs/", "models/", "examples/")
NAMED = sorted({text for text in re.findall(r"`([^`\s]+)`", PAGE) if text.startswith(TOP)})


def test_the_page_names_paths():
    assert len(NAMED) > 60


@pytest.mark.parametrize("path", NAMED)
def test_every_path_that_the_page_names_exists(path):
    there = ROOT / path
    assert there.is_dir() if path.endswith("/") else there.is_file()


def test_every_package_is_on_the_page():
    package = ROOT / "qupath_hccmil"
    folders = {f"qupath_hccmil/{init.parent.name}/" for init in package.glob("*/__init__.py")}
    assert folders <= set(NAMED)


def test_every_folder_that_a_package_is_divided_into_is_on_the_page():
    inner = {init.parent.name for init in (ROOT / "qupath_hccmil").glob("*/*/__init__.py")}
    missing = {name for name in inner if f"`{name}/`" not in PAGE}
    assert not missing
