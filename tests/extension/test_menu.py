"""The extension in QuPath's own window."""

import pytest

pytestmark = pytest.mark.qupath


def test_about(window):
    window.click("About HCC-MIL")
    window.wait_for_dialog("For research use only")
    window.press("OK")
