"""``project create``, as it is typed."""

import json
from pathlib import Path

import pytest
from shapely.geometry import box

import qupath_hccmil as hm
from tests.qupath.test_project_of_slides import feature, geojson, slide

NATIVE = ("--engine", "native")


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    for name in ("one.tif", "two.tif"):
        slide(tmp_path / "slides" / name)
    return tmp_path / "slides"


def test_a_folder_of_slides_becomes_a_project(cli, slides, tmp_path):
    (slides / "bad.svs").write_text("no slide")
    table = tmp_path / "patients.csv"
    table.write_text("image;patient\none;P1\ntwo.tif;P2\nthree;P3\n")
    ran = cli("project", "create", tmp_path / "p", slides, "--tissue", "--patients", table)
    assert ran.code == 3
    assert "bad.svs: FAILED: " in ran.err
    assert ran.out.splitlines()[:3] == [
        "one.tif: added, 1 outline",
        "two.tif: added, 1 outline",
        f"2 of 3 slides added to {tmp_path / 'p'}; open it in QuPath",
    ]
    assert "1 row matches no slide: three" in ran.out
    info = json.loads(cli("project", "info", tmp_path / "p", *NATIVE, "--json").out)
    assert [image["classes"] for image in info["images"]] == [{"Region*": 1}] * 2
    score = cli("score", tmp_path / "p", *NATIVE)
    assert score.code == 3
    assert "no tumour was outlined, only tissue (class Region*)" in score.out + score.err


def test_what_is_scored_is_what_was_outlined(cli, slides, tmp_path):
    geojson(tmp_path / "o" / "one.geojson", feature(box(300, 200, 800, 600)))
    arguments = (slides / "one.tif", "--outlines", tmp_path / "o", "--outline-class", "Tumor")
    assert cli("project", "create", tmp_path / "p", *arguments, "--quiet").out == ""
    assert cli("score", tmp_path / "p", *NATIVE, "--dry-run").code == 0
    again = cli("project", "create", tmp_path / "p", *arguments, "--json")
    (row,) = json.loads(again.out)["slides"]
    assert (again.code, row["state"]) == (0, "there")


def test_nothing_is_made_of_nothing(cli, tmp_path):
    (tmp_path / "empty").mkdir()
    ran = cli("project", "create", tmp_path / "p", tmp_path / "empty")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "no slides in it" in ran.err
    ran = cli("project", "create", tmp_path / "p", tmp_path / "gone.svs")
    assert ran.code == 3
    assert "gone.svs: FAILED" in ran.err
    assert "no project was made" in ran.out
    assert not (tmp_path / "p").exists()
    ran = cli("project", "create", tmp_path / "p", tmp_path, "--outline-class", "Tumor")
    assert ran.code == 2


def test_from_python(slides, tmp_path):
    outcomes = hm.create_project(tmp_path / "p", sorted(slides.iterdir()), tissue=True)
    assert [outcome.state for outcome in outcomes] == ["added", "added"]
    with hm.open_project(tmp_path / "p", "native") as project:
        assert [entry.name for entry in project.images] == ["one.tif", "two.tif"]
