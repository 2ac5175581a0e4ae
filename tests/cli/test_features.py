"""``features`` through the command line: slides in, files out, one clear line for what is wrong."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from qupath_hccmil.features.feature_file import feature_files, open_features
from qupath_hccmil.leftover_files import UNNAMED_S
from tests.blobs import blob_image
from tests.drawn_slides import write_pyramid
from tests.encoders.tiny import WIDTH, tiny_encoder


@pytest.fixture
def slides(tmp_path):
    (tmp_path / "slides").mkdir()
    for number in range(2):
        pixels = blob_image(number, side=1100, count=900, radius=14)[0]
        write_pyramid(tmp_path / "slides" / f"s{number}.tif", pixels)
    return tmp_path / "slides"


FAST = ("--stain", "none", "--runtime", "torch", "--device", "cpu")


def test_features_of_a_folder_with_two_encoders(cli, slides, tmp_path):
    encoders = [tiny_encoder(tmp_path / name, name, n).path for n, name in enumerate("ab")]
    command = ("features", slides, "--out", tmp_path / "out", *FAST)
    both = ("--encoder", encoders[0], "--encoder", encoders[1])
    ran = cli(*command, *both)
    assert (ran.code, ran.err) == (0, "")
    assert "[1/2] s0.tif: a 4 tiles, b 4 tiles, " in ran.out
    assert ran.out.splitlines()[-1] == "2 computed."
    for name in "ab":
        found = [open_features(path) for path in feature_files(tmp_path / "out" / name)]
        assert [(each.slide, each.count, each.width, each.encoder) for each in found] == [
            (f"s{number}.tif", 4, WIDTH, name) for number in range(2)
        ]
    ran = cli(*command, *both, "--json")
    facts = json.loads(ran.out)
    assert [each["status"] for each in facts["slides"]] == ["up to date"] * 2
    assert [each["folder"] for each in facts["encoders"]] == [
        str(tmp_path / "out" / n) for n in "ab"
    ]
    assert cli(*command, *both, "--quiet").out == ""


def test_what_killed_runs_left_is_deleted_once_it_is_nobodys(cli, slides, tmp_path):
    out = tmp_path / "out"
    line = ("features", slides, "--out", out, *FAST, "--encoder", tiny_encoder(tmp_path / "a").path)
    assert cli(*line).code == 0
    before = sorted(out.rglob("*"))
    ages = {
        "tiny/.new-s0-abcd_123.h5": UNNAMED_S + 60,
        "tiny/.new-features-abcd_123.json": UNNAMED_S + 60,
        ".new-run-abcd_123.json": UNNAMED_S + 60,
        "tiny/.new-s1-abcd_123.h5": UNNAMED_S - 600,
        "tiny/.new-notes-abcd_123.txt": UNNAMED_S + 60,
    }
    for name, age in ages.items():
        (out / name).write_bytes(b"half")
        os.utime(out / name, (time.time() - age,) * 2)
    assert cli(*line).code == 0
    assert sorted(out.rglob("*")) == sorted([*before, *(out / name for name in list(ages)[3:])])


def test_a_share_of_the_slides_and_one_that_fails(cli, slides, tmp_path):
    encoder = ("--encoder", tiny_encoder(tmp_path / "a").path)
    (slides / "s2.tif").write_bytes(b"no slide")
    command = ("features", slides, "--out", tmp_path / "out", *FAST, *encoder)
    ran = cli(*command, "--shard", "1/2")
    assert ran.code == 3
    assert "s2.tif: FAILED: " in ran.err
    assert "1 computed, 1 failed." in ran.out
    assert cli(*command, "--shard", "2/2").out.splitlines()[-1] == "1 computed."
    assert cli(*command, "--shard", "4/4").out == "No slides in this part.\n"
    assert cli(*command, "--shard", "3/2").code == 2


def test_several_sources_and_a_table_of_projects(cli, slides, tmp_path):
    """One that cannot be read costs only itself; a slide that is named twice is done once."""
    encoder = ("--encoder", tiny_encoder(tmp_path / "a").path)
    command = ("features", "--out", tmp_path / "out", *FAST, *encoder)
    (tmp_path / "lists").mkdir()
    table = tmp_path / "lists" / "projects.csv"
    table.write_text("project\n../slides/s1.tif\n../none\n")
    ran = cli(*command, slides / "s0.tif", "--projects", table)
    assert ran.code == 3
    assert ran.err.startswith(f"{tmp_path / 'lists' / '../none'}: FAILED: ")
    assert ran.out.splitlines()[-1] == "2 computed."
    ran = cli(*command, slides / "s0.tif", slides)
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "2 up to date.")
    assert cli(*command).code == 2
    images = json.loads((tmp_path / "out" / "run.json").read_text())["images"]
    assert [(each["image_id"], each["status"]) for each in images] == [
        ("s0", "computed"),
        ("s1", "computed"),
    ]


def test_the_encoder_that_ships(cli, slides, tmp_path):
    ran = cli("features", slides / "s0.tif", "--out", tmp_path / "out", *FAST[2:])
    assert ran.code == 0, ran.err
    (path,) = feature_files(tmp_path / "out")
    found = open_features(path)
    assert (found.width, found.tile_um, found.attributes["stain"]) == (1280, 128, "vahadane")
    assert np.isfinite(found.read()).all()
    ran = cli("features", slides, "--out", tmp_path / "out", "--stain", "none")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "knows stain-normalised colours only" in ran.err


def test_settings_from_a_file(cli, slides, tmp_path):
    encoder = ("--encoder", tiny_encoder(tmp_path / "a").path)
    settings = tmp_path / "settings.toml"
    settings.write_text('stain = "none"\nmax_tiles = 3\n')
    command = ("features", slides / "s0.tif", "--out", tmp_path / "out", *encoder)
    ran = cli(*command, "--settings", settings, "--runtime", "torch", "--max-tiles", "2")
    assert "tiny 2 tiles" in ran.out, ran.err
    settings.write_text('stain = "macenko"\n')
    ran = cli(*command, "--settings", settings)
    assert ran.code == 1
    assert "stain" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["slides", "--encoder", "a", "--encoder", "b"], "give one of them another name"),
        (["slides", "--encoder", "slides"], "not an encoder folder, encoder.json is missing"),
        (["notes.md"], "is neither a QuPath project, a slide, a folder of slides, nor a table"),
        (["empty"], "contains no slides"),
        (["lab"], f"{Path('lab', 'qupath')}\n"),
        (["slides", "--image", "s1*"], "slides: is not a QuPath project, so --image s1* can't"),
        (["table.csv"], "has no column 'slide'"),
        (["slides", "--encoder", "a", "--out", "notes.md"], "notes.md"),
    ],
)
def test_bad_input_is_one_line(cli, slides, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        tiny_encoder(tmp_path / name, "same", ord(name))
    (tmp_path / "empty").mkdir()
    (tmp_path / "lab" / "qupath").mkdir(parents=True)
    (tmp_path / "lab" / "qupath" / "project.qpproj").write_text("{}")
    (tmp_path / "notes.md").write_text("-")
    (tmp_path / "table.csv").write_text("file\nx.svs\n")
    ran = cli("features", "--out", "out", *arguments)
    assert ran.code == 1
    assert said in ran.err
    assert ran.err.count("\n") == 1
