"""The script that takes the gallery's pictures for the docs."""

import runpy
import sys

import pytest
from PIL import Image

from tests.browser import missing
from tests.conftest import ROOT
from tests.tiles_of_interest.scored_projects import Scored, make_project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing() or "there is one"),
]


def test_three_pictures_are_taken(tmp_path, monkeypatch):
    project = make_project(tmp_path / "cohort", [Scored("a.tif", [-1.0, -0.5, 0.5, 1.0])])
    out = tmp_path / "pictures"
    script = ROOT / "scripts" / "gallery_pictures.py"
    main = runpy.run_path(str(script))["main"]
    monkeypatch.setattr(sys, "argv", [str(script), str(project), "--out", str(out)])
    assert main() == 0
    sizes = {}
    for name in ("tiles-contact-sheet.jpg", "tiles-gallery.jpg", "tiles-review.jpg"):
        with Image.open(out / name) as picture:
            sizes[name] = picture.size
    assert sizes["tiles-gallery.jpg"] == (1100, 653)
    assert sizes["tiles-contact-sheet.jpg"][0] == 1100
