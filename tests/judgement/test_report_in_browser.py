"""The page in a real Chromium: accessibility, dark mode, phone width, contents."""

import pytest

from qupath_hccmil.judgement.judge import judge
from qupath_hccmil.judgement.nested_cross_validation import NestedSettings
from qupath_hccmil.judgement.output_folder import write_judgement
from tests.browser import missing, open_browser
from tests.judgement.small_learner import small_cohort

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("report")
    learner, cohort = small_cohort(confounded="Bonn")
    settings = NestedSettings(inner=2, repeats=2, bootstrap=60, by_centre=True)
    found = judge(learner, cohort, folder, settings, told={"Head": "a small one"})
    return write_judgement(found, folder / "judgement").as_uri()


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture
def page(browser, request, report):
    """The report in a fresh browser; nothing may be asked of any network."""
    context = browser.new_context(
        **{"viewport": {"width": 1400, "height": 900}, **getattr(request, "param", {})}
    )
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report)
    yield page
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    context.close()


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"color_scheme": "dark"},
        {"viewport": PHONE},
        {"viewport": PHONE, "color_scheme": "dark"},
    ],
    indirect=True,
    ids=["light", "dark", "phone", "phone and dark"],
)
def test_axe_finds_nothing_and_only_tables_scroll_sideways(page):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    assert [
        (each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in found
    ] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_each_section_is_in_the_contents(page):
    links = page.evaluate('[...document.querySelectorAll("nav a")].map(a => a.hash.slice(1))')
    assert links == page.evaluate('[...document.querySelectorAll("main section")].map(s => s.id)')
    ids = page.evaluate('[...document.querySelectorAll("[id]")].map(e => e.id)')
    assert len(ids) == len(set(ids))
