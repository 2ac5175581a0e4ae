"""The tables of a report as one Excel file: as in the report, with captions and notes."""

from __future__ import annotations

import io
import re

from openpyxl import Workbook
from openpyxl.cell import Cell
from openpyxl.styles import Alignment, Border, Font, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.hyperlink import Hyperlink
from openpyxl.worksheet.worksheet import Worksheet

from qupath_hccmil.survival.report.blocks import Report, Table
from qupath_hccmil.survival.report.printable import printable
from qupath_hccmil.survival.report.render import INDENT, is_heading

CONTENTS = "Contents"
LONGEST_NAME = 31  # of a sheet
MOST_CHARACTERS = 32_767  # of a cell
_NUMBER = re.compile(r"−?\d{1,3}(,\d{3})*(\.\d+)?|−?\d+(\.\d+)?")
_LINE = Side(style="thin")
_HAIR = Side(style="hair")
_WIDEST, _WIDEST_TEXT = 34, 60


def render_excel(report: Report) -> bytes:
    """Write every table of the report as a sheet, after a sheet of contents.

    Cells that are a plain number are numbers with the digits of the report; all others are text,
    also where a spreadsheet would take them for a formula. The first column is always text: it
    names what its row is about, and the patient "0012" is not the number 12.
    """
    book = Workbook()
    contents = book.worksheets[0]
    contents.title = CONTENTS
    _write(contents, 1, 1, report.title, bold=True)
    _write(contents, 2, 1, report.subtitle)
    _write(contents, 3, 1, report.footer[0])
    names: set[str] = {CONTENTS.lower()}
    for row, table in enumerate(report.tables(), start=5):
        sheet = book.create_sheet(_sheet_name(table.key, names))
        _sheet(sheet, table)
        link = _write(contents, row, 1, table.caption)
        link.hyperlink = Hyperlink(link.coordinate, location=f"'{sheet.title}'!A1")
        link.font = Font(color="2563A5", underline="single")
        _write(contents, row, 2, sheet.title)
    contents.column_dimensions["A"].width = 70
    contents.column_dimensions["B"].width = 34
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def _sheet_name(key: str, taken: set[str]) -> str:
    name, number = key[:LONGEST_NAME], 2
    while name.lower() in taken:
        end = f"_{number}"
        name, number = f"{key[: LONGEST_NAME - len(end)]}{end}", number + 1
    taken.add(name.lower())
    return name


def _sheet(sheet: Worksheet, table: Table) -> None:
    _write(sheet, 1, 1, table.caption, bold=True)
    top = 3
    for column, name in enumerate(table.header, start=1):
        cell = _write(sheet, top, column, name, bold=True)
        side = "left" if column == 1 or table.wide_text else "right"
        cell.alignment = Alignment(horizontal=side, wrap_text=True, vertical="bottom")
        cell.border = Border(top=_LINE, bottom=_LINE)
    for number, row in enumerate(table.rows, start=top + 1):
        for column, text in enumerate(row, start=1):
            _body_cell(sheet, number, column, text, table)
    last = top + len(table.rows)
    for column in range(1, len(table.header) + 1):
        sheet.cell(last, column).border = Border(bottom=_LINE)
    if table.note:
        note = _write(sheet, last + 2, 1, table.note)
        note.font, note.alignment = Font(italic=True), Alignment(wrap_text=True, vertical="top")
        sheet.merge_cells(
            start_row=last + 2, end_row=last + 2, start_column=1, end_column=len(table.header)
        )
    _widths(sheet, table)
    if table.note:
        # A merged cell does not grow with its text by itself.
        width = sum(each.width for each in sheet.column_dimensions.values())
        lines = -(-len(table.note) // max(int(width * 0.9), 1))
        sheet.row_dimensions[last + 2].height = 15 * lines
    sheet.freeze_panes = f"B{top + 1}"
    sheet.print_title_rows = f"{top}:{top}"
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    sheet.page_setup.orientation = "landscape" if len(table.header) > 5 else "portrait"


def _body_cell(sheet: Worksheet, row: int, column: int, text: str, table: Table) -> None:
    heading = is_heading(table.rows[row - 4])
    plain = text.removeprefix(INDENT)
    number = column > 1 and not table.wide_text
    cell = _write(sheet, row, column, plain, bold=heading, number=number)
    cell.border = Border(bottom=_HAIR)
    if table.wide_text:
        cell.alignment = Alignment(wrap_text=True, vertical="top")
    elif column == 1:
        cell.alignment = Alignment(indent=int(text.startswith(INDENT)))
    else:
        cell.alignment = Alignment(horizontal="right")


def _write(
    sheet: Worksheet,
    row: int,
    column: int,
    text: str,
    *,
    bold: bool = False,
    number: bool = False,
) -> Cell:
    cell = sheet.cell(row, column)
    assert isinstance(cell, Cell)
    if number and _NUMBER.fullmatch(text):
        digits = len(text.partition(".")[2])
        cell.value = float(text.replace("−", "-").replace(",", ""))
        cell.number_format = f"#,##0.{'0' * digits}" if digits else "#,##0"
    else:
        cell.value = printable(text)[:MOST_CHARACTERS]
        cell.data_type = "s"  # never a formula, whatever the text begins with
    if bold:
        cell.font = Font(bold=True)
    return cell


def _widths(sheet: Worksheet, table: Table) -> None:
    most = _WIDEST_TEXT if table.wide_text else _WIDEST
    for column, name in enumerate(table.header, start=1):
        texts = [name, *(row[column - 1] for row in table.rows if not is_heading(row))]
        longest = max(len(text) for text in texts)
        letter = get_column_letter(column)
        sheet.column_dimensions[letter].width = min(max(longest + 2, 9), most)
