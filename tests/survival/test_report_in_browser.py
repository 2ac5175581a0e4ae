"""The report in a real Chromium: accessibility, keyboard, dark mode, phone width, paper."""

from itertools import pairwise

import pytest

from qupath_hccmil.survival.output_folder import write_analysis
from qupath_hccmil.survival.statistics.variables import VariableRequest
from tests.browser import PHONE, WAYS, axe_findings, missing, open_browser, open_page
from tests.survival.conftest import made_cohort
from tests.survival.test_output import analysed

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("report")
    frame = made_cohort(120)
    frame.loc[(frame["rfs_event"] == 0) & (frame.index % 3 == 0), "rfs_event"] = 2
    frame.loc[4, "rfs_days"] = None
    found = analysed(
        folder / "in", frame, event_values=("1",), censored_values=("0",), imputations=2,
        competing_values=("2",), variables=(VariableRequest("stage"), VariableRequest("age")),
        title="A title that is long enough to need two lines on a narrow screen",
    )  # fmt: skip
    return write_analysis(found, folder / "out").as_uri()


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture
def page(browser, request, report):
    with open_page(browser, report, **getattr(request, "param", {})) as page:
        yield page


@pytest.mark.parametrize("page", WAYS.values(), indirect=True, ids=WAYS)
def test_axe_finds_nothing(page):
    assert axe_findings(page) == []


@pytest.mark.parametrize(
    "page",
    [{"viewport": {"width": width, "height": 800}} for width in (320, 360, 700, 1100, 1400)],
    indirect=True,
)
def test_only_tables_scroll_sideways(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cut = page.evaluate(
        """[...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, .skip") &&
           e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 90))"""
    )
    assert cut == []


def test_headings_descend_one_at_a_time_and_each_section_is_in_the_contents(page):
    levels = page.evaluate(
        '[...document.querySelectorAll("h1, h2, h3, h4")].map(h => +h.tagName[1])'
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert 3 in levels
    assert all(after - before <= 1 for before, after in pairwise(levels))
    links = page.evaluate('[...document.querySelectorAll("nav a")].map(a => a.hash.slice(1))')
    assert links == page.evaluate('[...document.querySelectorAll("main section")].map(s => s.id)')
    ids = page.evaluate('[...document.querySelectorAll("[id]")].map(e => e.id)')
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("page", [{"viewport": PHONE}], indirect=True)
def test_a_wide_table_is_scrolled_by_keyboard(page):
    wide = page.locator(".scroll").filter(has=page.locator("table:not(.text)"))
    sizes = wide.evaluate_all("all => all.map(e => e.scrollWidth - e.clientWidth)")
    place = max(range(len(sizes)), key=sizes.__getitem__)
    assert sizes[place] > 100
    named = wide.nth(place).get_attribute("aria-labelledby")
    assert page.locator(f"#{named}").inner_text()
    wide.nth(place).focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "id => document.activeElement.scrollLeft > 0 &&"
        " document.activeElement.getAttribute('aria-labelledby') === id",
        arg=named,
    )


def test_the_first_tab_leads_past_the_contents(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "report"


def test_rows_and_columns_are_named_for_screen_readers(page):
    bare = page.evaluate(
        """[...document.querySelectorAll("tbody tr")].filter(
           row => row.firstElementChild.tagName !== "TH").length"""
    )
    assert bare == 0
    group = page.locator('th[scope="rowgroup"]').first
    assert group.evaluate("th => th.parentElement === th.closest('tbody').rows[0]")


LIGHTNESS = """element => {
  const [r, g, b] = getComputedStyle(element).backgroundColor.match(/\\d+/g).map(Number);
  return (r + g + b) / 765;
}"""


@pytest.mark.parametrize("page", [{"color_scheme": "dark"}], indirect=True)
def test_dark_on_screen_and_white_on_paper(page):
    body, figure = page.locator("body"), page.locator(".images img").first
    assert body.evaluate(LIGHTNESS) < 0.2
    assert "invert" in figure.evaluate("e => getComputedStyle(e).filter")
    page.emulate_media(media="print", color_scheme="dark")
    assert body.evaluate(LIGHTNESS) == 1
    assert figure.evaluate("e => getComputedStyle(e).filter") == "none"
    assert not page.locator("nav").is_visible()
