"""The page on the architecture is about the code as it is."""

import re

import pytest

from tests.conftest import ROOT
from tests.test_rooms import EVERYBODYS, MAY_IMPORT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
# A path starts at one of these folders; other code in the text names commands or libraries.
TOP = ("qupath_hccmil/", "tests/", "scripts/", "docs/", "models/", "examples/", "extension/")
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


def test_every_module_next_to_the_packages_is_on_the_page():
    modules = {path.name for path in (ROOT / "qupath_hccmil").glob("*.py")}
    internal = {"__init__.py", "__main__.py"}
    assert {f"qupath_hccmil/{name}" for name in modules - internal} <= set(NAMED)


def test_the_picture_of_imports_is_true():
    picture = PAGE.split("```text\n", 1)[1].split("```", 1)[0]
    rooms = set(MAY_IMPORT) - {"__main__"}
    lines = [re.findall(r"\w+", line) for line in picture.splitlines()]
    shown = [(room, k) for k, line in enumerate(lines) for room in line if room in rooms]
    assert sorted(room for room, _ in shown) == sorted(rooms)
    height = dict(shown)
    others = [(room, other) for room in rooms for other in MAY_IMPORT[room]]
    others += [(room, other) for room in rooms - EVERYBODYS for other in EVERYBODYS]
    assert [pair for pair in others if height[pair[0]] >= height[pair[1]]] == []


def survival_functions() -> list[tuple[list[str], list[str]]]:
    """Modules and functions of each row in the table of docs/survival.md."""
    text = (ROOT / "docs" / "survival.md").read_text(encoding="utf-8")
    table = text.split("| module of `qupath_hccmil.survival` | functions |\n", 1)[1]
    rows = table.split("\n\n", 1)[0].splitlines()[1:]
    return [
        tuple(re.findall(r"`(\w[\w.]*)`", cell) for cell in row.split("|")[1:3]) for row in rows
    ]


@pytest.mark.parametrize(("modules", "functions"), survival_functions())
def test_the_functions_of_the_survival_page_are_where_it_says(modules, functions):
    folder = ROOT / "qupath_hccmil" / "survival"
    code = "".join((folder / f"{m.replace('.', '/')}.py").read_text("utf-8") for m in modules)
    assert [f for f in functions if f"\ndef {f}(" not in code] == []
