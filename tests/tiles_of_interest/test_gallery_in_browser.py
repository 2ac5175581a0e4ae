"""The gallery in a real Chromium: keyboard, 400 tiles, narrow screen, dark mode, accessibility."""

import json
import re

import pytest

from qupath_hccmil.cli.main import run
from tests.browser import axe_findings, missing, open_browser
from tests.tiles_of_interest.conftest import NATIVE
from tests.tiles_of_interest.scored_projects import MODEL, Scored, make_project

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")

STROMA, ATYPIA, HYPERCHROMASIA, IMMUNE = (
    "Stroma", "High cytological atypia", "Nuclear hyperchromasia", "Immune cell infiltration",
)  # fmt: skip


def gallery(folder, projects, *options):
    code = run([
        "tiles", *map(str, projects), "--out", str(folder), "--quiet", "--mpp", "2", *options,
        *NATIVE,
    ])  # fmt: skip
    assert code == 0
    return (folder / "gallery.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def small(made_cohort, tmp_path_factory):
    """24 tiles of three slides."""
    return gallery(tmp_path_factory.mktemp("small"), [made_cohort])


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """400 tiles of two slides in one file."""
    folder = tmp_path_factory.mktemp("large")
    images = [Scored(f"{k}.tif", [(i - 99.5 + k) / 40 for i in range(200)], columns=20)
              for k in range(2)]  # fmt: skip
    project = make_project(folder / "p", images)
    return gallery(folder / "out", [project], "--self-contained")


@pytest.fixture
def page(browser, request):
    """A page of a fresh browser that remembers nothing; fails on any error of a script."""
    options = getattr(request, "param", {})
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page = context.new_page()
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    assert wrong == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()


def begin(page, url, name="Dr A"):
    page.goto(url)
    page.fill("#reviewer", name)
    page.keyboard.press("Tab")


def head(page):
    return page.inner_text("#viewer-head")


def contains(page, place, text):
    from playwright.sync_api import expect

    expect(page.locator(place)).to_contain_text(text)


def downloaded(page):
    with page.expect_download() as waiting:
        page.click("#download")
    file = waiting.value
    with open(file.path(), encoding="utf-8") as content:
        return file.suggested_filename, json.load(content)


def test_high_and_low_stand_side_by_side(page, small):
    page.goto(small)
    assert page.inner_text("#head-high") == "Highest · 12"
    assert page.inner_text("#head-low") == "Lowest · 12"
    high, low = (page.locator(f"#panel-{side}").bounding_box() for side in ("high", "low"))
    assert high["y"] == low["y"]
    assert high["x"] + high["width"] <= low["x"]
    assert page.locator(".tile img").count() == 24
    assert page.locator(".tile img[loading=lazy]").count() == 24
    assert "surrogate trained on simulated labels" in page.inner_text("header")


def test_all_by_keyboard(page, small):
    """From the first Tab to a judged tile and back, without a mouse."""
    page.goto(small)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    page.keyboard.type("Dr A")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "start"
    page.keyboard.press("Enter")
    assert head(page) == "Tile 1 · 1 of 24"
    for key in ("1", "2", "2", "a", "ArrowRight", "x", "ArrowRight", "4", "0", "c", "ArrowLeft"):
        page.keyboard.press(key)
    assert head(page) == "Tile 2 · 2 of 24"
    assert page.get_attribute("[data-verdict=artefact]", "aria-pressed") == "true"
    page.keyboard.press("u")
    assert head(page) == "Tile 4 · 4 of 24"
    page.keyboard.press("End")
    assert head(page) == "Tile 24 · 24 of 24"
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#told") == "That was the last tile."
    page.keyboard.press("Home")
    page.keyboard.press("Escape")
    assert not page.is_visible("#viewer")
    # The dialog says that it is closed a moment later; the focus goes back to its tile then.
    page.locator("[data-number='1']:focus").wait_for()
    assert page.inner_text("#count") == "3 of 24 reviewed"
    name, content = downloaded(page)
    assert name == "Dr A.json"
    first, second, third = content["reviews"]
    assert (first["verdict"], first["features"]) == ("agree", {STROMA: True, ATYPIA: False})
    assert (second["verdict"], second["features"]) == ("artefact", {})
    expected = {IMMUNE: True, STROMA: False, ATYPIA: False, HYPERCHROMASIA: False}
    assert (third["verdict"], third["features"]) == ("cannot say", expected)


def test_the_file_is_the_agreed_one(page, small):
    begin(page, small, "Dr. Ä/B: 1")
    page.click("#start")
    page.keyboard.press("d")
    page.keyboard.press("Escape")
    name, content = downloaded(page)
    assert name == "Dr_ Ä_B_ 1.json"
    assert list(content) == ["format", "reviewer", "features", "project", "reviews"]
    assert content["format"] == "hccmil-reviews 1"
    assert content["features"] == [STROMA, ATYPIA, HYPERCHROMASIA, IMMUNE]
    assert content["project"] == "qupath"
    (entry,) = content["reviews"]
    assert entry["image"] in {"a.tif", "b.tif", "c.tif"}
    assert (entry["model"], entry["verdict"], entry["blinded"]) == (MODEL, "disagree", True)
    assert all(isinstance(value, int) for value in entry["tile"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["time"])


def test_the_program_reads_the_file(page, small, made_cohort, tmp_path):
    begin(page, small)
    page.click("#start")
    for _ in range(24):
        page.keyboard.press("1")
        page.keyboard.press("a")
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    name, content = downloaded(page)
    folder = made_cohort / "hccmil-reviews"
    folder.mkdir()
    try:
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
        out = tmp_path / "out"
        code = run(["tiles", str(made_cohort), "--reviews", "--out", str(out), "--quiet", *NATIVE])
        assert code == 0
        assert (out / "features.csv").read_text("utf-8-sig").splitlines()[1].startswith(
            "Stroma,12,12,12,12,"
        )  # fmt: skip
    finally:
        (folder / name).unlink()
        folder.rmdir()


def test_several_projects_are_named_in_each_entry(page, made_cohort, tmp_path):
    other = make_project(tmp_path / "other", [Scored("x.tif", [9.0, -9.0])])
    url = gallery(tmp_path / "out", [made_cohort, other], "--top", "1")
    begin(page, url)
    page.click("#start")
    page.keyboard.press("a")
    page.keyboard.press("Escape")
    _, content = downloaded(page)
    assert "project" not in content
    assert content["reviews"][0]["project"] == str(other)


def test_a_blinded_page_shows_no_score_no_colour_and_no_slide(page, small):
    begin(page, small)
    page.click("#start")
    shown = page.inner_text("#viewer")
    assert not re.search(r"0\.\d|risk|high \d|low \d|\.tif|P1", shown)
    page.keyboard.press("Escape")
    shown = page.inner_text("main") + " ".join(
        page.locator(".panel.all .tile").evaluate_all("all => all.map(e => e.ariaLabel)")
    )
    assert not re.search(r"0\.\d|Highest|Lowest|\.tif", shown)
    assert not page.is_visible("#panel-high")
    assert not page.is_visible("#sort")
    numbers = page.locator(".panel.all .tile").evaluate_all(
        "all => all.map(e => +e.dataset.number)"
    )
    assert numbers == list(range(1, 25))
    page.click("#unblind")
    assert page.is_visible("#panel-high")


def test_an_open_review_says_so_and_shows_the_scores(page, small):
    begin(page, small)
    page.locator("#panel-low .tile").first.click()
    assert "low 1" in page.inner_text("#values")
    page.click("[data-verdict=agree]")
    page.click("[data-feature=Stroma][data-present=false]")
    page.click("#close")
    _, content = downloaded(page)
    (entry,) = content["reviews"]
    assert (entry["blinded"], entry["features"]) == (False, {"Stroma": False})
    page.locator("#panel-low .tile").first.click()
    page.click("[data-verdict=agree]")
    page.click("[data-feature=Stroma][data-present=false]")
    page.click("#close")
    assert page.inner_text("#count") == "0 of 24 reviewed"


def test_reviews_stay_in_the_browser_apart_for_each_reviewer(page, small):
    begin(page, small)
    page.click("#start")
    page.keyboard.press("a")
    assert page.evaluate("Object.values(localStorage).join()").count('"agree"') == 1
    # Chromium's processes hand on what is stored a moment later: once, on a busy machine, the page
    # was back first.
    for _ in range(3):
        page.reload()
        if page.input_value("#reviewer"):
            break
    assert page.input_value("#reviewer") == "Dr A"
    assert page.inner_text("#count") == "1 of 24 reviewed"
    page.fill("#reviewer", "Dr B")
    page.keyboard.press("Tab")
    assert page.inner_text("#count") == "0 of 24 reviewed"
    page.fill("#reviewer", "Dr A")
    page.keyboard.press("Tab")
    assert page.inner_text("#count") == "1 of 24 reviewed"


def test_a_name_is_asked_for(page, small):
    page.goto(small)
    page.click("#start")
    assert "Give your name first" in page.inner_text("#said")
    assert page.evaluate("document.activeElement.id") == "reviewer"


def test_loading_goes_on_with_a_file_and_keeps_what_it_doesnt_know(page, small, tmp_path):
    begin(page, small)
    page.click("#start")
    page.keyboard.press("a")
    page.keyboard.press("Escape")
    _, content = downloaded(page)
    content["later"] = {"x": 1}
    content["reviews"][0] |= {"zoom": 3, "verdict": "artefact", "time": "2099-01-01T00:00:00Z"}
    content["reviews"].append({**content["reviews"][0], "image_id": "99"})
    path = tmp_path / "Dr A.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    page.set_input_files("#file", path)
    contains(page, "#said", "loaded")
    _, again = downloaded(page)
    assert again["later"] == {"x": 1}
    assert [(e["image_id"], e["zoom"], e["verdict"]) for e in again["reviews"]] == [
        (content["reviews"][0]["image_id"], 3, "artefact"), ("99", 3, "artefact"),
    ]  # fmt: skip
    path.write_text(json.dumps({**content, "reviewer": "Dr B"}), encoding="utf-8")
    page.set_input_files("#file", path)
    contains(page, "#said", "not of Dr A")
    path.write_text("[]", encoding="utf-8")
    page.set_input_files("#file", path)
    contains(page, "#said", "no file of")


def test_files_of_several_projects_are_joined_and_nothing_is_lost(page, tmp_path):
    """Image 1 and its tiles are alike in both, so only the project tells them apart."""
    projects = [make_project(tmp_path / name / name, [Scored("x.tif", [9.0, -9.0])])
                for name in ("one", "two")]  # fmt: skip
    begin(page, gallery(tmp_path / "out", projects))
    page.click("#start")
    page.keyboard.press("a")
    page.keyboard.press("Escape")
    _, content = downloaded(page)
    (entry,) = content["reviews"]
    entry |= {"verdict": "artefact", "time": "2099-01-01T00:00:00Z"}
    first, second = entry["project"], ({"one", "two"} - {entry["project"]}).pop()
    del entry["project"]
    path = tmp_path / "Dr A.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    page.set_input_files("#file", path)
    contains(page, "#said", "doesn't say which project it is of")
    for project, gone in ((second, "98"), (first, "99")):
        entries = [entry, {**entry, "image_id": gone}]
        content |= {"project": project, "reviews": entries}
        path.write_text(json.dumps(content), encoding="utf-8")
        page.set_input_files("#file", path)
        contains(page, "#said", "loaded")
    _, again = downloaded(page)
    assert "project" not in again
    assert {(e["project"], e["image_id"], e["verdict"]) for e in again["reviews"]} == {
        (project, image, "artefact")
        for project, image in ((first, "1"), (second, "1"), (second, "98"), (first, "99"))
    }


def test_sort_and_filter(page, small):
    page.goto(small)
    risks = "all => all.map(e => +e.querySelector('b').textContent)"
    high = page.locator("#panel-high .tile")
    page.select_option("#sort", "risk-up")
    found = high.evaluate_all(risks)
    assert found == sorted(found)
    page.select_option("#sort", "risk-down")
    assert high.evaluate_all(risks) == found[::-1]
    page.select_option("#slide", "c.tif")
    labels = page.locator(".tile:visible").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert len(labels) == 4
    assert all("c.tif" in label for label in labels)
    page.fill("#reviewer", "Dr A")
    page.locator(".tile:visible").first.click()
    page.keyboard.press("x")
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    for status, count in (
        ("verdict artefact", 1),
        (f"feature {STROMA}", 1),
        ("done", 1),
        ("open", 3),
    ):
        page.select_option("#status", status)
        assert page.locator(".tile:visible").count() == count
    page.select_option("#status", "verdict agree")
    assert page.locator(".empty:visible").count() == 2


def test_links_of_a_tile_and_of_a_slide(page, small):
    page.goto(f"{small}#tile=7")
    assert head(page).startswith("Tile 7 ·")
    slide = re.search(r"[abc]\.tif", page.inner_text("#values")).group()
    page.get_by_role("link", name="all tiles of this slide").click()
    page.locator("#viewer").wait_for(state="hidden")
    assert page.input_value("#slide") == slide
    page.goto(f"{small}#tile=7")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy for QuPath").click()
    contains(page, "#told", "Center")
    assert re.search(r"setCenterPixelLocation\(\d+, \d+\)", page.inner_text("#told"))


def test_arrows_walk_over_the_gallery(page, small):
    page.goto(small)
    page.locator("#panel-high .tile").first.focus()
    number = "document.activeElement.dataset.number"
    first = page.evaluate(number)
    page.keyboard.press("ArrowRight")
    second = page.evaluate(number)
    page.keyboard.press("ArrowDown")
    assert len({first, second, page.evaluate(number)}) == 3
    page.keyboard.press("Home")
    assert page.evaluate(number) == first
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.panel').id") == "panel-low"


def test_400_tiles(page, large):
    page.goto(large)
    assert page.locator(".tile").count() == 400
    begin(page, large)
    page.click("#start")
    page.click("#onward")
    page.locator("#next").focus()
    for _ in range(400):
        page.keyboard.press("a")
    page.keyboard.press("Escape")
    assert page.inner_text("#count") == "400 of 400 reviewed"
    _, content = downloaded(page)
    assert {entry["verdict"] for entry in content["reviews"]} == {"agree"}
    assert len({(e["image_id"], *e["tile"]) for e in content["reviews"]}) == 400


@pytest.mark.parametrize(
    "page",
    [{"color_scheme": "light"}, {"color_scheme": "dark"},
     {"color_scheme": "dark", "viewport": {"width": 360, "height": 700}}],
    indirect=True, ids=["light", "dark", "narrow and dark"],
)  # fmt: skip
def test_axe_finds_nothing(page, small):
    begin(page, small)
    assert axe_findings(page) == []
    page.locator(".tile").first.click()
    page.keyboard.press("a")
    page.keyboard.press("1")
    assert axe_findings(page) == []
    page.keyboard.press("?")
    assert axe_findings(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.click("#start")
    page.keyboard.press("Escape")
    assert axe_findings(page) == []


@pytest.mark.parametrize("page", [{"viewport": {"width": 360, "height": 700}}], indirect=True)
def test_a_narrow_screen_has_no_sideways_scroll(page, small):
    begin(page, small)
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not page.evaluate(wide)
    high, low = (page.locator(f"#panel-{side}").bounding_box() for side in ("high", "low"))
    assert high["x"] + high["width"] <= low["x"]
    page.click("#start")
    viewer = page.locator("#viewer")
    assert viewer.evaluate("e => e.scrollWidth <= e.clientWidth")
    for name in ("#verdicts button >> nth=0", "#next", "#close"):
        assert page.locator(name).is_visible()


BACKGROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("page", [{"color_scheme": "dark"}], indirect=True)
def test_dark_follows_the_system_until_the_user_chooses(page, small):
    page.goto(small)
    assert page.evaluate(BACKGROUND) == "rgb(20, 25, 30)"
    page.click("#theme")
    assert page.inner_text("#theme") == "Theme: light"
    assert page.evaluate(BACKGROUND) == "rgb(255, 255, 255)"
    page.click("#theme")
    assert page.evaluate(BACKGROUND) == "rgb(20, 25, 30)"


def test_a_tile_without_a_picture_says_so(page, tmp_path):
    project = make_project(tmp_path / "p", [Scored("a.tif", [1.0, -1.0])])
    (tmp_path / "p" / "slides" / "p-0.tif").unlink()
    out = tmp_path / "out"
    assert run(["tiles", str(project), "--out", str(out), "--quiet", *NATIVE]) == 3
    page.goto((out / "gallery.html").as_uri())
    assert page.locator(".gone").count() == 2
    page.locator(".tile").first.click()
    assert page.inner_text("#absent") == "The slide of this tile could not be read."
