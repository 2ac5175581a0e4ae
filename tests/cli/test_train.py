"""``train`` and ``evaluate``: a model from folders, and its figures, through the command line."""

import json
import re

import pytest
from PIL import Image

from qupath_hccmil.atomic_files import is_temporary
from qupath_hccmil.model_store.model_folder import load_model_folder
from tests.blobs import blob_folder, blob_image
from tests.no_room import no_file_above


def test_a_nuclei_model_is_trained_and_evaluated(cli, tmp_path):
    images, masks = blob_folder(tmp_path, 4, side=180)
    out = tmp_path / "out"
    small = ("--mpp", 0.571, "--epochs", 1, "--steps", 1, "--base", 4)
    ran = cli("train", "nuclei", images, masks, "--out", out, *small)
    assert ran.code == 0, ran.err
    assert "epoch 1: loss" in ran.out
    assert "may be optimistic" in ran.out
    assert load_model_folder(out / "model", "nuclei").config.architecture["base"] == 4
    ran = cli(
        "evaluate", "nuclei", images, masks, "--mpp", 0.571, "--model", out / "model", "--json"
    )
    scores = json.loads(ran.out)
    assert len(scores["images"]) == 4
    assert 0 <= scores["dice_pooled"] <= 1


@pytest.mark.parametrize("mpp", [1000, 0.0001, 0, -1, "nan"])
@pytest.mark.parametrize("command", ["evaluate nuclei", "train nuclei"])
def test_a_pixel_size_that_no_scanner_has_is_refused(cli, tmp_path, command, mpp):
    images, masks = blob_folder(tmp_path, 2, side=60)
    out = ("--out", tmp_path / "out") if command == "train nuclei" else ()
    ran = cli(*command.split(), images, masks, "--mpp", mpp, *out)
    assert ran.code in (1, 2)
    assert "--mpp" in ran.err


def test_evaluation_says_what_it_could_not_use_and_what_it_guessed(cli, tmp_path):
    images, masks = blob_folder(tmp_path, 4, side=60)
    (images / "0.png").write_bytes(b"")
    Image.new("1", (60, 61)).save(masks / "1.png")
    (masks / "2.png").unlink()
    (tmp_path / "groups.csv").write_text("image,group\n2,liver\n")
    ran = cli("evaluate", "nuclei", images, masks, "--groups", tmp_path / "groups.csv", "--json")
    assert ran.code == 0, ran.err
    scores = json.loads(ran.out, parse_constant=pytest.fail)
    assert [image["name"] for image in scores["images"]] == ["3"]
    expected = ("no --mpp given", "2.png: has no mask", "0.png: not a readable", "1.png: 60×61 px")
    expected += ("the image 3 has no group; it is a group of its own",)
    for note, words in zip(scores["notes"], expected, strict=True):
        assert words in note


def test_a_nuclei_training_goes_on_from_what_ships_or_starts_anew(cli, tmp_path):
    images, masks = blob_folder(tmp_path, 4, side=120)
    short = ("--mpp", 0.571, "--epochs", 1, "--steps", 1)
    for out, start, design in (
        ("shipped", "nuclei-unet", ()),
        ("anew", "random weights", ("--design", "mobilenet_unet")),
    ):
        ran = cli("train", "nuclei", images, masks, "--out", tmp_path / out, *short, *design)
        assert ran.code == 0, ran.err
        config = load_model_folder(tmp_path / out / "model", "nuclei").config
        assert config.training["start"] == start
        # Nothing is left to defaults that a later version may change.
        assert config.architecture.keys() == {"name", "widths", "zoom"}
    ran = cli(
        *("train", "nuclei", images, masks, "--out", tmp_path / "no", "--base", 8),
        *("--design", "mobilenet_unet"),
    )
    assert ran.code == 2
    assert "--base applies to --design unet only" in ran.err


def test_figures_without_interval_or_value_are_not_called_nan(cli, tmp_path):
    (tmp_path / "s.csv").write_text("patient,risk,threshold\na,0.2,0.5\nb,0.7,0.5\n")
    (tmp_path / "c.csv").write_text("patient,label\na,good\nb,good\n")
    ran = cli("evaluate", "mil", tmp_path / "s.csv", tmp_path / "c.csv", "--bootstrap", 0)
    assert ran.code == 0, ran.err
    absent = "auc, sensitivity, calibration slope, calibration intercept"
    assert f"not given: {absent}: no patient with a score has a poor outcome" in ran.out
    assert "not given: C-index: the table has no follow-up (time and event)" in ran.out
    assert "accuracy: 0.500\n" in ran.out
    assert "nan" not in ran.out


def test_a_figure_without_an_interval_is_not_certain(cli, tmp_path):
    scores = "".join(f"p{number},0.{number}\n" for number in range(1, 9))
    (tmp_path / "s.csv").write_text(f"patient,risk\n{scores}")
    labels = "".join(f"p{number},{'good' if number < 5 else 'poor'}\n" for number in range(1, 9))
    (tmp_path / "c.csv").write_text(f"patient,label\n{labels}")
    ran = cli("evaluate", "mil", tmp_path / "s.csv", tmp_path / "c.csv", "--bootstrap", 50)
    assert ran.code == 0, ran.err
    assert "auc: 1.000 (no interval: the same in all bootstrap samples)" in ran.out
    ran = cli("evaluate", "mil", tmp_path / "s.csv", tmp_path / "c.csv", "--bootstrap", 0)
    assert "auc: 1.000\n" in ran.out


def test_a_full_disk_is_the_systems_own_words(cli, tmp_path):
    (tmp_path / "s.csv").write_text("patient,risk,threshold\na,0.2,0.5\nb,0.7,0.5\n")
    (tmp_path / "c.csv").write_text("patient,label\na,good\nb,poor\nc,good\nd,poor\n")
    out = tmp_path / "out"
    with no_file_above(10):
        ran = cli("evaluate", "mil", tmp_path / "s.csv", tmp_path / "c.csv", "--out", out)
    assert ran.code == 1
    assert "scores.csv: cannot be written: File too large" in ran.err
    assert list(out.iterdir()) == []
    bags = tmp_path / "bags"
    for patient in "abcd":
        (bags / patient).mkdir(parents=True)
        Image.fromarray(blob_image(0, side=224, count=40)[0]).save(bags / patient / "1.png")
    with no_file_above(20_000):
        ran = cli(
            *("train", "mil", bags, tmp_path / "c.csv", "--out", out, "--mpp", 0.571, "--quiet")
        )
    assert ran.code == 1
    assert re.fullmatch(r"Error: \S+a\.npy: cannot be written: File too large; .*\n", ran.err)
    assert not [path for path in out.rglob("*") if is_temporary(path)]


def test_settings_of_a_training_come_from_a_file(cli, tmp_path):
    bags = tmp_path / "bags"
    for seed, patient in enumerate("abcd"):
        (bags / patient).mkdir(parents=True)
        Image.fromarray(blob_image(seed, side=224, count=40)[0]).save(bags / patient / "1.png")
    labels = tmp_path / "labels.csv"
    labels.write_text("patient,label\na,good\nb,poor\nc,good\nd,poor\n")
    settings = tmp_path / "s.toml"
    common = ("train", "mil", bags, labels, "--mpp", 0.571, "--settings", settings, "--quiet")
    settings.write_text("epochs = 1\ntiles = 1\np = 2\nalpha = 0.02\nseed = 5\n")
    assert cli(*common, "--alpha", 0.01, "--out", tmp_path / "out").code == 0
    used = load_model_folder(tmp_path / "out" / "model", "mil").config
    found = (used.risk.p, used.training["alpha"], used.training["seed"], used.training["tiles"])
    assert found == (2, 0.01, 5, 1)
    for text, told in (("p = 0.5", "p: '0.5': Input should be"), ("crop = 64", "unknown key")):
        settings.write_text(text)
        ran = cli(*common, "--out", tmp_path / "none")
        assert ran.code == 1
        assert re.fullmatch(rf"Error: \S+s\.toml: {told}.*\n", ran.err)
    assert not (tmp_path / "none").exists()


def test_settings_of_a_nuclei_training_come_from_a_file(cli, tmp_path):
    images, masks = blob_folder(tmp_path, 4, side=120)
    settings = tmp_path / "s.toml"
    settings.write_text("epochs = 3\nsteps = 1\nbatch = 2\ncrop = 32\nseed = 5\n")
    out = tmp_path / "out"
    ran = cli(
        *("train", "nuclei", images, masks, "--out", out, "--mpp", 0.571),
        *("--base", 4, "--settings", settings, "--epochs", 1, "--quiet"),
    )
    assert ran.code == 0, ran.err
    used = load_model_folder(out / "model", "nuclei").config.training
    assert (used["epochs"], used["steps"], used["crop"], used["seed"]) == (1, 1, 32, 5)


def test_a_risk_model_is_trained_and_evaluated(cli, tmp_path):
    bags = tmp_path / "bags"
    outcomes = {"a": "6,0", "b": "0.5,1", "c": "5,0", "d": "1.0,1", "e": "2.5,0"}
    for seed, patient in enumerate(outcomes):
        (bags / patient).mkdir(parents=True)
        Image.fromarray(blob_image(seed, side=224, count=40)[0]).save(bags / patient / "1.png")
    labels = tmp_path / "labels.csv"
    rows = [f"{patient},{values}" for patient, values in outcomes.items()]
    labels.write_text("\n".join(["patient,time_years,event", *rows]))
    out = tmp_path / "out"
    small = ("--mpp", 0.571, "--epochs", 1, "--tiles", 1, "--alpha", 0.01, "--power", 2)
    ran = cli("train", "mil", bags, labels, "--out", out, *small)
    assert ran.code == 0, ran.err
    assert "2 good, 2 poor, 1 excluded" in ran.out
    model = load_model_folder(out / "model", "mil")
    assert (model.config.risk.p, model.config.training["alpha"]) == (2, 0.01)
    ran = cli("evaluate", "mil", bags, labels, "--mpp", 0.571, "--model", model.path, "--json")
    scores = json.loads(ran.out)
    assert (scores["good"], scores["poor"]) == (2, 2)
    assert scores["excluded"].keys() == {"e"}
