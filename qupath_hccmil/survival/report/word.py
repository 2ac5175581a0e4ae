"""The report as a Word document, whose tables, figures and checklists a paper can take over."""

from __future__ import annotations

import io
from collections.abc import Sequence

from docx import Document
from docx.document import Document as WordDocument
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Cm, Emu, Inches, Pt, RGBColor
from docx.table import Table as WordTable
from docx.table import _Cell
from docx.text.paragraph import Paragraph
from docx.text.run import Run

from qupath_hccmil.survival.report.blocks import Block, Image, Images, Report, Section, Table, Text
from qupath_hccmil.survival.report.printable import printable
from qupath_hccmil.survival.report.render import INDENT, is_heading, is_number

FONT = "Arial"
SMALL, TINY = Pt(9), Pt(8)
TEXT_WIDTH = Cm(17)
LONGEST = 40  # characters of a column that count for its width
MOST_WIDTH = {"small": Cm(8.4), "medium": Cm(12), "large": Cm(17)}


def render_word(report: Report) -> bytes:
    """Write the whole report, with figures of 300 dpi.

    Tables have a caption above and their note below, lines above and below only, and repeat their
    header on the next page. The checklists have the page of each section as a field, which Word
    fills in when it opens the document (it asks first).
    """
    document = Document()
    _set_up(document, report)
    document.add_heading(printable(report.title), level=0)
    document.add_paragraph(printable(report.subtitle))
    document.add_paragraph().add_run(report.footer[0]).bold = True
    for fact in report.facts:
        line = document.add_paragraph(style="List Bullet")
        line.add_run(f"{printable(fact.label)}: ")
        line.add_run(printable(fact.value)).bold = True
        if fact.detail:
            line.add_run(f" ({printable(fact.detail)})")
    if report.warnings:
        document.add_heading("What to know first", level=1)
        for warning in report.warnings:
            document.add_paragraph(printable(warning), style="List Bullet")
    counts = {"Table": 0, "Figure": 0}
    for number, section in enumerate(report.sections, start=1):
        _section(document, number, section, counts)
    document.add_paragraph(printable(report.footer[1]))
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def _set_up(document: WordDocument, report: Report) -> None:
    properties = document.core_properties
    properties.title = printable(report.title)[:255]
    properties.author, properties.comments = "qupath-hccmil", printable(report.footer[0])
    page = document.sections[0]
    page.page_width, page.page_height = Cm(21), Cm(29.7)
    page.left_margin = page.right_margin = Cm(2)
    page.top_margin = page.bottom_margin = Cm(2)
    normal = document.styles["Normal"]
    normal.font.name, normal.font.size = FONT, Pt(10)
    for name in ("Title", "Heading 1", "Caption"):
        style = document.styles[name]
        style.font.name, style.font.color.rgb = FONT, RGBColor(0x1F, 0x29, 0x33)
        fonts = style.element.get_or_add_rPr().get_or_add_rFonts()
        # The theme of the template would go before the name of the font.
        for attribute in ("asciiTheme", "hAnsiTheme", "eastAsiaTheme", "cstheme"):
            fonts.attrib.pop(qn(f"w:{attribute}"), None)
    document.styles["Caption"].font.size = SMALL
    footer = page.footer.paragraphs[0]
    footer.alignment = WD_ALIGN_PARAGRAPH.CENTER
    _field(footer.add_run(), "PAGE", "1")
    update = OxmlElement("w:updateFields")
    update.set(qn("w:val"), "true")
    document.settings.element.append(update)


def _section(document: WordDocument, number: int, section: Section, counts: dict[str, int]) -> None:
    heading = document.add_heading(printable(f"{number}. {section.title}"), level=1)
    _bookmark(heading, number, _mark(section.key))
    for block in section.blocks:
        _block(document, block, counts)


def _block(document: WordDocument, block: Block, counts: dict[str, int]) -> None:
    if isinstance(block, Text):
        paragraph = document.add_paragraph()
        run = paragraph.add_run(printable(block.text))
        run.bold, run.italic = block.kind == "warning", block.kind == "note"
    elif isinstance(block, Images):
        for image in block.images:
            counts["Figure"] += 1
            _image(document, image, block.size, counts["Figure"])
    else:
        counts["Table"] += 1
        _table(document, block, counts["Table"])


def _image(document: WordDocument, image: Image, size: str, number: int) -> None:
    paragraph = document.add_paragraph()
    paragraph.paragraph_format.keep_with_next = True
    width = min(Inches(image.drawing.width), MOST_WIDTH[size])
    shape = paragraph.add_run().add_picture(io.BytesIO(image.drawing.png()), width=width)
    described = shape._inline.docPr
    described.set("descr", printable(image.alt))
    described.set("name", printable(image.key))
    document.add_paragraph(f"Figure {number}. {printable(image.caption)}", style="Caption")


def _table(document: WordDocument, block: Table, number: int) -> None:
    caption = document.add_paragraph(f"Table {number}. {printable(block.caption)}", style="Caption")
    caption.paragraph_format.keep_with_next = True
    headed = any(block.header)
    table = document.add_table(rows=len(block.rows) + headed, cols=len(block.header))
    # Asking a table for its cells takes time that grows with its size; so once.
    grid = [list(row.cells) for row in table.rows]
    if headed:
        for column, name in enumerate(block.header):
            _fill(grid[0][column], name, right=is_number(block, column), bold=True)
        _repeat_on_each_page(table)
    for place, row in enumerate(block.rows):
        _row(grid[place + headed], row, block, block.places[place] if block.places else ())
    _lines(table, headed)
    _widths(table, block)
    if block.note:
        note = document.add_paragraph()
        note.add_run(printable(block.note)).font.size = TINY
    else:
        document.add_paragraph()


def _row(
    cells: list[_Cell],
    row: Sequence[str],
    block: Table,
    places: Sequence[tuple[str, str]],
) -> None:
    if is_heading(row):
        _fill(cells[0].merge(cells[-1]), row[0], bold=True)
        return
    for column, text in enumerate(row):
        if places and column == len(row) - 1:
            _fill(cells[column], "")
            _places(cells[column].paragraphs[0], places)
        else:
            _fill(cells[column], text, right=is_number(block, column))


def _places(paragraph: Paragraph, places: Sequence[tuple[str, str]]) -> None:
    """Write "Section 4, p. 7", with the page as a field."""
    for place, (key, name) in enumerate(places):
        told, field = (
            paragraph.add_run(f"{'; ' if place else ''}{name}, p.\u00a0"),
            paragraph.add_run(),
        )
        told.font.size = field.font.size = SMALL
        _field(field, f"PAGEREF {_mark(key)} \\h", "?")


def _fill(cell: _Cell, text: str, *, right: bool = False, bold: bool = False) -> None:
    paragraph = cell.paragraphs[0]
    form = paragraph.paragraph_format
    form.space_before = form.space_after = Pt(1)
    if text.startswith(INDENT):
        form.left_indent = Cm(0.4)
    if right:
        paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
    run = paragraph.add_run(printable(text.removeprefix(INDENT)))
    run.font.size, run.bold = SMALL, bold


def _widths(table: WordTable, block: Table) -> None:
    """Divide the width of the page by the longest text of each column."""
    sizes = []
    for column, name in enumerate(block.header):
        texts = [name, *(row[column] for row in block.rows if not is_heading(row))]
        sizes.append(min(max(len(text) for text in texts), LONGEST) + 5)
    widths = [int(TEXT_WIDTH * size / sum(sizes)) for size in sizes]
    table.autofit = False
    for column, width in enumerate(widths):
        table.columns[column].width = Emu(width)
    for row in table._tbl.tr_lst:
        # A merged cell is as wide as its columns.
        if len(row.tc_lst) == len(widths):
            for cell, width in zip(row.tc_lst, widths, strict=True):
                cell.width = Emu(width)


def _repeat_on_each_page(table: WordTable) -> None:
    properties = table.rows[0]._tr.get_or_add_trPr()
    header = OxmlElement("w:tblHeader")
    header.set(qn("w:val"), "true")
    properties.append(header)


def _lines(table: WordTable, headed: bool) -> None:
    """Draw lines above and below the table and below its header, and no others."""
    rows = table.rows
    _border(rows[0]._tr, "top")
    _border(rows[len(rows) - 1]._tr, "bottom")
    if headed:
        _border(rows[0]._tr, "bottom")
    for row in rows:
        whole = OxmlElement("w:cantSplit")
        row._tr.get_or_add_trPr().append(whole)


def _border(row: object, side: str) -> None:
    for cell in row.tc_lst:  # type: ignore[attr-defined]
        properties = cell.get_or_add_tcPr()
        borders = properties.find(qn("w:tcBorders"))
        if borders is None:
            borders = OxmlElement("w:tcBorders")
            properties.append(borders)
        line = OxmlElement(f"w:{side}")
        for name, value in (("val", "single"), ("sz", "6"), ("space", "0"), ("color", "1F2933")):
            line.set(qn(f"w:{name}"), value)
        borders.append(line)


def _mark(key: str) -> str:
    """Name of the bookmark of a section."""
    return f"section_{key}"


def _bookmark(paragraph: Paragraph, number: int, name: str) -> None:
    start, end = OxmlElement("w:bookmarkStart"), OxmlElement("w:bookmarkEnd")
    for element in (start, end):
        element.set(qn("w:id"), str(number))
    start.set(qn("w:name"), name)
    paragraph._p.insert(1 if paragraph._p.pPr is not None else 0, start)
    paragraph._p.append(end)


def _field(run: Run, instruction: str, shown: str) -> None:
    """Add a field with the text that is shown until Word computes it."""
    for kind, text in (("begin", ""), ("", instruction), ("separate", ""), ("text", shown),
                       ("end", "")):  # fmt: skip
        if kind == "text":
            part = OxmlElement("w:t")
            part.text = text
        elif kind:
            part = OxmlElement("w:fldChar")
            part.set(qn("w:fldCharType"), kind)
        else:
            part = OxmlElement("w:instrText")
            part.set(qn("xml:space"), "preserve")
            part.text = text
        run._r.append(part)
