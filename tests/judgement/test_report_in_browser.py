"""The page in a real Chromium: accessibility, dark mode, phone width, contents."""

import pytest

from qupath_hccmil.judgement.judge import judge
from qupath_hccmil.judgement.nested_cross_validation import NestedSettings
from qupath_hccmil.judgement.output_folder import write_judgement
from tests.browser import WAYS, axe_findings, missing, open_browser, open_page
from tests.judgement.small_learner import small_cohort

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")


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
    with open_page(browser, report, **getattr(request, "param", {})) as page:
        yield page


@pytest.mark.parametrize("page", WAYS.values(), indirect=True, ids=WAYS)
def test_axe_finds_nothing_and_only_tables_scroll_sideways(page):
    assert axe_findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_each_section_is_in_the_contents(page):
    links = page.evaluate('[...document.querySelectorAll("nav a")].map(a => a.hash.slice(1))')
    assert links == page.evaluate('[...document.querySelectorAll("main section")].map(s => s.id)')
    ids = page.evaluate('[...document.querySelectorAll("[id]")].map(e => e.id)')
    assert len(ids) == len(set(ids))
