"""Scoring from QuPath's menu: progress, cancel, what is shown, and what is never lost."""

import json
import shutil

import pytest

from qupath_hccmil.cli.main import run
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.extension import command
from qupath_hccmil.qupath.extension.project_scripts import install_scripts
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.project_differences import difference
from qupath_hccmil.qupath.staleness import recorded
from tests.cli.test_score import data_files

pytestmark = pytest.mark.qupath

# What a viewer shows, and where.
VIEW = "def v = qupath.viewer; [v.downsampleFactor, v.centerPixelX, v.centerPixelY]"
SLIDE_TILES = f"qupath.imageData.hierarchy.rootObject.measurementList.get('{names.SLIDE_TILES}')"

# What the run's window says of its progress, which may be there for some milliseconds only.
REMEMBER_PROGRESS = """
    import javafx.beans.value.ChangeListener
    def run = hccmil.ScoreRun.current
    if (run == null) return false
    def said = []
    System.properties.put('hccmil.tests.progress', said)
    run.now.textProperty().addListener({ label, before, now -> said << now } as ChangeListener)
    true
"""


def start_scoring(window, title, *, tiles=None):
    """Choose an entry of the menu and answer its dialog."""
    window.click(title)
    window.wait_for_dialog("Tumor (")
    if tiles is not None:
        window.ask(
            """
            import javafx.scene.control.TextField
            import javafx.stage.Window
            def roots = Window.windows*.scene*.root
            def field = roots.collectMany { it.lookupAll('.text-field') as List }
                .find { it instanceof TextField && it.promptText == 'all' }
            field.text = tiles
            null
            """,
            tiles=str(tiles),
        )
    window.press("Score")


def state_of(project, number=0):
    with NativeProject(project) as opened:
        return opened.read(opened.images[number])


@pytest.mark.oldest_and_newest
def test_an_image_is_scored_saved_first_and_shown_where_it_is(window, made_project, tmp_path):
    project = made_project("one", "two")
    window.open(project, "one")
    window.ask(
        "qupath.viewer.downsampleFactor = 3.5; qupath.viewer.setCenterPixelLocation(900, 800)"
    )
    before = window.ask(VIEW)
    # a change that nobody has saved yet
    window.ask(
        """
        import qupath.lib.objects.PathObjects
        import qupath.lib.objects.classes.PathClass
        import qupath.lib.regions.ImagePlane
        import qupath.lib.roi.ROIs
        def roi = ROIs.createRectangleROI(2600, 2100, 200, 200, ImagePlane.defaultPlane)
        def mine = PathObjects.createAnnotationObject(roi, PathClass.fromString('Necrosis'))
        qupath.imageData.hierarchy.addObject(mine)
        qupath.imageData.changed
        """
    )
    start_scoring(window, "Score this image…", tiles=4)
    window.wait_for_dialog("Save these images")
    window.press("OK")
    window.wait_for(REMEMBER_PROGRESS)
    said = window.wait_for_dialog("1 scored")["text"]
    assert "tiles/s" in window.ask("System.properties.get('hccmil.tests.progress').join('; ')")
    assert "one: risk 0." in said
    assert "surrogate" in said
    window.press("Close")
    # shown, in the image and in the list, where it was
    assert window.wait_for(f"{SLIDE_TILES} == 4")
    assert window.ask(VIEW) == before
    assert window.ask("qupath.imageData.changed") is False
    risk = window.wait_for("qupath.project.imageList[0].metadataMap['HCC-MIL risk score']")
    assert window.ask("qupath.project.imageList[1].metadataMap['HCC-MIL risk score']") is None
    state = state_of(project)
    assert state.entry.metadata[names.META_RISK] == risk
    assert sorted(each.class_name for each in state.annotations) == ["Necrosis", "Stroma", "Tumor"]
    classes = window.ask("qupath.availablePathClasses*.toString()")
    assert {names.CLASS_HIGH, names.CLASS_LOW} <= set(classes)
    for line in ("Score this image…", "Saved one", "--max-tiles 4", "one: risk 0.", "1 scored"):
        assert any("HCC-MIL - " in said and line in said for said in window.log().splitlines())

    # QuPath saves it: the scores stay, and what QuPath writes when it quits has them too
    saved = tmp_path / "as scored"
    shutil.copytree(project.parent, saved)
    window.ask(
        """
        qupath.project.getEntry(qupath.imageData).saveImageData(qupath.imageData)
        qupath.project.syncChanges()
        null
        """
    )
    theirs = difference(saved, project.parent)
    # QuPath's own copy of the list before
    assert [each for each in theirs if not each.startswith("file project.qpproj.backup")] == []
    assert state_of(project).results.root == state.results.root


@pytest.mark.oldest_and_newest
def test_scores_of_another_run_are_shown_and_never_saved_over(window, made_project):
    project = made_project("one", "two")
    window.open(project, "one")
    before = window.ask(VIEW)
    # QuPath itself says of both that they are changed: of one by its brightness, of the other by
    # the second viewer; no object is another
    window.ask(
        """
        qupath.viewerManager.setGridSize(1, 2)
        qupath.viewerManager.setActiveViewer(qupath.allViewers.find { it.imageData == null })
        qupath.openImageEntry(qupath.project.imageList[1])
        qupath.viewerManager.setActiveViewer(qupath.allViewers[0])
        qupath.imageData.setProperty('a setting of the display', 1)
        qupath.imageData.changed
        """
    )
    window.wait_for("hccmil.Watch.instance.agreed.size() >= 2")
    try:
        options = ["score", str(project), "--engine", "native", "--quiet"]
        assert run([*options, "--max-tiles", "3"]) == 0
        assert window.wait_for(f"{SLIDE_TILES} == 3")
        others = SLIDE_TILES.replace("qupath.imageData", "qupath.allViewers.last().imageData")
        assert window.wait_for(f"{others} == 3")
        assert window.ask(VIEW)[1:] == before[1:]
        assert window.ask("qupath.imageData.changed")
    finally:
        window.ask(
            """
            qupath.allViewers.last().setImageData(null)
            qupath.viewerManager.setGridSize(1, 1)
            null
            """
        )
    # and again, while there is an unsaved change
    window.ask(
        "qupath.imageData.hierarchy.annotationObjects[0].name = 'mine';"
        "qupath.imageData.setChanged(true)"
    )
    assert run([*options, "--image", "one", "--max-tiles", "2"]) == 0
    window.wait_for(
        """
        import javafx.stage.Window
        Window.windows.collect { it.scene.root }.collectMany { it.lookupAll('.label') as List }
            .any { it.text?.contains('Saving the changes would overwrite the scores') }
        """
    )
    assert window.ask(f"{SLIDE_TILES} == 3")
    # nor is it saved over them by scoring
    start_scoring(window, "Score this image…")
    said = window.wait_for_dialog("was written on the disk by another program")["text"]
    assert "Reload it first" in said
    window.press("OK")
    assert state_of(project).results.root[names.SLIDE_TILES] == 2


@pytest.mark.oldest_and_newest
def test_run_for_project_keeps_the_score_of_each_image(window, made_project):
    project = made_project("one", "two")
    options = ["--engine", "native", "--quiet", "--image", "one", "--max-tiles", "3"]
    assert run(["score", str(project), *options]) == 0
    first = state_of(project)
    # as on a computer where the command is elsewhere: the extension knows where
    text = first.results.step.script.replace('qupath-hccmil"]', 'gone"]')
    assert '/gone"]' in text
    window.open(project, "one")
    window.ask("qupath.scriptEditor.showScript('step', text); null", text=text)
    window.later(
        """
        def chosen = qupath.lib.gui.scripting.DefaultScriptEditor
            .getDeclaredMethod('handleRunProject', boolean)
        chosen.accessible = true
        chosen.invoke(qupath.scriptEditor, true)
        """
    )
    window.wait_for(
        """
        import javafx.stage.Window
        def list = Window.windows*.scene*.root
            .collectMany { it.lookupAll('.list-selection-view') as List }.find()
        if (list == null) return false
        list.targetItems.setAll(qupath.project.imageList)
        list.sourceItems.clear()
        true
        """
    )
    window.press("OK")
    asked = window.wait_for_dialog("Refresh open images")
    window.press(next(each for each in asked["buttons"] if each in {"Yes", "Ja"}))
    for number in (0, 1):
        state = state_of(project, number)
        assert state.results.root[names.SLIDE_TILES] == 3
        assert state.entry.metadata[names.META_TILES] == "3"
        assert len(state.annotations) == len(first.annotations)
    assert recorded(state_of(project)).time != recorded(first).time
    assert window.wait_for(f"{SLIDE_TILES} == 3")
    # the list that QuPath holds has them too
    window.ask("qupath.project.syncChanges(); null")
    assert state_of(project, 1).entry.metadata[names.META_TILES] == "3"
    window.ask("javafx.stage.Window.windows.findAll { it != qupath.stage }*.hide(); null")


def test_the_scripts_of_a_project_do_what_the_menu_does(window, made_project, program, monkeypatch):
    project = made_project("one")
    monkeypatch.setattr(command.sys, "argv", [str(program)])
    folder = install_scripts(project)
    window.open(project)
    window.ask(
        "qupath.runScript(new File(file), null); null", file=f"{folder}/Score this image.groovy"
    )
    window.wait_for_dialog("Open an image of the project first")
    window.press("OK")
    # in a QuPath without the extension the jar next to them is used
    window.ask(
        """
        def known = qupath.stage.getProperties().remove('hccmil.loader')
        try {
            qupath.runScript(new File(file), null)
            def used = qupath.stage.getProperties().get('hccmil.loader')
            assert used != null && used.URLs[0].path.contains('HCC-MIL')
        } finally {
            qupath.stage.getProperties().put('hccmil.loader', known)
        }
        null
        """,
        file=f"{folder}/Check the command.groovy",
    )
    assert str(program) in window.wait_for_dialog("risk model")["text"]
    window.press("OK")


def test_a_cancelled_run_leaves_the_project_as_it_was(window, made_project):
    project = made_project("one", "two")
    window.open(project, "one")
    # QuPath writes its list before the run
    window.ask("qupath.project.syncChanges(); null")
    before = data_files(project.parent)
    start_scoring(window, "Score whole project…")
    window.wait_for_dialog("Image 1 of 2")
    # one run at a time
    window.click("Score this image…")
    window.wait_for_dialog("A run is in progress")
    window.press("OK")
    window.press("Cancel")
    window.wait_for_dialog("Cancelled. Images that were already scored")
    window.press("Close")
    after = data_files(project.parent)
    assert before.keys() == after.keys()
    for path, content in before.items():
        if path.endswith(".backup"):
            continue
        if path.endswith(".qpproj"):
            first, second = json.loads(content), json.loads(after[path])
            assert first["images"] == second["images"]
        else:
            assert content == after[path], path


def test_what_the_command_refuses_is_shown_as_it_says_it(window, made_project):
    project = made_project("one")
    window.open(project, "one")
    window.ask(
        """
        def hierarchy = qupath.imageData.hierarchy
        hierarchy.annotationObjects.findAll { it.pathClass.name == 'Tumor' }
            .each { hierarchy.removeObject(it, false) }
        qupath.imageData.setChanged(true)
        null
        """
    )
    window.click("Score selected images…")
    window.wait_for_dialog("To be scored")
    window.ask(
        """
        import javafx.stage.Window
        def roots = Window.windows*.scene*.root
        def list = roots.collectMany { it.lookupAll('.list-selection-view') as List }[0]
        list.targetItems.setAll(qupath.project.imageList)
        list.sourceItems.clear()
        null
        """
    )
    window.press("OK")
    window.wait_for_dialog("Stroma (1)")
    window.press("Score")
    # nothing is ticked that is tumour
    window.wait_for_dialog("Tick at least one class")
    window.press("OK")
    window.ask(
        """
        import javafx.scene.control.CheckBox
        import javafx.stage.Window
        def roots = Window.windows*.scene*.root
        def boxes = roots.collectMany { it.lookupAll('.check-box') as List }
        boxes.find { it.text == 'Stroma (1)' }.selected = true
        null
        """
    )
    window.press("Score")
    window.wait_for_dialog("Save these images")
    window.press("OK")
    # it lies next to the tissue
    said = window.wait_for_dialog("1 failed")["text"]
    assert "one: not scored: " in said
    window.press("Close")
    # and a run as a whole
    window.click("Score this image…")
    window.wait_for_dialog("Stroma (1)")
    window.ask(
        """
        import javafx.scene.control.CheckBox
        import javafx.scene.control.TextField
        import javafx.stage.Window
        def nodes = Window.windows*.scene*.root.collectMany { it.lookupAll('*') as List }
        nodes.find { it instanceof CheckBox && it.text == 'Stroma (1)' }.selected = true
        nodes.find { it instanceof TextField && it.promptText == 'the model that ships' }.text =
            '/not there'
        null
        """
    )
    window.press("Score")
    said = window.wait_for_dialog("The command ended with exit code 1")["text"]
    assert "Error: /not there" in said
    window.press("Close")
    window.ask("hccmil.ScoreDialog.lastModel = ''; null")
