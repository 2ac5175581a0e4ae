"""A real Chromium for tests of pages; where there is none, the reason."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
VARIABLE = "HCCMIL_TEST_CHROMIUM"
# no start page, no look for updates: the browser asks nothing of any network
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


PHONE = {"width": 360, "height": 740}
WAYS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": PHONE},
    "phone and dark": {"viewport": PHONE, "color_scheme": "dark"},
}
"""Ways to open a page, by name: arguments of :func:`open_page`."""


def chromium() -> str | None:
    """Path of a Chromium that is installed."""
    named = os.environ.get(VARIABLE)
    return named or next(filter(None, map(shutil.which, NAMES)), None)


def missing() -> str:
    """Why pages cannot be tested in a browser here; empty where it can."""
    for package in ("playwright", "axe_playwright_python"):
        if find_spec(package) is None:
            return f"{package} is not installed"
    if chromium() is None:
        return f"no Chromium: install one, or name it in {VARIABLE}"
    return ""


@contextmanager
def open_browser() -> Iterator:
    """Start Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(browser, address: str, **given) -> Iterator:
    """Open a page in a fresh browser; nothing may be asked of any network."""
    context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **given})
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    yield page
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    context.close()


def axe_findings(page) -> list[tuple[str, list[str]]]:
    """Rules of accessibility that a page breaks, with the beginning of some elements."""
    from axe_playwright_python.sync_playwright import Axe

    # What is beyond WCAG is listed apart and counts too: the page has no excuse.
    found = Axe().run(page).response["violations"]
    return [(each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in found]
