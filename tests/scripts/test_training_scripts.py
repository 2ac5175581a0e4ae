"""The scripts that train what ships, whole, on drawn data of a few images."""

import importlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from qupath_hccmil.learning.mobilenet import torchvision_models
from qupath_hccmil.mil.tile_network import load_tile_network
from qupath_hccmil.model_store.model_folder import load_model_folder
from qupath_hccmil.nuclei.architectures import load_nuclei_network
from tests.blobs import blob_folder, blob_image
from tests.conftest import ROOT

MODULES = (
    "open_data",
    "nuclei_recipe",
    "nuclei_designs",
    "nuclei_cross_validation",
    "train_shipped_nuclei",
    "surrogate_cohort",
    "surrogate_ablations",
    "train_surrogate",
)
ORGANS = ("human a", "mouse a", "human b", "human c", "human d")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two fields of each of five organs, a second set, and weights to start from."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("nuinsseg/images", "nuinsseg/masks", "dsb2018/images", "dsb2018/labels"):
        (folder / name).mkdir(parents=True)
    rows = ["image,organ"]
    for number in range(2 * len(ORGANS)):
        rgb, labels = blob_image(number, side=380, count=40, radius=11 + number)
        Image.fromarray(rgb).save(folder / f"nuinsseg/images/{number}.png")
        mask = ((labels > 0) * 255).astype(np.uint8)
        Image.fromarray(mask).save(folder / f"nuinsseg/masks/{number}.png")
        rows.append(f"{number},{ORGANS[number // 2]}")
    (folder / "nuinsseg/organs.csv").write_text("\n".join(rows) + "\n")
    for number in range(4):
        rgb, labels = blob_image(100 + number, side=120, count=10, radius=9)
        Image.fromarray(rgb).save(folder / f"dsb2018/images/{number}.png")
        Image.fromarray(labels.astype(np.uint16)).save(folder / f"dsb2018/labels/{number}.png")
    (folder / "weights").mkdir()
    torch.manual_seed(0)
    weights = torchvision_models().mobilenet_v2(weights=None).state_dict()
    save_file(weights, folder / "weights/mobilenet_v2_imagenet.safetensors")
    return folder


@pytest.fixture(scope="module")
def scripts():
    """The scripts as modules, with few organs held out and short trainings."""
    sys.path.insert(0, str(ROOT / "scripts" / "research"))
    try:
        first = importlib.import_module("open_data")
        first.CHOOSING, first.TEST = ("human b",), ("human c",)
        loaded = {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(str(ROOT / "scripts" / "research"))
    short = replace(
        loaded["nuclei_recipe"].SETTINGS, epochs=1, steps=2, batch=2, crop=64, average=0.5
    )
    for name in MODULES[1:5]:
        loaded[name].SETTINGS = short
    loaded["train_shipped_nuclei"].EPOCHS = 1
    loaded["nuclei_designs"].ROUNDS = 1
    brief = replace(loaded["surrogate_cohort"].SETTINGS, epochs=1, tiles=2, validation_tiles=2)
    for name in MODULES[5:]:
        loaded[name].SETTINGS = brief
    cohort = loaded["surrogate_cohort"]
    cohort.TILES_PER_ORGAN = {"training": 4, "choosing": 4, "test": 6}
    cohort.TILES_PER_PATIENT = 2
    cohort.PATIENTS = {"training": 16, "choosing": 24, "test": 24}
    yield loaded
    for name in MODULES:
        del sys.modules[name]


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments), "--threads", "1"])
    module.main()


def test_what_ships_is_made_by_its_commands(data, scripts, tmp_path, monkeypatch):
    designs = scripts["nuclei_designs"]
    kept = ("U-Net, base 8", "MobileNetV2 U-Net")
    designs.DESIGNS = {name: designs.DESIGNS[name] for name in kept}
    designs.RECIPES, designs.UNTRAINED = {}, {"U-Net, base 4": {"name": "unet", "base": 4}}
    drawn = blob_folder(tmp_path / "drawn", 2)
    domain = ("--domain", "drawn", *drawn, 0.5)
    run(designs, monkeypatch, data, tmp_path / "experiments", *domain)
    chart = tmp_path / "experiments" / "designs.png"
    assert chart.stat().st_size > 5000
    rows = json.loads((tmp_path / "experiments" / "designs.json").read_text())
    assert all(row["tiles_per_second"] > 0 for row in rows.values())

    validation = scripts["nuclei_cross_validation"]
    run(validation, monkeypatch, data, tmp_path / "experiments", "--folds", "2", *domain)
    result = json.loads((tmp_path / "experiments" / "cross_validation.json").read_text())
    assert sorted(organ for fold in result["folds"] for organ in fold) == sorted(ORGANS)
    # Human and mouse of one organ are never on both sides.
    assert any({"human a", "mouse a"} <= set(fold) for fold in result["folds"])
    assert all(row["images"] in (2, 4, 10) for row in result["together"].values())

    experiments = ("--experiments", tmp_path / "experiments", *domain)
    run(scripts["train_shipped_nuclei"], monkeypatch, data, tmp_path / "nuclei", *experiments)
    nuclei = load_model_folder(tmp_path / "nuclei" / "nuclei-unet", "nuclei")
    load_nuclei_network(nuclei)
    card = (nuclei.path / "README.md").read_text(encoding="utf-8")
    for placeholder in ("FIGURES", "DESIGNS", "CROSS_VALIDATION", "SHIFT", "COMMAND"):
        assert placeholder not in card
    assert nuclei.config.training["shift"] in scripts["train_shipped_nuclei"].SHIFTS
    assert "| drawn | " in card
    assert (nuclei.path / "designs.png").read_bytes() == chart.read_bytes()


# A network of two steps puts nearly all patients into one group.
@pytest.mark.filterwarnings("ignore::lifelines.exceptions.ConvergenceWarning")
# Few drawn tiles may all be alike in a feature.
@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_the_surrogate_is_made_by_its_commands(data, scripts, tmp_path, monkeypatch):
    nuclei = ROOT / "models" / "nuclei-unet"
    ablations = scripts["surrogate_ablations"]
    kept = ("without the nuclei channel", "tiles trained one by one on their patient's label")
    ablations.EPOCHS = 1
    ablations.VARIANTS = {name: ablations.VARIANTS[name] for name in kept}
    run(ablations, monkeypatch, data, nuclei, tmp_path / "ablations")
    rows = json.loads((tmp_path / "ablations" / "ablations.json").read_text())
    assert set(rows) == set(kept)

    out = tmp_path / "risk"
    run(
        scripts["train_surrogate"],
        monkeypatch,
        *(data, nuclei, out, "--ablations", tmp_path / "ablations"),
    )
    risk = load_model_folder(out / "hcc-risk-surrogate", "mil")
    load_tile_network(risk)
    assert risk.config.risk.surrogate
    assert risk.config.risk.temperature > 0
    assert risk.config.metrics["test follow-up"]["patients"] == 24
    assert "ABLATIONS" not in (risk.path / "README.md").read_text(encoding="utf-8")
