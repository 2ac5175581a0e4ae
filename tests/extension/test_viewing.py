"""Maps, result, tiles of interest and review in QuPath's own window."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from qupath_hccmil.cli.main import run
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import ImageState
from qupath_hccmil.qupath.staleness import recorded
from tests.extension.viewing import (
    OBJECTS,
    PLAIN,
    SCORED,
    SETTINGS,
    close_windows,
    in_windows,
    make_scored,
    press_key,
    program,
    score,
    state_of,
    text_of,
)

pytestmark = pytest.mark.qupath

LEGEND = """
import javafx.scene.control.Labeled
qupath.viewer.view.lookup('#hccmil-legend')?.lookupAll('.label')?.collect { it.text }?.join('\\n')
"""
CURRENT = "hccmil.TileMap.of(qupath.viewer).overlay.current?.numbers()"
VIEW = "def v = qupath.viewer; [v.downsampleFactor, v.centerPixelX, v.centerPixelY]"


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    return make_scored(tmp_path_factory.mktemp("viewing"))


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "project"))


@pytest.fixture
def scored(window, project: Path):
    """The window with the scored image open, which closes all that a test opened."""
    file = project / "project.qpproj"
    window.open(file, SCORED)
    yield window
    close_windows(window)
    window.ask("qupath.viewer.imageData?.setChanged(false); hccmil.Settings.COMMAND.set(''); null")


def painted(window, place: str) -> list[int]:
    """Colour that the overlay gives white paper at the middle of a tile, chosen by Groovy."""
    return window.ask(
        f"""
        import java.awt.image.BufferedImage
        def image = hccmil.TileMap.of(qupath.viewer).scored()
        def tile = image.tiles.{place}
        def paper = new BufferedImage(20, 20, BufferedImage.TYPE_INT_RGB)
        def g = paper.createGraphics()
        g.color = java.awt.Color.WHITE
        g.fillRect(0, 0, 20, 20)
        g.translate(-tile.bounds.centreX + 10, -tile.bounds.centreY + 10)
        def region = qupath.lib.regions.ImageRegion.createInstance(0, 0, 3000, 2400, 0, 0)
        hccmil.TileMap.of(qupath.viewer).overlay.paintOverlay(g, region, 1d, qupath.imageData, true)
        def rgb = new java.awt.Color(paper.getRGB(10, 10))
        [rgb.red, rgb.green, rgb.blue]
        """
    )


def on_paper(colour: int, opacity: float) -> list[int]:
    parts = [(colour >> shift) & 0xFF for shift in (16, 8, 0)]
    return [round(255 + (part - 255) * opacity) for part in parts]


def test_the_map_comes_and_goes_and_leaves_all_else_as_it_was(scored):
    scored.ask(
        """
        qupath.viewer.overlayOptions.opacity = 0.8f
        qupath.viewer.overlayOptions.fillDetections = true
        def one = qupath.imageData.hierarchy.annotationObjects.find { it.name == 'Beside' }
        qupath.imageData.hierarchy.selectionModel.selectedObject = one
        null
        """
    )
    before, objects = scored.ask(SETTINGS), scored.ask(OBJECTS)
    scored.click("Risk map…")
    scored.wait_for_dialog("map of tiles")
    threshold = recorded(state_of_open(scored)).threshold
    assert f"{threshold:.4f}" in scored.ask(
        "hccmil.Ui.number(hccmil.TileMap.of(qupath.viewer).scored().threshold, 4)"
    )
    legend = scored.ask(LEGEND)
    assert "Tile map: risk" in legend
    assert "simulated outcomes" in legend
    during = scored.ask(SETTINGS)
    assert during["overlays"] == 1
    # QuPath's own lines of our tiles alone are away
    assert during["hidden"] == [names.CLASS_HIGH, names.CLASS_LOW]
    assert {**during, "overlays": 0, "hidden": []} == before
    assert "HCC-MIL - Map of tiles: Risk" in scored.log()
    scored.press("Hide and close")
    assert scored.wait_for(f"({LEGEND}) == null")
    assert scored.ask(SETTINGS) == before
    assert scored.ask(OBJECTS) == objects
    scored.ask(
        "qupath.viewer.overlayOptions.opacity = 1f;"
        " qupath.viewer.overlayOptions.fillDetections = false; null"
    )


def state_of_open(window):
    return state_of(Path(window.ask("qupath.project.path.parent.toString()")))


def test_classes_that_the_user_hid_stay_hidden(scored):
    hide = "qupath.viewer.overlayOptions.setPathClassHidden(qupath.lib.objects.classes.PathClass"
    scored.ask(f"{hide}.fromString('{names.CLASS_LOW}'), true); null")
    before = scored.ask(SETTINGS)
    scored.click("Tile classes…")
    scored.wait_for_dialog("map of tiles")
    scored.press("Hide and close")
    assert scored.wait_for(f"({LEGEND}) == null")
    assert scored.ask(SETTINGS) == before
    scored.ask(f"{hide}.fromString('{names.CLASS_LOW}'), false); null")


@pytest.mark.parametrize(
    ("kind", "says"), [("contribution", "raise the slide"), ("nuclei", "nuclei")]
)
def test_other_maps(scored, kind: str, says: str):
    scored.click("Risk map…")
    scored.wait_for_dialog("map of tiles")
    in_windows(scored, f"#hccmil-map-{kind}", "node.fire(); null")
    assert says in scored.ask(LEGEND)


def test_the_map_has_the_same_colours_on_every_slide(scored):
    scored.click("Risk map…")
    scored.wait_for_dialog("map of tiles")
    colour = scored.ask(
        """
        def image = hccmil.TileMap.of(qupath.viewer).scored()
        hccmil.RiskColours.diverging(image.tiles.first().risk, 0d, image.threshold, 1d)
        """
    )
    assert painted(scored, "first()") == pytest.approx(on_paper(int(colour), 0.55), abs=1)


def test_classes_of_tiles_are_filled_on_request(scored):
    scored.click("Tile classes…")
    scored.wait_for_dialog("map of tiles")
    teal = names.CLASS_COLOURS[names.CLASS_LOW]
    assert painted(scored, "find { !it.high }") == pytest.approx(on_paper(teal, 0.4), abs=1)
    legend = scored.ask(LEGEND)
    in_windows(scored, "#hccmil-map-fill", "node.fire(); null")
    assert painted(scored, "find { !it.high }") == [255, 255, 255]
    state = state_of_open(scored)
    tiles = sum(len(each) for each in state.results.tiles.values())
    high = scored.ask("hccmil.TileMap.of(qupath.viewer).scored().highTiles")
    assert f": {high}" in legend
    # tiles that two outlines share count once
    unique = scored.ask("hccmil.TileMap.of(qupath.viewer).scored().tiles.size()")
    assert unique == recorded(state).tiles
    assert unique < tiles
    in_windows(scored, "#hccmil-map-fill", "node.fire(); null")


def test_the_map_follows_the_viewer_to_another_image_and_back(scored, project):
    scored.click("Risk map…")
    scored.wait_for_dialog("map of tiles")
    scored.open(project / "project.qpproj", PLAIN)
    assert scored.wait_for(f"({LEGEND}) == null")
    scored.open(project / "project.qpproj", SCORED)
    assert "Tile map: risk" in scored.wait_for(LEGEND)


def test_for_an_image_without_scores_each_entry_says_what_to_do(window, project):
    window.open(project / "project.qpproj", PLAIN)
    for entry in ("Tile classes…", "Risk map…", "Result…", "Tiles of interest…", "Review…"):
        window.click(entry)
        said = window.wait_for_dialog(f"{PLAIN} has no scores yet")["text"]
        assert "Score this image" in said
        window.press("OK")
        window.wait_for("javafx.stage.Window.windows.size() == 1")


def test_the_result_says_all_that_it_rests_on(scored, project, tmp_path):
    scored.ask("hccmil.Settings.COMMAND.set(path); null", path=str(program(tmp_path)))
    record = recorded(state_of(project))
    scored.click("Result…")
    scored.wait_for_dialog("Yes: the saved outlines are the ones that were scored.")
    text = text_of(scored, "HCC-MIL: result")
    for part in (
        "TRAINED ON SIMULATED OUTCOMES",
        f"{record.risk:.4f}",
        f"{record.group.upper()} RISK",
        f"threshold {record.threshold:.4f}",
        f"{record.tiles} tiles",
        "Nodule one",
        "0.25 µm per px, from QuPath's calibration",
        f"{record.model} (surrogate)",
        f"{record.background} tiles with almost no tissue",
        f"by version {record.version}",
        "For research use only",
    ):
        assert part in text
    assert record.background > 0


def test_an_edited_outline_makes_the_result_stale(scored, project, tmp_path):
    scored.ask("hccmil.Settings.COMMAND.set(path); null", path=str(program(tmp_path)))
    scored.ask(
        """
        import qupath.lib.roi.ROIs
        def data = qupath.imageData
        def one = data.hierarchy.annotationObjects.find { it.name == 'Nodule two' }
        one.ROI = ROIs.createRectangleROI(1540, 600, 900, 900, one.ROI.imagePlane)
        data.hierarchy.fireHierarchyChangedEvent(this)
        data.changed = true
        null
        """
    )
    scored.click("Result…")
    scored.wait_for_dialog("this image has unsaved changes")
    close_windows(scored)
    scored.ask("qupath.project.getEntry(qupath.imageData).saveImageData(qupath.imageData); null")
    scored.click("Result…")
    said = scored.wait_for_dialog("Score the image again")["text"]
    assert "NO: outlines were changed since (edited: Nodule two)" in said


def test_without_the_command_the_result_says_what_to_do(scored, tmp_path):
    scored.ask("hccmil.Settings.COMMAND.set(path); null", path=str(tmp_path / "gone"))
    scored.click("Result…")
    assert "Preferences" in scored.wait_for_dialog("Not known: ")["text"]


def click_highest_bar(window) -> list[float]:
    """Click the highest bar of the result's histogram; its two edges and its number of tiles."""
    window.click("Result…")
    window.wait_for_dialog("HCC-MIL: result")
    return in_windows(
        window,
        "#hccmil-histogram",
        """
        def h = node.histogram
        int bin = h.counts.findIndexOf { it == h.counts.max() }
        def x = 4 + (node.canvas.width - 8) * (h.edges[bin] + h.edges[bin + 1]) / 2
        def at = node.canvas.localToScene(x, 50)
        def e = new javafx.scene.input.MouseEvent(javafx.scene.input.MouseEvent.MOUSE_CLICKED,
            at.x, at.y, 0, 0, javafx.scene.input.MouseButton.PRIMARY, 1, false, false, false, false,
            true, false, false, true, false, true, null)
        javafx.event.Event.fireEvent(node.canvas, e)
        [h.edges[bin], h.edges[bin + 1], h.counts[bin]]
        """,
    )


def test_a_bar_of_the_histogram_leads_to_its_tiles(scored):
    lowest, highest, count = click_highest_bar(scored)
    scored.wait_for_dialog("tiles of interest")
    risks = in_windows(scored, "#hccmil-tiles", "node.items.collect { it.risk }")
    assert len(risks) == count
    assert all(lowest <= risk <= highest for risk in risks)
    assert scored.ask(CURRENT)


def test_tiles_of_a_bar_go_with_their_image(scored, project):
    click_highest_bar(scored)
    scored.wait_for_dialog("tiles of interest")
    scored.open(project / "project.qpproj", PLAIN)
    scored.wait_for_dialog(f"{PLAIN} has no scores yet")
    assert in_windows(scored, "#hccmil-tiles", "node.items.size()") == 0


def test_places_that_were_left_out_are_shown(scored, project):
    record = recorded(state_of(project))
    scored.click("Result…")
    scored.wait_for_dialog("HCC-MIL: result")
    in_windows(scored, "#hccmil-left-out", "node.fire(); null")
    left = record.background + record.blurred
    said = scored.wait_for_dialog("crossed out in the image")["text"]
    assert f"{left} place" in said
    assert "changed since" not in said
    places = scored.ask("hccmil.TileMap.of(qupath.viewer).overlay.leftOut.collect { it.numbers() }")
    assert len(places) == left
    tiles = scored.ask("hccmil.TileMap.of(qupath.viewer).scored().tiles*.bounds*.numbers()")
    assert not [each for each in places if each in tiles]
    in_windows(scored, "#hccmil-left-out", "node.fire(); null")
    assert scored.ask("hccmil.TileMap.of(qupath.viewer).overlay.leftOut") == []


def test_tiles_of_interest_are_walked_by_key_centred_and_not_selected(scored):
    objects = scored.ask(OBJECTS)
    scored.click("Tiles of interest…")
    scored.wait_for_dialog("tiles of interest")
    order = in_windows(
        scored, "#hccmil-tiles", "node.items.collect { [it.contribution] + it.bounds.numbers() }"
    )
    assert order == sorted(order, reverse=True)
    in_windows(scored, "#hccmil-tiles-magnification", "node.value = 20d; null")
    press_key(scored, "tiles of interest", "RIGHT", "RIGHT", "RIGHT", "LEFT")
    assert scored.ask(CURRENT) == order[1][1:]
    x, y, width, height = order[1][1:]
    # 20× is 0.5 µm/px: two px of a slide of 0.25 µm/px
    assert scored.ask(VIEW) == pytest.approx([2, x + width / 2, y + height / 2])
    assert "Tile 2 of" in text_of(scored, "tiles of interest")
    # an outline, and the tile itself as it is
    assert painted(scored, f"find {{ it.bounds.numbers() == {order[1][1:]} }}") == [255] * 3
    assert scored.wait_for(
        "javafx.stage.Window.windows.find { it.title?.contains('interest') }"
        ".scene.root.lookupAll('.image-view').any { it.image != null }"
    )
    close_windows(scored)
    assert scored.ask(CURRENT) is None
    assert scored.ask(OBJECTS) == objects


def name_reviewer(window, name: str) -> None:
    code = "node.text = name; node.fireEvent(new javafx.event.ActionEvent()); null"
    in_windows(window, "#hccmil-reviewer", code, name=name)


def reviews_of(project: Path, reviewer: str) -> list[dict]:
    file = project / "hccmil-reviews" / f"{reviewer}.json"
    return json.loads(file.read_text(encoding="utf-8"))["reviews"] if file.exists() else []


def review(window, name: str) -> None:
    window.click("Review…")
    window.wait_for_dialog("HCC-MIL: review")
    name_reviewer(window, name)


def test_each_click_of_a_review_is_saved_and_nothing_goes_into_the_image(scored, project):
    data = (project / "data" / "1" / "data.qpdata").read_bytes()
    objects = scored.ask(OBJECTS)
    review(scored, "Dr Ä/1")
    first = scored.ask(CURRENT)
    press_key(scored, "review", "D")
    assert [each["verdict"] for each in reviews_of(project, "Dr Ä_1")] == ["disagree"]
    press_key(scored, "review", "DIGIT1", "DIGIT2", "DIGIT2", "RIGHT", "X")
    one, two = reviews_of(project, "Dr Ä_1")
    assert one["features"] == {"Stroma": True, "High cytological atypia": False}
    assert one["tile"] == first
    assert (one["image_id"], one["image"], one["blinded"]) == ("1", SCORED, False)
    assert one["model"] == recorded(state_of(project)).weights_sha256
    assert two["verdict"] == "artefact"
    # the same key takes it back
    press_key(scored, "review", "X")
    assert len(reviews_of(project, "Dr Ä_1")) == 1
    press_key(scored, "review", "LEFT")
    assert in_windows(scored, "#hccmil-verdict-D", "node.selected") is True
    # keys work in the image too
    press_key(scored, "QuPath", "A")
    assert reviews_of(project, "Dr Ä_1")[0]["verdict"] == "agree"
    assert "1 of" in text_of(scored, "review")
    # another reviewer sees nothing of it
    name_reviewer(scored, "B")
    assert in_windows(scored, "#hccmil-verdict-A", "node.selected") is False
    # whose name is known next time, so that the first key is not a letter of the name
    close_windows(scored)
    scored.click("Review…")
    scored.wait_for_dialog("HCC-MIL: review")
    press_key(scored, "review", "X")
    assert [each["verdict"] for each in reviews_of(project, "B")] == ["artefact"]
    assert scored.ask(OBJECTS) == objects
    assert (project / "data" / "1" / "data.qpdata").read_bytes() == data
    assert "HCC-MIL - Review of tile" in scored.log()


def test_a_blinded_review_hides_what_the_model_says_and_brings_it_back(scored, project):
    scored.click("Risk map…")
    scored.wait_for_dialog("map of tiles")
    before = scored.ask(SETTINGS)
    review(scored, "Blind")
    in_windows(scored, "#hccmil-review-blinded", "node.fire(); null")
    during = scored.ask(SETTINGS)
    assert (during["location"], during["panes"]) == (False, False)
    assert during["hidden"] == [names.CLASS_HIGH, names.CLASS_LOW]
    assert scored.ask(LEGEND) is None
    text = text_of(scored, "review")
    assert "The values of the model are hidden." in text
    assert "risk 0." not in text
    press_key(scored, "review", "A", "DIGIT4")
    [kept] = reviews_of(project, "Blind")
    assert (kept["verdict"], kept["blinded"]) == ("agree", True)
    first = scored.ask(CURRENT)
    random = "hccmil.TileOrder.RANDOM.sorted(hccmil.TileMap.of(qupath.viewer).scored().tiles, '1')"
    assert first == scored.ask(f"{random}.first().bounds.numbers()")
    in_windows(scored, "#hccmil-review-open", "node.fire(); null")
    assert scored.ask(SETTINGS) == before
    assert "Tile map: risk" in scored.ask(LEGEND)
    in_windows(scored, "#hccmil-review-blinded", "node.fire(); null")
    scored.ask("javafx.stage.Window.windows.find { it.title?.contains('review') }.hide(); null")
    assert scored.ask(SETTINGS) == before


def test_a_blinded_review_closes_and_refuses_the_windows_that_would_unblind(scored):
    scored.click("Result…")
    scored.wait_for_dialog("HCC-MIL: result")
    scored.click("Tiles of interest…")
    scored.wait_for_dialog("tiles of interest")
    review(scored, "Blind")
    # the viewer has one current tile: the review takes over from the tiles
    titles = {each["title"] for each in scored.dialogs()}
    assert titles == {"HCC-MIL: result", "HCC-MIL: review"}
    in_windows(scored, "#hccmil-review-blinded", "node.fire(); null")
    assert {each["title"] for each in scored.dialogs()} == {"HCC-MIL: review"}
    current = scored.ask(CURRENT)
    assert current is not None
    for entry in ("Tile classes…", "Risk map…", "Result…", "Tiles of interest…"):
        scored.click(entry)
        scored.wait_for_dialog("A blinded review is going on")
        scored.press("OK")
        scored.wait_for("javafx.stage.Window.windows.size() == 2")
    assert scored.ask(LEGEND) is None
    assert scored.ask(CURRENT) == current


def test_reviews_of_the_window_become_tables(scored, project, tmp_path):
    review(scored, "Dr Ä/1")
    judged = []
    for keys, verdict, present, absent in (
        (["A", "DIGIT1"], "agree", "Stroma", ""),
        (["X"], "artefact", "", ""),
        (
            ["DIGIT4", "DIGIT0", "C"],
            "cannot say",
            "Immune cell infiltration",
            "Stroma; High cytological atypia; Nuclear hyperchromasia",
        ),
    ):
        judged.append([*scored.ask(CURRENT)[:2], verdict, present, absent])
        press_key(scored, "review", *keys, "RIGHT")
    in_windows(scored, "#hccmil-review-blinded", "node.fire(); null")
    press_key(scored, "review", "END")
    judged.append([*scored.ask(CURRENT)[:2], "disagree", "", ""])
    press_key(scored, "review", "D")
    command = ["tiles", str(project), "--reviews", "--out", str(tmp_path / "tables")]
    assert run([*command, "--engine", "native", "--bootstrap", "20", "--top", "30"]) == 0
    with (tmp_path / "tables" / "reviews.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [
        [float(row["x_px"]), float(row["y_px"]), row["verdict"], row["features"],
         row["features_absent"]]
        for row in rows
    ]  # fmt: skip
    assert sorted(found) == sorted(judged)
    assert {row["reviewer"] for row in rows} == {"Dr Ä/1"}
    assert {row["other_model"] for row in rows} == {"false"}
    assert [row["blinded"] for row in rows if row["verdict"] == "disagree"] == ["true"]
    # each row finds its tile among the scores
    assert all(row["tile_risk"] and row["chosen_as"] for row in rows)


def test_nothing_of_the_user_changes_from_looking_to_saving_in_qupath(scored, project):
    before = state_of(project)
    for entry, window in (
        ("Tile classes…", "map of tiles"),
        ("Result…", "HCC-MIL: result"),
        ("Tiles of interest…", "tiles of interest"),
    ):
        scored.click(entry)
        scored.wait_for_dialog(window)
    in_windows(scored, "#hccmil-left-out", "node.fire(); null")
    scored.wait_for_dialog("crossed out in the image")
    for kind in ("contribution", "nuclei", "risk"):
        in_windows(scored, f"#hccmil-map-{kind}", "node.fire(); null")
    press_key(scored, "tiles of interest", "RIGHT", "RIGHT")
    review(scored, "S")
    press_key(scored, "review", "A", "DIGIT1")
    scored.ask("qupath.project.getEntry(qupath.imageData).saveImageData(qupath.imageData); null")
    after = state_of(project)
    assert after.annotations == before.annotations
    assert recorded(after) == recorded(before)
    assert tiles_of(after) == tiles_of(before)


def tiles_of(state: ImageState) -> list[tuple]:
    """Bounds, class and values of all tiles."""
    found = []
    for outline, tiles in sorted(state.results.tiles.items()):
        values = np.stack([tiles.measurements[name] for name in sorted(tiles.measurements)], axis=1)
        rows = zip(tiles.bounds.tolist(), tiles.class_names, values.tolist(), strict=True)
        found += [(outline, *bounds, name, *numbers) for bounds, name, numbers in rows]
    return sorted(found)


def test_features_and_keys_come_from_the_project(scored, project):
    folder = project / "hccmil-reviews"
    folder.mkdir()
    toml = folder / "features.toml"
    toml.write_text('[[feature]]\nname = "Steatosis"\nkey = "s"\n', encoding="utf-8")
    review(scored, "F")
    press_key(scored, "review", "S")
    assert reviews_of(project, "F")[0]["features"] == {"Steatosis": True}
    close_windows(scored)
    toml.write_text("[[feature]]\nname = Steatosis\n", encoding="utf-8")
    scored.click("Review…")
    assert "line 2" in scored.wait_for_dialog("features.toml")["text"]


def test_a_damaged_file_of_reviews_is_left_as_it_is(scored, project):
    folder = project / "hccmil-reviews"
    folder.mkdir()
    (folder / "D.json").write_text("{", encoding="utf-8")
    review(scored, "D")
    scored.wait_for_dialog("is not valid JSON")
    press_key(scored, "review", "A")
    assert (folder / "D.json").read_text(encoding="utf-8") == "{"
    assert in_windows(scored, "#hccmil-verdict-A", "node.disabled") is True


def test_reviews_stay_when_the_slide_is_scored_again(scored, project):
    review(scored, "R")
    kept = scored.ask(CURRENT)
    press_key(scored, "review", "A", "DIGIT3")
    before = (project / "hccmil-reviews" / "R.json").read_bytes()
    score(project)
    scored.ask(
        """
        def entry = qupath.project.imageList.first()
        def fresh = entry.readImageData()
        qupath.imageData.hierarchy.setHierarchy(fresh.hierarchy)
        qupath.imageData.historyWorkflow.clear()
        qupath.imageData.historyWorkflow.addSteps(fresh.historyWorkflow.steps)
        null
        """
    )
    assert scored.wait_for("hccmil.TileMap.of(qupath.viewer).scored().tiles.size() > 0")
    assert (project / "hccmil-reviews" / "R.json").read_bytes() == before
    assert scored.ask(CURRENT) == kept
    assert in_windows(scored, "#hccmil-verdict-A", "node.selected") is True
    # and the same after the image was closed and opened
    close_windows(scored)
    scored.open(project / "project.qpproj", PLAIN)
    scored.open(project / "project.qpproj", SCORED)
    review(scored, "R")
    assert scored.ask(CURRENT) == kept
    assert in_windows(scored, "#hccmil-verdict-A", "node.selected") is True


def test_numbers_are_the_same_in_a_language_with_a_decimal_comma(scored, project):
    record = recorded(state_of(project))
    before = "Locale.Category.values().collect { Locale.getDefault(it).toLanguageTag() }.join(' ')"
    spoken = scored.ask(before)
    scored.ask("Locale.setDefault(Locale.GERMANY); null")
    try:
        scored.click("Result…")
        text = text_of(scored, "HCC-MIL: result")
        assert f"{record.risk:.4f}" in text
        assert "0.25 µm per px" in text
    finally:
        scored.ask(
            """
            [Locale.Category.values(), spoken.split(' ')].transpose().each { category, tag ->
                Locale.setDefault(category, Locale.forLanguageTag(tag))
            }
            null
            """,
            spoken=spoken,
        )
    assert scored.ask(before) == spoken
