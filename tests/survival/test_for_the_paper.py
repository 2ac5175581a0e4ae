"""What a paper needs: Table 1, NR, risk tables, the command, and documents of the report."""

import json

import numpy as np
import pandas as pd
import pytest

from qupath_hccmil.survival.figures.style import INK
from qupath_hccmil.survival.figures.survival_curves import kaplan_meier_figure
from qupath_hccmil.survival.output_folder import write_analysis
from qupath_hccmil.survival.report.build import build_report
from qupath_hccmil.survival.report.excel import render_excel
from qupath_hccmil.survival.report.number_format import time_span
from qupath_hccmil.survival.statistics.kaplan_meier import curves
from qupath_hccmil.survival.statistics.table_one import standardised_difference, table_one
from qupath_hccmil.survival.statistics.variables import Variable, VariableRequest
from tests.survival.conftest import made_cohort
from tests.survival.test_output import analysed


@pytest.fixture
def grouped() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "time": np.arange(1.0, 13), "event": [1, 0] * 6, "g": ["a"] * 6 + ["b"] * 6,
            "age": [50, 60, 70, 55, 65, np.nan, 60, 70, 80, 65, 75, 90],
            "stage": ["I", "I", "II", "III", "I", "II", "II", "III", "III", "III", "II", "I"],
            "sex": ["m", "f"] * 6,
        }
    )  # fmt: skip


def test_table_one_counts_events_and_measures_how_far_groups_are_apart(grouped):
    stage = Variable("stage", "categorical", ("I", "II", "III", "IV"))
    table = table_one(grouped, [Variable("age", "numeric"), stage], "g")
    inside = table[(table["level"] == "I") & (table["group"] == "All patients")].iloc[0]
    assert (inside["count"], inside["events"]) == (4, 2)
    gone = table[(table["level"] == "Missing") & (table["group"] == "a")].iloc[0]
    assert (gone["count"], gone["events"]) == (1, 0)
    a, b = grouped["age"][:5], grouped["age"][6:]
    apart = (b.mean() - a.mean()) / np.sqrt((a.var() + b.var()) / 2)
    assert table["standardised_difference"].iloc[0] == pytest.approx(apart)


def test_the_difference_of_two_categories_is_that_of_their_shares(grouped):
    grouped["sex"] = ["m"] * 4 + ["f"] * 2 + ["m"] + ["f"] * 5
    found = standardised_difference(grouped, Variable("sex", "categorical", ("f", "m")), "g")
    p, q = 4 / 6, 1 / 6
    assert found == pytest.approx((p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / 2))
    three = grouped.assign(g=["a", "b", "c"] * 4)
    pairs = [
        standardised_difference(three[three["g"] != out], Variable("age", "numeric"), "g")
        for out in "abc"
    ]
    assert standardised_difference(three, Variable("age", "numeric"), "g") == max(pairs)


def test_groups_without_spread_have_no_standardised_difference(grouped):
    grouped["sex"] = ["m"] * 6 + ["f"] * 6
    found = standardised_difference(grouped, Variable("sex", "categorical", ("f", "m")), "g")
    assert not np.isfinite(found)


def test_what_is_not_reached_is_nr():
    assert time_span(float("inf"), 3.2, float("inf")) == "NR (3.20 to NR)"
    assert time_span(2.0, 1.0, 3.0) == "2.00 (1.00 to 3.00)"


def test_a_report_has_nr_events_differences_and_variables_as_used(tmp_path):
    stage = VariableRequest("stage", label="Stage", merge={"II": "II+", "III": "II+"})
    frame = made_cohort(80)
    frame.loc[(frame["risk_score"] < 0.4457) & (frame.index > 8), "rfs_event"] = 0
    found = analysed(tmp_path / "in", frame, variables=(stage, VariableRequest("age")))
    tables = {table.key: table for table in build_report(found).tables()}
    assert any(row[3].startswith("NR (") for row in tables["medians"].rows)
    assert "NR: not reached." in tables["medians"].note
    assert tables["table_1"].header == (
        "", "All patients", "Events", "Low risk", "High risk", "Std. difference",
    )  # fmt: skip
    assert [row[0] for row in tables["table_1"].rows[:2]] == ["Patients", "Events"]
    assert tables["variables"].rows[0] == (
        "Stage", "stage", "categories; reference I", "I, II+", "II + III → II+", "—",
    )  # fmt: skip


def test_numbers_at_risk_have_names_and_are_in_ink():
    table = curves(
        pd.DataFrame({"time": [1.0, 2, 3, 4], "event": [1, 0, 1, 1], "g": ["low", "high"] * 2}), "g"
    )
    figure = kaplan_meier_figure(table, unit="years", endpoint="x")
    figure.draw_without_rendering()
    written = {text.get_text(): text for text in figure.axes[0].texts}
    assert {"At risk", "low", "high", "2"} <= written.keys()
    assert {written[name].get_color() for name in ("low", "high", "2")} == {INK}
    edge = figure.bbox.x0
    assert all(text.get_window_extent().x0 >= edge for text in written.values())


def test_the_command_is_in_the_report(tmp_path):
    from click.testing import CliRunner

    from qupath_hccmil.cli.survival import survival

    frame = made_cohort(60)
    scores, clinical, out = tmp_path / "s.csv", tmp_path / "my c.csv", tmp_path / "out"
    frame[["patient", "risk_score"]].to_csv(scores, index=False)
    frame.drop(columns="risk_score").to_csv(clinical, index=False)
    given = [
        str(scores), str(clinical), "--out", str(out), "--time", "rfs_days", "--event", "rfs_event",
        "--variable", "stage", "--variable", "age", "--horizon", "2.0", "--bootstrap", "0",
        "--quiet",
    ]  # fmt: skip
    CliRunner().invoke(survival, given, catch_exceptions=False)
    told = json.loads((out / "results.json").read_text(encoding="utf-8"))["provenance"]["Command"]
    assert told.startswith(f"survival {scores} '{clinical}' --out {out} --time rfs_days")
    assert "--variable stage --variable age" in told
    assert "--seed" not in told
    assert told.endswith("--quiet")


# -- documents -------------------------------------------------------------------------------------

NASTY = "=cmd()"


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """The documents of a small cohort with a level that a spreadsheet would run."""
    folder = tmp_path_factory.mktemp("paper")
    frame = made_cohort(70)
    frame["grade"] = np.where(frame.index % 2 == 0, NASTY, "G1\x01")
    found = analysed(
        folder / "in", frame, variables=(VariableRequest("grade"), VariableRequest("age"))
    )
    write_analysis(found, folder / "out", paper=True)
    return build_report(found), folder / "out"


def test_every_figure_is_also_a_png_of_300_dpi_and_a_pdf(paper):
    from PIL import Image

    report, folder = paper
    for image in report.images():
        with Image.open(folder / "figures" / f"{image.key}.png") as opened:
            assert opened.info["dpi"] == pytest.approx((300, 300), abs=1)
            assert opened.width == pytest.approx(300 * image.drawing.width, abs=2)
        pdf = (folder / "figures" / f"{image.key}.pdf").read_bytes()
        assert pdf.startswith(b"%PDF")
        assert b"/FontFile2" in pdf  # TrueType, embedded
        assert b"/Subtype /Type3" not in pdf
        assert (folder / "figures" / f"{image.key}.svg").is_file()


def test_the_excel_file_has_every_table_with_caption_and_note_and_no_formula(paper):
    from openpyxl import load_workbook

    report, folder = paper
    book = load_workbook(folder / "tables.xlsx")
    tables = report.tables()
    assert len(book.worksheets) == len(tables) + 1
    texts = []
    for sheet, table in zip(book.worksheets[1:], tables, strict=True):
        assert sheet["A1"].value == table.caption
        assert [cell.value or "" for cell in sheet[3]] == [*table.header]
        cells = [cell for row in sheet.iter_rows(min_row=4) for cell in row]
        assert {cell.data_type for cell in cells} <= {"s", "n", "inlineStr"}
        texts += [str(cell.value) for cell in cells]
        if table.note:
            assert sheet.cell(3 + len(table.rows) + 2, 1).value == table.note
    assert NASTY in texts
    medians = book["medians"]
    assert medians["B4"].value == len(pd.read_csv(folder / "analysis.csv"))
    assert book["Contents"]["A5"].hyperlink.location == "'flow'!A1"


def test_names_of_digits_stay_text_in_excel(tmp_path):
    from openpyxl import load_workbook

    frame = made_cohort(60)
    frame["patient"] = [f"{i:04d}" for i in frame.index]
    found = analysed(tmp_path / "in", frame, variables=(VariableRequest("age"),))
    (tmp_path / "tables.xlsx").write_bytes(render_excel(build_report(found)))
    sheet = load_workbook(tmp_path / "tables.xlsx")["influence"]
    rows = list(sheet.iter_rows(min_row=4, max_row=8, values_only=True))
    assert {row[0] for row in rows} <= set(frame["patient"])
    assert all(isinstance(row[1], float | int) for row in rows)


def test_the_word_document_has_every_table_and_figure_and_pages_of_sections(paper):
    from docx import Document
    from docx.oxml.ns import qn

    report, folder = paper
    document = Document(folder / "report.docx")
    assert len(document.tables) == len(report.tables())
    assert len(document.inline_shapes) == len(report.images())
    captions = [p.text for p in document.paragraphs if p.style.name == "Caption"]
    assert sum(text.startswith("Table ") for text in captions) == len(document.tables)
    for shown, table in zip(document.tables, report.tables(), strict=True):
        assert len(shown.rows) == len(table.rows) + any(table.header)
    body = document.element.body
    marks = {mark.get(qn("w:name")) for mark in body.iter(qn("w:bookmarkStart"))}
    asked = [t.text.split()[1] for t in body.iter(qn("w:instrText")) if "PAGEREF" in t.text]
    assert len(asked) > 30
    assert set(asked) <= marks
    assert document.settings.element.find(qn("w:updateFields")) is not None
    alts = {element.get("descr") for element in body.iter(qn("wp:docPr"))}
    assert all(alts)
    text = "\n".join(paragraph.text for paragraph in document.paragraphs)
    assert "For research use only" in text


def test_checklists_say_in_which_section(paper):
    report, folder = paper
    tables = {table.key: table for table in report.tables()}
    assert len(tables["remark"].rows) == 20
    number = {section.key: place for place, section in enumerate(report.sections, start=1)}
    flow = next(row for row in tables["remark"].rows if row[0] == "12")
    assert flow[-1] == f"Section {number['cohort']}"
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert f'<a href="#cohort">Section {number["cohort"]}</a>' in html
    assert all(key in number for row in tables["tripod_ai"].places for key, _ in row)


def test_without_paper_there_are_no_documents(tmp_path, paper):
    folder = paper[1]
    found = analysed(tmp_path / "in", made_cohort(60))
    write_analysis(found, tmp_path / "out")
    assert not [*(tmp_path / "out").rglob("*.docx"), *(tmp_path / "out").rglob("*.png")]
    # A run without documents removes those of an earlier run.
    write_analysis(found, folder)
    assert not [*folder.rglob("*.docx"), *folder.rglob("*.xlsx"), *folder.rglob("*.pdf")]
