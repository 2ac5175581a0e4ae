"""How fast QuPath's window answers with many tiles: the actions of our menu, and panning.

    python scripts/proofs/window_speed.py [--qupath DIR] [--tiles N] [--json FILE]

Makes a project of one image with N scored tiles and opens it in a real QuPath window, on a screen
of its own (Xvfb). Each action is timed from the click to the frame after its result is shown:
in seconds of the clock, and in seconds that the window's thread worked, which other programs on the
machine hardly change. Panning is timed as QuPath paints it, frame by frame, over the same places:
with QuPath's outlines, with QuPath's own measurement map, and with our risk map, both maps as
opaque as ours is at first. The exit code is 1
if an action takes more than a second of the clock, or if a frame with our map takes more work than
one with QuPath's map.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import shapely

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from qupath_hccmil.qupath.create_project import (  # noqa: E402
    NewAnnotation,
    NewImage,
    create_project,
)
from qupath_hccmil.qupath.extension.installation import install  # noqa: E402
from tests.conftest import qupath_dirs  # noqa: E402
from tests.drawn_slides import texture, write_pyramid  # noqa: E402
from tests.extension.window import QuPathWindow, why_no_window  # noqa: E402
from tests.tiles_of_interest.scored_projects import score_image  # noqa: E402

SIDE, COLUMNS = 32, 160
NAME = "many tiles"
MOST_SECONDS = 1.0
FRAMES = 40

# Runs an action, and keeps the time until the frame after its result is there.
TIMED = """
def properties = qupath.stage.properties
properties.remove('hccmil.seconds')
def shown = {{ title -> javafx.stage.Window.windows.find {{
    it instanceof javafx.stage.Stage && it.showing && it.title == title }} }}
def node = {{ selector -> javafx.stage.Window.windows.findAll {{ it != qupath.stage }}
    .collect {{ it.scene.root.lookup(selector) }}.find {{ it }} }}
def map = hccmil.TileMap.of(qupath.viewer)
def last = map.overlay.current
def key = {{ title, code -> def scene = shown(title).scene
    javafx.event.Event.fireEvent(scene.focusOwner ?: scene.root, new javafx.scene.input.KeyEvent(
        javafx.scene.input.KeyEvent.KEY_PRESSED, '', '', code, false, false, false, false)) }}
def done = {{ {done} }}
def frames = 0
def cpu = {{ java.lang.management.ManagementFactory.threadMXBean.currentThreadCpuTime }}
def used = cpu()
def from = System.nanoTime()
{act}
new javafx.animation.AnimationTimer() {{
    void handle(long now) {{
        if (frames > 0 || done()) {{
            frames++
        }}
        if (frames == 2) {{
            stop()
            properties['hccmil.seconds'] =
                [(System.nanoTime() - from) / 1e9d, (cpu() - used) / 1e9d]
        }}
    }}
}}.start()
null
"""
MENU = """
def path = qupath.lib.gui.localization.QuPathResources.getString('Menu.Extensions')
qupath.getMenu(path + '>HCC-MIL', false).items.find {{ it.text == '{title}…' }}.fire()
"""
LEGEND = "qupath.viewer.view.lookup('#hccmil-legend') != null"
RESULT, TILES, REVIEW = (f"HCC-MIL: {name}" for name in ("result", "tiles of interest", "review"))
ACTIONS = {
    "Tile classes…": (MENU.format(title="Tile classes"), LEGEND),
    "Risk map…": (MENU.format(title="Risk map"), "map.kind == hccmil.MapKind.RISK"),
    "… another map": (
        "node('#hccmil-map-contribution').fire()",
        "map.kind == hccmil.MapKind.CONTRIBUTION",
    ),
    "… another opacity": ("node('#hccmil-map-opacity').value = 0.3d", "map.opacity == 0.3d"),
    "Result…": (MENU.format(title="Result"), f"shown('{RESULT}')"),
    "… a bar of the histogram": (
        """
        def chart = node('#hccmil-histogram')
        def at = chart.canvas.localToScene(chart.canvas.width * 0.5, 50)
        javafx.event.Event.fireEvent(chart.canvas, new javafx.scene.input.MouseEvent(
            javafx.scene.input.MouseEvent.MOUSE_CLICKED, at.x, at.y, 0, 0,
            javafx.scene.input.MouseButton.PRIMARY, 1, false, false, false, false, true, false,
            false, true, false, true, null))
        """,
        f"shown('{TILES}') && map.overlay.current",
    ),
    "Tiles of interest…": (
        MENU.format(title="Tiles of interest"),
        f"shown('{TILES}') && node('#hccmil-tiles').items.size() == map.scored().tiles.size()",
    ),
    "… next tile": (
        f"key('{TILES}', javafx.scene.input.KeyCode.RIGHT)",
        "map.overlay.current != last",
    ),
    "… random order": (
        "node('#hccmil-tiles-order').value = hccmil.TileOrder.RANDOM",
        "node('#hccmil-tiles').items.size() > 0",
    ),
    "Review…": (MENU.format(title="Review"), f"shown('{REVIEW}') && map.overlay.current"),
    "… blinded": ("node('#hccmil-review-blinded').fire()", "hccmil.Blindfold.worn != null"),
    "… a verdict, saved": (
        f"key('{REVIEW}', javafx.scene.input.KeyCode.A)",
        "node('#hccmil-verdict-A').selected",
    ),
    "… next tile, blinded": (
        f"key('{REVIEW}', javafx.scene.input.KeyCode.RIGHT)",
        "map.overlay.current != last",
    ),
}

# Milliseconds of work for each frame while the view moves over the same places.
PAN = """
def viewer = qupath.viewer
def width = viewer.imageData.server.width
def height = viewer.imageData.server.height
def cpu = { java.lang.management.ManagementFactory.threadMXBean.currentThreadCpuTime }
(1..frames).collect { at ->
    viewer.setCenterPixelLocation(width * (0.4d + 0.2d * at / frames), height * 0.5d)
    viewer.repaint()
    def from = cpu()
    viewer.paintCanvas()
    (cpu() - from) / 1e6d
}
"""
SHOW = {
    "QuPath's outlines": "",
    "QuPath's measurement map": """
        def tiles = qupath.imageData.hierarchy.getObjects(null, qupath.lib.objects.PathTileObject)
        def colours = qupath.lib.color.ColorMaps.colorMaps.values().first()
        def mapper = new qupath.lib.gui.tools.MeasurementMapper(
            colours, 'HCC-MIL: Tile risk', tiles)
        qupath.viewer.overlayOptions.measurementMapper = mapper
        qupath.viewer.overlayOptions.fillDetections = true
        // as our map has it at first
        qupath.viewer.overlayOptions.opacity = (float) hccmil.MapKind.RISK.opacity
    """,
    "our risk map": """
        qupath.viewer.overlayOptions.resetMeasurementMapper()
        qupath.viewer.overlayOptions.fillDetections = false
        qupath.viewer.overlayOptions.opacity = 1f
        hccmil.TileMap.of(qupath.viewer).show(hccmil.MapKind.RISK)
    """,
}


def make_project(folder: Path, tiles: int) -> Path:
    """A project of one image with scored tiles; its file."""
    rows = -(-tiles // COLUMNS)
    width, height = COLUMNS * SIDE, rows * SIDE
    piece = texture(SIDE * 20, SIDE * 20)
    times = (-(-height // len(piece)), -(-width // len(piece)), 1)
    slide = write_pyramid(
        folder / "slide.tif", np.tile(piece, times)[:height, :width], downsamples=(1, 4)
    )
    outline = NewAnnotation(shapely.box(0, 0, width, height), "Tumor", "Nodule")
    image = NewImage(slide, NAME, width, height, 2.0, annotations=[outline])
    project = create_project(folder / "project", [image])
    places = np.arange(tiles)
    corners = np.stack([places % COLUMNS, places // COLUMNS], axis=1) * float(SIDE)
    score_image(project.parent, NAME, np.c_[corners, np.full((tiles, 2), float(SIDE))])
    return project


def act(window: QuPathWindow, action: str, done: str) -> tuple[float, float]:
    """Seconds from a click to the frame after its result is shown: of the clock, and of work."""
    window.ask(TIMED.format(act=action, done=done))
    clock, work = window.wait_for("qupath.stage.properties['hccmil.seconds']")
    return clock, work


def pan(window: QuPathWindow, downsample: float | None) -> dict[str, float]:
    """Median milliseconds of work for a frame by kind of overlay; None shows the whole slide."""
    zoom = "zoomToFit()" if downsample is None else f"downsampleFactor = {downsample}"
    window.ask(f"qupath.viewer.{zoom}; null")
    found = {}
    for name, show in SHOW.items():
        window.ask(f"{show}\nnull")
        # QuPath paints its own overlays in the background and keeps them: so all is there
        for _ in range(3):
            window.ask(f"{PAN}; null", frames=FRAMES)
        found[name] = statistics.median(window.ask(PAN, frames=FRAMES))
    window.ask("hccmil.TileMap.of(qupath.viewer).show(hccmil.MapKind.NOTHING); null")
    return found


def measured(qupath: Path, tiles: int) -> dict[str, dict[str, float]]:
    """All numbers: seconds of each action (clock, work), milliseconds of each kind of frame."""
    with tempfile.TemporaryDirectory() as place:
        home = Path(place) / "home"
        project = make_project(Path(place), tiles)
        install(home / "QuPath" / "extensions")
        window = QuPathWindow(qupath, home, {"hccmil.reviewer": "Dr A"}, java_options=())
        try:
            window.wait_for("hccmil.Watch.instance != null")
            window.open(project, NAME)
            window.ask("qupath.stage.maximized = true; null")
            window.wait_for("qupath.viewer.view.width > 1000")
            frames = {
                "the whole slide": pan(window, None),
                "500 tiles in view": pan(window, 1.5),
            }
            seconds = {name: act(window, *how) for name, how in ACTIONS.items()}
        finally:
            window.close()
    return {
        "actions, s": {name: clock for name, (clock, _) in seconds.items()},
        "actions, s of work": {name: work for name, (_, work) in seconds.items()},
        **{f"a frame, ms of work: {name}": values for name, values in frames.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    windows = [folder for folder in qupath_dirs() if why_no_window(folder) is None]
    parser.add_argument("--qupath", type=Path, default=next(reversed(windows), None))
    parser.add_argument("--tiles", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.qupath is None or why_no_window(options.qupath):
        parser.error("no QuPath whose window can be opened here; name one by --qupath")
    found = measured(options.qupath, options.tiles)
    print(f"{options.qupath.name}, {options.tiles} tiles")
    for part, values in found.items():
        print(part)
        for name, value in values.items():
            print(f"  {name:28} {value:.2f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    actions, _, *frames = found.values()
    good = max(actions.values()) <= MOST_SECONDS
    return int(not good or any(f["our risk map"] > f["QuPath's measurement map"] for f in frames))


if __name__ == "__main__":
    raise SystemExit(main())
