"""Render a report as one self-contained HTML file, or as Markdown."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from importlib.resources import files

import jinja2

from qupath_hccmil.survival.report.blocks import Image, Images, Report, Section, Table, Text

NUMBER = re.compile(r"^[−<∞—\d]")
INDENT = "\u2003"


def render_html(report: Report) -> str:
    """Render as HTML with embedded figures, no external resources and escaped text."""
    return _environment(autoescape=True).get_template("report.html.j2").render(report=report)


def render_markdown(report: Report) -> str:
    """Render as Markdown; figures are links into the folder ``figures``."""
    return _environment(autoescape=False).get_template("report.md.j2").render(report=report)


def _environment(*, autoescape: bool) -> jinja2.Environment:
    folder = files("qupath_hccmil.survival.report") / "templates"
    loader = jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8"))
    environment = jinja2.Environment(
        loader=loader,
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(kind=_kind, table_name=_table_name)
    environment.filters.update(
        data_uri=_data_uri,
        is_heading=is_heading,
        is_number=is_number,
        is_indented=_is_indented,
        cell=_cell,
    )
    return environment


def _kind(block: object) -> str:
    return {Text: "text", Table: "table", Images: "images"}[type(block)]


def _table_name(table: Table, section: Section) -> str:
    """ID of the heading that names a table: its own, or that of its section."""
    return f"{section.key}-title" if table.caption == section.title else f"table-{table.key}"


def _data_uri(image: Image) -> str:
    coded = base64.b64encode(image.drawing.svg.encode("utf-8")).decode("ascii")
    return f"data:image/svg+xml;base64,{coded}"


def is_heading(row: Sequence[str]) -> bool:
    """Whether a row of a table is a heading: its cells after the first are empty."""
    return len(row) > 1 and bool(row[0]) and not any(row[1:])


def is_number(table: Table, column: int) -> bool:
    """Whether a column has numbers, so that it is aligned to the right."""
    if table.wide_text or column == 0:
        return False
    cells = [row[column] for row in table.rows if row[column]]
    return bool(cells) and sum(bool(NUMBER.match(cell)) for cell in cells) * 2 > len(cells)


def _is_indented(cell: str) -> bool:
    return str(cell).startswith(INDENT)


def _cell(text: str) -> str:
    """Make a text safe inside a Markdown table."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", str(text).replace("\n", " "))
