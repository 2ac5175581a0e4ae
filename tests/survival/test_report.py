"""The report: self-contained, escaped, complete, and whole in a real browser."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from qupath_hccmil.errors import DataError, WriteError
from qupath_hccmil.survival.analysis import analyse
from qupath_hccmil.survival.analysis_cohort import read_cohort
from qupath_hccmil.survival.analysis_settings import Settings
from qupath_hccmil.survival.figures.style import pretty_p
from qupath_hccmil.survival.output_folder import write_analysis
from qupath_hccmil.survival.report.number_format import moment, number, p_value, percent, with_span
from qupath_hccmil.survival.statistics.variables import VariableRequest
from tests.survival.conftest import made_cohort

NASTY = '<script>alert("1")</script> & $x^2$'
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A report of a cohort with names that would be code, competing events and tiles."""
    folder = tmp_path_factory.mktemp("report")
    frame = made_cohort(160)
    frame.loc[(frame["rfs_event"] == 0) & (frame.index % 4 == 0), "rfs_event"] = 2
    frame["grade"] = [NASTY if i % 3 else "=cmd()" for i in frame.index]
    frame.loc[0, "patient"] = "<img src=x onerror=alert(2)>"
    frame.loc[0, "rfs_days"] = None
    frame[["patient", "risk_score"]].to_csv(folder / "s.csv", index=False)
    frame.drop(columns="risk_score").to_csv(folder / "c.csv", index=False)
    tiles = pd.DataFrame({"group": ["high"] * 20 + ["low"] * 20, "stroma": [1] * 9 + [0] * 31})
    tiles.to_csv(folder / "t.csv", index=False)
    settings = Settings(
        time="rfs_days",
        event="rfs_event",
        event_values=("1",),
        censored_values=("0",),
        competing_values=("2",),
        endpoint="Recurrence <b>free</b>",
        time_zero="resection",
        title="A & B < C",
        bootstrap=5,
        imputations=2,
        tiles=str(folder / "t.csv"),
        variables=(
            VariableRequest("stage"),
            VariableRequest("age", label="Age <years>"),
            VariableRequest("grade"),
        ),
    )
    analysis = analyse(read_cohort(folder / "s.csv", folder / "c.csv", settings), settings)
    write_analysis(analysis, folder / "out")
    write_analysis(analysis, folder / "out" / "markdown", "md")
    return folder / "out"


def test_names_from_the_data_are_escaped(written):
    html = (written / "report.html").read_text()
    body = html[html.index("<body>") :]
    assert "<script" not in body
    assert "<img src=x" not in body
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt; &amp; $x^2$" in body
    assert "A &amp; B &lt; C" in body
    assert "Recurrence &lt;b&gt;free" in body


def test_report_loads_nothing(written):
    html = (written / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', html)
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_every_figure_is_a_vector_and_every_table_a_csv(written):
    html = (written / "report.html").read_text()
    figures = sorted(written.glob("figures/*.svg"))
    assert html.count("data:image/svg+xml;base64,") == len(figures) > 15
    for path in figures:
        root = ElementTree.parse(path).getroot()
        assert root.tag.endswith("svg")
        assert "<image" not in path.read_text()
        assert "<script" not in path.read_text()
    of_text_and_figures = {
        "numbers_in_text", "score_curve", "decision_curve", "decision_curve_competing",
        "calibration_groups", "calibration_groups_competing",
    }  # fmt: skip
    tables = {path.stem for path in written.glob("tables/*.csv")} - of_text_and_figures
    assert html.count('<figure class="table') == len(tables)
    assert tables >= {
        "flow", "left_out", "table_1", "missing", "survival_at_horizons",
        "survival_in_strata", "medians",
        "cox_univariable", "cox_multivariable_score", "cox_imputed", "proportional_hazards",
        "restricted_means", "auc", "auc_differences", "concordance", "calibration", "brier",
        "cumulative_incidence", "cause_specific", "tiles_of_interest", "tripod_ai", "settings",
        "provenance", "methods",
    }  # fmt: skip


def test_a_csv_defuses_formulas(written):
    text = (written / "tables" / "cox_univariable.csv").read_text()
    assert "'=cmd()" in text


def test_report_says_what_reviewers_ask(written):
    html = (written / "report.html").read_text()
    for text in (
        "For research use only", "TRIPOD+AI", "To be written by the authors", "SHA-256 of c.csv",
        "reverse Kaplan–Meier", "10-fold cross-fitting", "not a probability of survival",
        "Aalen–Johansen", "Rubin&#39;s rules",
    ):  # fmt: skip
        assert text in html, text


def test_figures_are_the_same_bytes_every_time(written):
    from qupath_hccmil.survival.figures.style import Drawing
    from qupath_hccmil.survival.figures.survival_curves import kaplan_meier_figure
    from qupath_hccmil.survival.statistics.kaplan_meier import curves

    table = curves(pd.DataFrame({"time": [1.0, 2, 3], "event": [1, 0, 1]}))
    twice = [Drawing(kaplan_meier_figure(table, unit="years", endpoint="x")) for _ in range(2)]
    assert twice[0].svg == twice[1].svg
    assert twice[0].pdf == twice[1].pdf
    assert twice[0].png() == twice[1].png()


def test_markdown_has_the_same_tables(written):
    text = (written / "markdown" / "report.md").read_text()
    assert "## 1. Patients and endpoint" in text
    assert "| Risk score, per SD |" in text
    assert "![" in text
    for name in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert (written / name).is_file()
    assert "<script>" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)


def test_report_folder_that_cannot_be_written_is_named(tmp_path):
    frame = made_cohort(60)
    frame[["patient", "risk_score"]].to_csv(tmp_path / "s.csv", index=False)
    frame.drop(columns="risk_score").to_csv(tmp_path / "c.csv", index=False)
    settings = replace(Settings(), time="rfs_days", event="rfs_event", bootstrap=0, variables=())
    found = analyse(read_cohort(tmp_path / "s.csv", tmp_path / "c.csv", settings), settings)
    (tmp_path / "out").write_text("a file")
    with pytest.raises(WriteError, match="cannot be written"):
        write_analysis(found, tmp_path / "out")
    with pytest.raises(DataError, match="not one of html, md"):
        write_analysis(found, tmp_path / "other", "pdf")


def test_numbers_are_written_as_journals_do():
    assert with_span(1.234, 0.9, float("inf")) == "1.23 (0.90 to ∞)"
    assert number(-0.001) == "0.00"
    assert number(-1.5) == "−1.50"
    assert percent(0.1234) == "12.3 %"
    assert [p_value(p) for p in (0.00001, 0.0005, 0.04567, 0.5)] == [
        "<\u00a00.0001", "0.0005", "0.046", "0.50"
    ]  # fmt: skip
    assert pretty_p(float("nan")) == "p not defined"
    assert (moment(1, "years"), moment(3, "years")) == ("1 year", "3 years")


# -- in a browser ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Run Chromium with a profile of its own; skip where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium: install the package chromium")
    profile = tmp_path_factory.mktemp("profile")

    def run(*arguments: str) -> str:
        command = [found, *FLAGS, f"--user-data-dir={profile}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


PROBE = """<script>addEventListener("load", () => {
const wide = [...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll") &&
  e.getBoundingClientRect().right > innerWidth + 1).length;
const broken = [...document.images].filter(i => !i.naturalWidth).length;
const all = document.images.length;
document.body.setAttribute("data-probe", `${innerWidth} ${wide} ${broken} ${all}`);
});</script></body>"""


@pytest.mark.parametrize("width", [1280, 500])
def test_nothing_is_cut_off_in_a_browser(written, browser, tmp_path, width):
    html = (written / "report.html").read_text()
    # The report forbids scripts; the probe is a copy without that.
    html = re.sub(r"<meta http-equiv[^>]*>", "", html).replace("</body>", PROBE)
    page = tmp_path / "probe.html"
    page.write_text(html)
    dom = browser(f"--window-size={width},900", "--dump-dom", page.as_uri())
    inner, wide, broken, images = map(int, re.search(r'data-probe="([\d ]+)"', dom)[1].split())
    assert inner <= width
    assert (wide, broken) == (0, 0)
    assert images > 15


def test_report_prints_to_a_pdf_of_whole_pages(written, browser, tmp_path):
    pdf = tmp_path / "report.pdf"
    browser("--no-pdf-header-footer", f"--print-to-pdf={pdf}", (written / "report.html").as_uri())
    assert pdf.read_bytes().startswith(b"%PDF")
    if not shutil.which("pdftotext"):
        pytest.skip("no pdftotext: install the package poppler-utils")
    text = subprocess.run(
        ["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True
    ).stdout
    pages = text.split("\f")[:-1]
    assert 8 < len(pages) < 40
    # A page may hold figures alone (their letters are outlines), but its captions are text.
    assert all(page.strip() for page in pages)
    for heading in ("1. Patients and endpoint", "TRIPOD+AI checklist", "Versions and hashes"):
        assert heading in text
