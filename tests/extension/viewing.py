"""What tests of the viewer's windows share: a scored project, and Groovy that looks and clicks."""

import shlex
import sys
from pathlib import Path

import shapely
import tifffile

from qupath_hccmil.cli.main import run
from qupath_hccmil.demo.drawn import draw_slide
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.data_types import ImageState
from qupath_hccmil.qupath.native.native_project import NativeProject
from tests.conftest import ROOT
from tests.drawn_slides import write_pyramid
from tests.extension.window import QuPathWindow

SIZE = (3000, 2400)
SCORED, PLAIN = "scored", "plain"

# all that QuPath's overlay is set to, and what it must not lose
SETTINGS = """
def o = qupath.viewer.overlayOptions
def hidden = o.metaClass.respondsTo(o, 'selectedClassesProperty')
    ? o.selectedClassesProperty() : o.hiddenClassesProperty()
[opacity: o.opacity, fill: o.fillDetections, fillAnnotations: o.fillAnnotations,
 detections: o.showDetections, annotations: o.showAnnotations, names: o.showNames,
 mapper: o.measurementMapper?.toString(), hidden: hidden.collect { it?.toString() }.sort(),
 location: qupath.viewerManager.showLocationProperty().get(),
 panes: qupath.showAnalysisPaneProperty().get(),
 overlays: qupath.viewer.customOverlayLayers.size()]
"""
OBJECTS = """
def all = qupath.imageData.hierarchy.getFlattenedObjectList(null)
[changed: qupath.imageData.changed,
 selected: qupath.imageData.hierarchy.selectionModel.selectedObject?.getID()?.toString(),
 objects: all.collect { [it.getID().toString(), it.name, it.pathClass?.toString(),
     it.getROI()?.boundsX, it.locked, it.measurementList.measurementNames.size()] }]
"""


def make_scored(folder: Path) -> Path:
    """A project of a drawn slide: one image is scored, with background left out, one is not."""
    draw_slide(folder / "tissue.tif", width=SIZE[0], height=SIZE[1])
    pixels = tifffile.imread(folder / "tissue.tif")
    # glass without tissue, into which the first outline reaches
    pixels[:1024, :512] = 245
    slide = write_pyramid(folder / "slide.tif", pixels, downsamples=(1, 4))
    outlines = [
        NewAnnotation(shapely.box(0, 0, 1600, 1900), "Tumor", "Nodule one"),
        NewAnnotation(shapely.box(1024, 600, 2600, 1700), "Tumor", "Nodule two"),
        NewAnnotation(shapely.box(100, 2000, 400, 2300), "Stroma", "Beside"),
    ]
    images = [NewImage(slide, name, *SIZE, 0.25, annotations=outlines) for name in (SCORED, PLAIN)]
    create_project(folder / "project", images)
    score(folder / "project")
    return folder / "project"


def score(project: Path, *options: str) -> None:
    """Score the first image as a user does."""
    chosen = ("--image", SCORED, "--engine", "native", "--force", "--quiet")
    assert run(["score", str(project), *chosen, *options]) == 0


def state_of(project: Path) -> ImageState:
    with NativeProject(project) as opened:
        return opened.read(opened.images[0])


def program(folder: Path) -> Path:
    """The command as a program."""
    path = folder / "Programme für Ärzte" / "qupath-hccmil"
    path.parent.mkdir(exist_ok=True)
    words = shlex.join([sys.executable, "-m", "qupath_hccmil"])
    text = f'#!/bin/sh\nexport PYTHONPATH={shlex.quote(str(ROOT))}\nexec {words} "$@"\n'
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def press_key(window: QuPathWindow, title: str, *keys: str) -> None:
    """Press keys in one of the windows, found by its title."""
    for key in keys:
        window.ask(
            """
            import javafx.scene.input.*
            def stage = javafx.stage.Window.windows
                .find { it instanceof javafx.stage.Stage && it.title?.contains(name) }
            def event = new KeyEvent(KeyEvent.KEY_PRESSED, '', '', KeyCode.valueOf(key),
                false, false, false, false)
            javafx.event.Event.fireEvent(stage.scene.focusOwner ?: stage.scene.root, event)
            null
            """,
            name=title,
            key=key,
        )


def in_windows(window: QuPathWindow, selector: str, code: str, **values: object) -> object:
    """Do something with the node of a CSS selector in a window next to QuPath's own."""
    return window.ask(
        f"""
        def node = javafx.stage.Window.windows.findAll {{ it != qupath.stage }}
            .collect {{ it.scene.root.lookup(selector) }}.find {{ it }}
        if (node == null) throw new AssertionError('no ' + selector)
        {code}
        """,
        selector=selector,
        **values,
    )


def close_windows(window: QuPathWindow) -> None:
    """Close all windows but QuPath's own."""
    window.ask(
        """
        javafx.stage.Window.windows.findAll { it != qupath.stage }.collect().each { it.hide() }
        hccmil.TileMap.of(qupath.viewer).show(hccmil.MapKind.NOTHING)
        null
        """
    )


def text_of(window: QuPathWindow, title: str) -> str:
    """All text of a window."""
    return window.wait_for_dialog(title)["text"]
