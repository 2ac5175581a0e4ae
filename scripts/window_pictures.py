"""Take the pictures of QuPath's window that the docs show.

    python scripts/window_pictures.py PROJECT [--image NAME] [--qupath DIR] [--out docs/images]

PROJECT is a scored project, such as the one that `qupath-hccmil demo demo` makes. It is copied
first, so that the reviews of the pictures do not stay in it. The window runs on a screen of its own
(Xvfb), and the tools `import` and `convert` of ImageMagick take and shrink the pictures.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from qupath_hccmil.qupath.extension.installation import install  # noqa: E402
from tests.conftest import qupath_dirs  # noqa: E402
from tests.extension.viewing import close_windows, in_windows, press_key  # noqa: E402
from tests.extension.window import QuPathWindow, why_no_window  # noqa: E402

WIDTH = 1000
COLOURS = 56
EXTENSIONS = """
def title = qupath.lib.gui.localization.QuPathResources.getString('Menu.Extensions')
qupath.getMenu(title, false).show()
null
"""
# a submenu opens below the mouse only
SUBMENU = """
def title = qupath.lib.gui.localization.QuPathResources.getString('Menu.Extensions')
def node = qupath.getMenu(title + '>HCC-MIL', false).styleableNode
def at = node?.localToScreen(20, 10)
if (at != null) new javafx.scene.robot.Robot().mouseMove(at)
at != null
"""
HIDE_MENU = """
def title = qupath.lib.gui.localization.QuPathResources.getString('Menu.Extensions')
qupath.getMenu(title, false).hide()
null
"""
MARGIN = 1.15
WHOLE = f"""
def viewer = qupath.viewer
viewer.zoomToFit()
viewer.downsampleFactor = viewer.downsampleFactor * {MARGIN}
null
"""


class Pictures:
    """Takes pictures of one window."""

    def __init__(self, window: QuPathWindow, out: Path) -> None:
        self.window = window
        self.out = out

    def take(self, name: str) -> None:
        """Save what is on the screen, once everything is painted."""
        time.sleep(2.5)
        path = self.out / f"qupath-{name}.png"
        self.window.screenshot(path)
        shrink = ["-resize", str(WIDTH), "-dither", "None", "-colors", str(COLOURS)]
        subprocess.run(["convert", path, *shrink, "-strip", f"png8:{path}"], check=True)
        print(f"{path}: {path.stat().st_size // 1000} kB")

    def take_all(self) -> None:
        """Take the pictures in the order of the tutorial."""
        window = self.window
        window.ask(WHOLE)
        window.ask(EXTENSIONS)
        window.wait_for(SUBMENU)
        self.take("menu")
        window.ask(HIDE_MENU)
        window.click("Score this image…")
        window.wait_for_dialog("Score")
        self.take("score")
        window.press("Cancel")
        window.click("Risk map…")
        window.wait_for_dialog("map of tiles")
        window.ask(WHOLE)
        self.take("risk-map")
        window.click("Result…")
        window.wait_for_dialog("HCC-MIL: result")
        window.wait_for_dialog("the ones that were scored")
        window.ask("javafx.stage.Window.windows.find { it.title?.contains('map of') }.hide(); null")
        self.take("result")
        close_windows(window)
        window.click("Tiles of interest…")
        window.wait_for_dialog("tiles of interest")
        in_windows(window, "#hccmil-tiles-magnification", "node.value = 10d; null")
        press_key(window, "tiles of interest", "RIGHT", "RIGHT")
        self.take("tiles")
        window.click("Review…")
        window.wait_for_dialog("HCC-MIL: review")
        in_windows(window, "#hccmil-review-blinded", "node.fire(); null")
        in_windows(window, "#hccmil-review-magnification", "node.value = 10d; null")
        press_key(window, "review", "C", "DIGIT1", "DIGIT2", "DIGIT2", "DIGIT4")
        self.take("review")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    windows = [folder for folder in qupath_dirs() if why_no_window(folder) is None]
    parser.add_argument("project", type=Path, help="folder of a scored project")
    parser.add_argument("--image", help="name of the image; default: the first one")
    parser.add_argument("--qupath", type=Path, default=next(reversed(windows), None))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    if options.qupath is None or why_no_window(options.qupath):
        parser.error("no QuPath whose window can be opened here; name one with --qupath")
    with tempfile.TemporaryDirectory() as place:
        # next to the slides, whose relative paths the project may know
        project = Path(place) / "demo" / options.project.name
        shutil.copytree(options.project.parent, project.parent)
        home = Path(place) / "home"
        install(home / "QuPath" / "extensions")
        window = QuPathWindow(options.qupath, home, {"hccmil.reviewer": "Dr A"})
        try:
            window.wait_for("hccmil.Watch.instance != null")
            window.ask("qupath.stage.maximized = true; null")
            window.open(project / "project.qpproj", options.image)
            if options.image is None:
                window.later("qupath.openImageEntry(qupath.project.imageList.first())")
                window.wait_for("qupath.imageData != null")
            Pictures(window, options.out).take_all()
        finally:
            window.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
