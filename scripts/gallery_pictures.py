"""Take the pictures of the gallery of tiles that the docs show.

    python scripts/gallery_pictures.py PROJECT [--out docs/images]

PROJECT is a scored project, such as the one that `qupath-hccmil demo demo` makes; it is only read.
The page is opened in Chromium, as the tests of the gallery do it.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import qupath_hccmil as hm  # noqa: E402
from tests.browser import missing, open_browser, open_page  # noqa: E402

QUALITY = 78  # a picture of the docs has at most 200 kB
PAGE = {"width": 1100, "height": 653}
REVIEW = {"width": 1000, "height": 594}
SHEET_WIDTH = 1100


def take(page: Any, path: Path) -> None:
    """Save what the page shows."""
    page.screenshot(path=path, type="jpeg", quality=QUALITY)
    print(f"{path}: {path.stat().st_size // 1000} kB")


def shrink(sheet: Path, path: Path) -> None:
    """Save a contact sheet as a small picture."""
    with Image.open(sheet) as opened:
        whole = opened.convert("RGB")
    height = round(whole.height * SHEET_WIDTH / whole.width)
    whole.resize((SHEET_WIDTH, height), Image.Resampling.LANCZOS).save(path, quality=QUALITY)
    print(f"{path}: {path.stat().st_size // 1000} kB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path, help="folder of a scored project")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    if missing():
        parser.error(missing())
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        hm.tile_gallery([options.project], place, engine="native")
        address = (Path(place) / "gallery.html").as_uri()
        shrink(Path(place) / "contact-sheet.png", options.out / "tiles-contact-sheet.jpg")
        with open_browser() as browser:
            with open_page(browser, address, viewport=PAGE) as page:
                take(page, options.out / "tiles-gallery.jpg")
            with open_page(browser, address, viewport=REVIEW) as page:
                page.fill("#reviewer", "Dr A")
                page.keyboard.press("Tab")
                page.click("#start")
                for key in ("a", "1", "2", "2"):
                    page.keyboard.press(key)
                take(page, options.out / "tiles-review.jpg")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
