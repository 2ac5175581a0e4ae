"""``train`` and ``evaluate``: a model from folders, and its figures, through the command line."""

import json

from PIL import Image

from qupath_hccmil.model_folder import load_model_folder
from tests.blobs import blob_folder, blob_image


def test_a_nuclei_model_is_trained_and_evaluated(cli, tmp_path):
    images, masks = blob_folder(tmp_path, 4, side=180)
    out = tmp_path / "out"
    small = ("--mpp", 0.571, "--epochs", 1, "--steps", 1, "--base", 4)
    ran = cli("train", "nuclei", images, masks, "--out", out, *small)
    assert ran.code == 0, ran.err
    assert "epoch 1: loss" in ran.out
    assert "flatters" in ran.out
    assert load_model_folder(out / "model", "nuclei").config.architecture["base"] == 4
    ran = cli(
        "evaluate", "nuclei", images, masks, "--mpp", 0.571, "--model", out / "model", "--json"
    )
    scores = json.loads(ran.out)
    assert len(scores["images"]) == 4
    assert 0 <= scores["dice_pooled"] <= 1


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
        assert config.architecture["name"] == "mobilenet_unet"
    ran = cli(
        *("train", "nuclei", images, masks, "--out", tmp_path / "no", "--base", 8),
        *("--design", "mobilenet_unet"),
    )
    assert ran.code == 2
    assert "--base is of a unet" in ran.err


def test_a_risk_model_is_trained_and_evaluated(cli, tmp_path):
    bags = tmp_path / "bags"
    outcomes = {"a": "6,0", "b": "0.5,1", "c": "5,0", "d": "1.0,1", "e": "2.5,0"}
    for seed, patient in enumerate(outcomes):
        (bags / patient).mkdir(parents=True)
        Image.fromarray(blob_image(seed, side=224, count=40)[0]).save(bags / patient / "1.png")
    labels = tmp_path / "labels.csv"
    rows = [f"{patient},{values}" for patient, values in outcomes.items()]
    labels.write_text("\n".join(["patient,time,event", *rows]))
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
