"""``qupath-hccmil tiles``: what is written, from which pixels, and what stays as it was."""

import base64
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import qupath_hccmil as hm
from qupath_hccmil.slides.open_slide import open_slide
from qupath_hccmil.tables.export_columns import columns_of
from tests.conftest import ROOT, qupath_dirs
from tests.tiles_of_interest.conftest import NATIVE
from tests.tiles_of_interest.scored_projects import Scored, make_project, score, score_image

FIXED = {
    "contact-sheet.pdf", "contact-sheet.png", "gallery.html", "tiles.csv", "tiles.json",
}  # fmt: skip


def files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def rows(folder):
    with (folder / "tiles.csv").open(encoding="utf-8-sig", newline="") as source:
        return list(csv.DictReader(source))


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def data(folder):
    """What the page's script reads."""
    text = (folder / "gallery.html").read_text(encoding="utf-8")
    (content,) = re.findall(r'id="data">(.*?)</script>', text, flags=re.DOTALL)
    return json.loads(content)


def test_everything_is_written(cli, made_cohort, tmp_path):
    out = tmp_path / "out"
    ran = cli("tiles", made_cohort, "--out", out, "--top", 5, *NATIVE)
    assert ran.code == 0, ran.err
    assert "5 highest and 5 lowest tiles of 3 images, 10 pictures" in ran.out
    assert files(out) == FIXED | {f"crops/{k:02}.jpg" for k in range(1, 11)}
    table = rows(out)
    assert list(table[0]) == [column.name for column in columns_of("tile of interest")]
    assert [row["chosen_as"] for row in table] == ["high"] * 5 + ["low"] * 5
    assert {row["crop"] for row in table} == {f"crops/{k:02}.jpg" for k in range(1, 11)}
    assert {pixels(out / row["crop"]).shape for row in table} == {(256, 256, 3)}
    record = json.loads((out / "tiles.json").read_text(encoding="utf-8"))
    assert set(record["files"]) == files(out)
    assert record["model"]["name"] == "made-model"
    assert record["settings"]["top"] == 5


def test_the_table_agrees_with_the_export(cli, made_cohort, tmp_path):
    cli("tiles", made_cohort, "--out", tmp_path / "out", "--top", 5, *NATIVE)
    cli("export", made_cohort, tmp_path / "all.csv", "--level", "tile", *NATIVE)
    with (tmp_path / "all.csv").open(encoding="utf-8-sig", newline="") as source:
        exported = {row["tile_id"]: row for row in csv.DictReader(source)}
    for row in rows(tmp_path / "out"):
        known = exported[row["tile_id"]]
        shared = known.keys() & row.keys()
        assert len(shared) > 15
        assert {name: row[name] for name in shared} == {name: known[name] for name in shared}


@pytest.mark.parametrize("mpp", [0.25, 1.0])
def test_crops_are_the_slides_pixels(cli, made_cohort, tmp_path, mpp):
    cli("tiles", made_cohort, "--out", tmp_path / "o", "--top", 3, "--mpp", mpp, *NATIVE)
    for row in rows(tmp_path / "o"):
        number = "abc".index(row["image"][0])
        with open_slide(made_cohort.parent / "slides" / f"cohort-{number}.tif") as slide:
            place = [float(row[name]) for name in ("x_px", "y_px", "width_px", "height_px")]
            expected = slide.read_tile(*place, round(128 / mpp)).astype(int)
        crop = pixels(tmp_path / "o" / row["crop"])
        assert crop.shape == expected.shape
        assert np.abs(crop - expected).mean() < 8  # JPEG of noise


VIEWS = {
    "rotated 90.tif": lambda shown, _: np.rot90(shown, -1),
    "flipped horizontal.tif": lambda shown, _: shown[:, ::-1],
    "cropped.tif": lambda shown, r: shown[r[1] : r[1] + r[3], r[0] : r[0] + r[2]],
}


@pytest.mark.parametrize("name", VIEWS)
def test_images_are_shown_as_qupath_shows_them(cli, tmp_path, name):
    data_folder = ROOT / "tests" / "data"
    shutil.copytree(data_folder / "slides", tmp_path / "slides")
    project = shutil.copytree(data_folder / "projects" / "qupath-0.7.0", tmp_path / "projects/p")
    bounds = np.array([[10.0, 20, 64, 64], [100, 40, 64, 64]])
    server = score_image(project, name, bounds)
    slide = pixels(tmp_path / "slides" / "tissue.tif").astype(np.uint8)
    region = server.views[0].region if server.views else None
    shown = VIEWS[name](slide, region)
    assert (shown.shape[1], shown.shape[0]) == (server.width, server.height)
    ran = cli("tiles", project, "--out", tmp_path / "out", "--mpp", 2, *NATIVE)
    assert "1 highest and 1 lowest tiles of 1 image, 2 pictures" in ran.out
    for row in rows(tmp_path / "out"):
        x, y = int(float(row["x_px"])), int(float(row["y_px"]))
        crop = pixels(tmp_path / "out" / row["crop"])
        tile = Image.fromarray(np.ascontiguousarray(shown[y : y + 64, x : x + 64]))
        expected = np.asarray(tile.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
        assert crop.shape == expected.shape
        assert np.abs(crop - expected).mean() < 8  # JPEG


def test_a_slide_that_is_gone_costs_its_own_pictures(cli, tmp_path):
    images = [Scored("here.tif", [3.0, -1.0]), Scored("gone.tif", [2.0, -3.0])]
    project = make_project(tmp_path / "p", images)
    gone = tmp_path / "p" / "slides" / "p-1.tif"
    gone.rename(tmp_path / "p-1.tif")
    out = tmp_path / "out"
    ran = cli("tiles", project, "--out", out, *NATIVE)
    assert ran.code == 3
    (line,) = ran.err.splitlines()
    assert line.startswith(
        "FAILED: qupath: gone.tif: 2 tiles without a picture: the slide is not at "
    )
    table = {row["image"]: row["crop"] for row in rows(out)}
    assert table["gone.tif"] == ""
    assert table["here.tif"].startswith("crops/")
    shown = {tile["image"]: tile["src"] for tile in data(out)["tiles"]}
    assert shown["gone.tif"] is None
    assert "not read: qupath: gone.tif" in (out / "gallery.html").read_text(encoding="utf-8")
    again = cli("tiles", project, "--out", out, "--slides", tmp_path, *NATIVE)
    assert again.code == 0
    assert len(files(out) - FIXED) == 4


def test_no_slide_at_all_still_gives_table_and_page(cli, made_cohort, tmp_path):
    project = shutil.copytree(made_cohort, tmp_path / "moved" / "qupath")
    for path in (project / "project.qpproj",):
        path.write_text(path.read_text().replace("cohort-", "none-"))
    for path in project.glob("data/*/server.json"):
        path.write_text(path.read_text().replace("cohort-", "none-"))
    ran = cli("tiles", project, "--out", tmp_path / "out", *NATIVE)
    assert ran.code == 3
    assert files(tmp_path / "out") == {"gallery.html", "tiles.csv", "tiles.json"}


def test_a_second_run_leaves_nothing_of_the_first_and_all_of_the_users(cli, made_cohort, tmp_path):
    out = tmp_path / "out"
    cli("tiles", made_cohort, "--out", out, "--top", 5, *NATIVE)
    (out / "notes.txt").write_text("mine")
    (out / "crops" / "mine.jpg").write_text("mine")
    ran = cli("tiles", made_cohort, "--out", out, "--top", 2, *NATIVE)
    assert ran.code == 0
    mine = {"notes.txt", "crops/mine.jpg"}
    assert files(out) == FIXED | {f"crops/{k}.jpg" for k in range(1, 5)} | mine


@pytest.mark.parametrize("name", ["gallery.html", "crops/3.jpg", "contact-sheet.pdf"])
def test_a_file_of_the_users_is_not_overwritten(cli, made_cohort, tmp_path, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    ran = cli("tiles", made_cohort, "--out", tmp_path / "out", "--top", 2, *NATIVE)
    assert ran.code == 1
    assert f"{path}: exists, but no earlier run wrote it" in ran.err
    assert files(tmp_path / "out") == {name}


def test_a_damaged_record_of_a_run_removes_nothing(cli, made_cohort, tmp_path):
    (tmp_path / "tiles.json").write_text('{"files": ["../x", 3]}')
    ran = cli("tiles", made_cohort, "--out", tmp_path, "--top", 2, *NATIVE)
    assert ran.code == 1
    assert "has a tiles.json that does not list the files of its run" in ran.err


def test_a_self_contained_page_holds_its_pictures(cli, made_cohort, tmp_path):
    cli("tiles", made_cohort, "--out", tmp_path / "o", "--top", 2, "--self-contained", *NATIVE)
    for tile in data(tmp_path / "o")["tiles"]:
        head, _, coded = tile["src"].partition(",")
        assert head == "data:image/jpeg;base64"
        assert Image.open(BytesIO(base64.b64decode(coded))).size == (256, 256)


def test_the_page_says_nothing_of_scores_by_order_or_file_name(cli, made_cohort, tmp_path):
    cli("tiles", made_cohort, "--out", tmp_path / "o", "--top", 12, *NATIVE)
    tiles = data(tmp_path / "o")["tiles"]
    assert [tile["number"] for tile in tiles] == list(range(1, 25))
    assert [tile["src"] for tile in tiles] == [f"crops/{k:02}.jpg" for k in range(1, 25)]
    sides = [tile["side"] for tile in tiles]
    assert sides != sorted(sides)


def test_names_of_users_are_text_on_the_page(cli, tmp_path):
    name = "</script><img src=x onerror=alert(1)> $x_1$ 肝.tif"
    project = make_project(tmp_path / "p", [Scored(name, [1.0, -1.0], patient="<b>P</b>")])
    ran = cli("tiles", project, "--out", tmp_path / "out", *NATIVE)
    assert ran.code == 0, ran.err
    text = (tmp_path / "out" / "gallery.html").read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert "<b>P</b>" not in text
    assert data(tmp_path / "out")["tiles"][0]["image"] == name


def test_json_and_quiet(cli, made_cohort, tmp_path):
    ran = cli("tiles", made_cohort, "--out", tmp_path, "--top", 2, "--json", *NATIVE)
    content = json.loads(ran.out)
    assert (content["high"], content["low"], content["pictures"]) == (2, 2, 4)
    assert set(content["files"]) == files(tmp_path)
    ran = cli("tiles", made_cohort, "--out", tmp_path, "--top", 2, "--quiet", *NATIVE)
    assert (ran.code, ran.out, ran.err) == (0, "", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bootstrap", "10"), "--bootstrap has no effect without --reviews"),
        (("--reviews", "--mpp", "1"), "--mpp has no effect with --reviews"),
        (("--reviews", "--self-contained"), "--self-contained has no effect with --reviews"),
        (("--mpp", "0.01"), "0.01"),
        (("--top", "0"), "--top"),
    ],
)
def test_bad_usage(cli, made_cohort, tmp_path, options, message):
    ran = cli("tiles", made_cohort, "--out", tmp_path / "out", *options, *NATIVE)
    assert ran.code == 2
    assert message in ran.err
    assert not (tmp_path / "out").exists()


def test_the_features_of_the_project_are_asked_for(cli, tmp_path):
    project = make_project(tmp_path / "p", [Scored("a.tif", [1.0, -1.0])])
    toml = project / "hccmil-reviews" / "features.toml"
    toml.parent.mkdir()
    toml.write_text('[[feature]]\nname = "Steatosis"\nkey = "S"\n', encoding="utf-8")
    cli("tiles", project, "--out", tmp_path / "out", *NATIVE)
    assert data(tmp_path / "out")["features"] == [{"name": "Steatosis", "key": "s"}]


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[[feature]]\nname = 'A'\nkey = 'a'", "key 'a' is taken"),
        ("[[feature]]\nname = 'A'\nkey = 'U'", "key 'u' is taken"),
        ("[[feature]]\nname = 'A'\nkey = '?'", "must be one letter or digit"),
        ("[[feature]]\nname = 'A'\nkey = '12'", "key '12' must be one letter or digit"),
        ("[[feature]]\nname = 'group'\nkey = '1'", "feature name 'group' is taken"),
        ("[[feature]]\nname = 'A'", "lacks 'key'"),
        ("feature = []", "no feature in it"),
        ("feature = 3", "is not iterable"),
        ("name = ", "features.toml: "),
    ],
)
def test_features_that_cannot_be_used(cli, made_cohort, tmp_path, toml, message):
    project = shutil.copytree(made_cohort, tmp_path / "qupath")
    (project / "hccmil-reviews").mkdir()
    (project / "hccmil-reviews" / "features.toml").write_text(toml)
    ran = cli("tiles", project, "--out", tmp_path / "out", *NATIVE)
    assert ran.code == 1
    assert message in ran.err
    assert len(ran.err.splitlines()) == 1


def test_projects_with_different_features_are_refused(cli, made_cohort, tmp_path):
    other = make_project(tmp_path / "other", [Scored("x.tif", [1.0, -1.0])])
    (other / "hccmil-reviews").mkdir()
    (other / "hccmil-reviews" / "features.toml").write_text("[[feature]]\nname='S'\nkey='s'\n")
    ran = cli("tiles", made_cohort, other, "--out", tmp_path / "out", *NATIVE)
    assert ran.code == 1
    assert "have different features to review" in ran.err


def test_from_python(made_cohort, tmp_path):
    made = hm.tile_gallery([made_cohort], tmp_path / "out", top=2, engine="native")
    assert (made.high, made.low, made.failed) == (2, 2, [])
    assert set(made.files) == files(tmp_path / "out")


@pytest.mark.qupath
@pytest.mark.parametrize("qupath", qupath_dirs() or [None], ids=lambda p: p.name if p else "none")
def test_both_engines_choose_the_same(made_cohort, tmp_path, qupath):
    """In a process of its own: one process starts one Java."""
    if qupath is None:
        pytest.skip("no QuPath at /opt/QuPath-* or PAQUO_QUPATH_DIR")
    project = shutil.copytree(made_cohort, tmp_path / "qupath")
    ran = subprocess.run(
        [sys.executable, "-m", "qupath_hccmil", "tiles", project, "--out", tmp_path / "paquo",
         "--top", "5", "--engine", "paquo"],
        capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PAQUO_QUPATH_DIR": str(qupath), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    hm.tile_gallery([project], tmp_path / "native", top=5, engine="native")
    assert rows(tmp_path / "paquo") == rows(tmp_path / "native")


def test_scoring_again_by_another_model_is_noticed_across_projects(cli, made_cohort, tmp_path):
    other = make_project(tmp_path / "other", [Scored("x.tif", [1.0, -1.0])])
    score(other, [Scored("x.tif", [1.0, -1.0], weights="f" * 64)])
    ran = cli("tiles", made_cohort, other, "--out", tmp_path / "out", *NATIVE)
    assert ran.code == 1
    assert "can't be compared" in ran.err
    assert not files(tmp_path / "out")
