"""What the documents promise without words: their links lead somewhere, their commands exist."""

import re
import shlex
from pathlib import Path

import click
import pytest

from qupath_hccmil.cli.main import cli
from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("examples/*/*.md")])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
LARGEST_PICTURE = 200_000  # bytes


def command_lines() -> list[str]:
    """Every line of ours that stands in a block of code."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    found = re.findall(r"^ *(qupath-hccmil [a-z].*)$", text, flags=re.MULTILINE)
    return sorted({line.rstrip("\\") for line in found})


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_between_files_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    linked = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    ours = [link for link in linked if link and "://" not in link]
    assert [link for link in ours if not (page.parent / link).exists()] == []


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page."""
    titles = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_to_headings_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    linked = [link.partition("#") for link in re.findall(r"\]\(([^)\s]*#[^)\s]+)\)", text)]
    ours = [(file, anchor) for file, _, anchor in linked if "://" not in file]
    wrong = [
        f"{file}#{anchor}"
        for file, anchor in ours
        if anchor not in anchors(page.parent / file if file else page)
    ]
    assert wrong == []


@pytest.mark.parametrize("line", command_lines())
def test_commands_and_options_exist(line):
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = cli
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"no command {name}"
        command = found
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word for word in words if word.startswith("--")} <= known


def test_pictures_are_small():
    pictures = [p for p in (ROOT / "docs").rglob("*") if p.suffix in {".jpg", ".png", ".svg"}]
    assert pictures
    assert [p.name for p in pictures if p.stat().st_size > LARGEST_PICTURE] == []


def test_the_page_of_commands_shows_no_internal_value():
    pytest.importorskip("mkdocs_click", reason="the docs extra is not installed")
    markdown = pytest.importorskip("markdown")
    text = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    page = markdown.markdown(text, extensions=["tables", "mkdocs-click"])
    assert "--max-tiles" in page
    assert "Sentinel" not in page
