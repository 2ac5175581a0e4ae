"""The scripts that train what ships, whole, on drawn data of a few images."""

import importlib
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from qupath_hccmil.errors import DataError
from qupath_hccmil.learning.mobilenet import torchvision_models
from qupath_hccmil.mil.tile_network import load_tile_network
from qupath_hccmil.model_store.model_folder import load_model_folder
from qupath_hccmil.nuclei.architectures import build_network, load_nuclei_network
from qupath_hccmil.stain import vahadane
from tests.blobs import blob_folder, blob_image
from tests.conftest import ROOT

MODULES = (
    "open_data",
    "nuclei_recipe",
    "nuclei_ablations",
    "nuclei_cross_validation",
    "nuclei_speed",
    "train_shipped_nuclei",
    "drawn_tiles",
    "pack_data",
    "surrogate_cohort",
    "surrogate_ablations",
    "train_surrogate",
)
ORGANS = ("human a", "mouse a", "human b", "human c", "human d")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two fields of each of five organs, three patients, a third set, and weights to start from."""
    folder = tmp_path_factory.mktemp("data")
    kinds = ("nuinsseg/images", "nuinsseg/masks", "dsb2018/images", "dsb2018/labels")
    for name in (*kinds, "tnbc/images", "tnbc/masks"):
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
    for number in range(3):
        rgb, labels = blob_image(200 + number, side=260, count=30, radius=11)
        Image.fromarray(rgb).save(folder / f"tnbc/images/0{number + 1}_1.png")
        mask = ((labels > 0) * 255).astype(np.uint8)
        Image.fromarray(mask).save(folder / f"tnbc/masks/0{number + 1}_1.png")
    (folder / "weights").mkdir()
    torch.manual_seed(0)
    weights = torchvision_models().mobilenet_v2(weights=None).state_dict()
    save_file(weights, folder / "weights/mobilenet_v2_imagenet.safetensors")
    return folder


@pytest.fixture(scope="module")
def scripts():
    """The scripts as modules, with few organs held out, short trainings and quick stain fits."""
    sys.path.insert(0, str(ROOT / "scripts" / "research"))
    try:
        first = importlib.import_module("open_data")
        first.CHOOSING, first.TEST = ("human b",), ("human c",)
        first.CHOOSING_PATIENTS = ("TNBC 03",)
        loaded = {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(str(ROOT / "scripts" / "research"))
    recipe = loaded["nuclei_recipe"]
    recipe.SETTINGS = replace(recipe.SETTINGS, epochs=1, steps=2, batch=2, crop=112, average=0.5)
    loaded["nuclei_speed"].ROUNDS = 1
    ablations = loaded["nuclei_ablations"]
    kept = ("shipped: enlarged 9/7 times", ablations.PLAIN_COLOURS)
    ablations.RECIPES = {name: ablations.RECIPES[name] for name in kept}
    brief = replace(loaded["surrogate_cohort"].SETTINGS, epochs=1, tiles=2, validation_tiles=2)
    for name in ("surrogate_cohort", "surrogate_ablations", "train_surrogate"):
        loaded[name].SETTINGS = brief
    loaded["train_surrogate"].SECOND = brief
    loaded["train_surrogate"].SLIDE_PATIENTS = {"training": 40, "choosing": 40}
    loaded["surrogate_cohort"].SLIDE_PATIENTS = {"training": 40, "choosing": 40}
    drawn = loaded["drawn_tiles"]
    # Drawn slides of a few tiles.
    drawn.WIDTH, drawn.HEIGHT = 3072, 2560
    drawn.DRAWN = {"training": (11,), "choosing": (13,), "test": (12,)}
    loaded["surrogate_cohort"].DRAWN = loaded["pack_data"].DRAWN = drawn.DRAWN
    cohort = loaded["surrogate_cohort"]
    cohort.TILES_PER_ORGAN = {"training": 4, "choosing": 4, "test": 6}
    cohort.TILES_PER_PATIENT = 2
    cohort.PATIENTS = {"training": 16, "choosing": 24, "test": 24}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vahadane, "_ITERATIONS", 200)
        yield loaded
    for name in MODULES:
        del sys.modules[name]


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()


def test_what_ships_is_made_by_its_commands(data, scripts, tmp_path, monkeypatch):
    parts = tmp_path / "experiments"
    threads = ("--threads", "1")
    run(scripts["nuclei_ablations"], monkeypatch, data, parts, *threads)
    rows = json.loads((parts / "ablations.json").read_text())
    assert len(rows) == 2
    assert all("choosing patients, stain-normalised" in row for row in rows.values())
    augment = scripts["nuclei_ablations"].augment
    assert augment.TINTED > 0, "the recipe without tint must not change the next training"

    run(scripts["nuclei_cross_validation"], monkeypatch, data, parts, *threads)
    rows = json.loads((parts / "cross_validation.json").read_text())
    counted = {name: row["images"] for name, row in rows.items()}
    assert counted["NuInsSeg, luminosity-standardised"] == 10
    assert counted["DSB2018, luminosity-standardised"] == 4
    assert counted["TNBC, luminosity-standardised"] == 3

    run(scripts["nuclei_speed"], monkeypatch, parts)
    assert "shipped" in (parts / "speed.md").read_text()

    domain = ("--domain", "drawn", *blob_folder(tmp_path / "drawn", 2), 0.5)
    experiments = ("--experiments", parts, *domain, *threads)
    run(scripts["train_shipped_nuclei"], monkeypatch, data, tmp_path / "nuclei", *experiments)
    nuclei = load_model_folder(tmp_path / "nuclei" / "nuclei-unet", "nuclei")
    load_nuclei_network(nuclei)
    card = (nuclei.path / "README.md").read_text(encoding="utf-8")
    for placeholder in ("FIGURES", "ABLATIONS", "CROSS_VALIDATION", "SPEED"):
        assert placeholder not in card
    assert "| drawn, stain-normalised | " in card
    assert nuclei.config.training["temperature"] > 0


def test_the_fitted_temperature_of_divided_logits_is_1(data, scripts):
    recipe = scripts["nuclei_recipe"]
    torch.manual_seed(0)
    network = build_network({**recipe.ARCHITECTURE, "zoom": 1.0})
    recipe.divide_logits(network, 0.5)
    samples = scripts["open_data"].luminosity_standardised(data, "TNBC")
    recipe.divide_logits(network, recipe.fitted_temperature(network, samples))
    limits = recipe.TEMPERATURES[[0, -1]]
    again = recipe.fitted_temperature(network, samples)
    assert again == pytest.approx(1, abs=0.05) or again in pytest.approx(limits)


def test_a_training_does_not_go_on_with_another_network_of_the_same_shape(data, scripts, tmp_path):
    """The enlargement of the input is in no weight, so that only the origin tells them apart."""
    recipe = scripts["nuclei_recipe"]
    options = SimpleNamespace(threads=1, device="cpu", workers=0)
    brief = {"epochs": 1, "steps": 1, "batch": 1}
    small = {"name": "mobilenet_unet", "widths": [8, 8, 8], "zoom": 1.0}
    recipe.make_network(recipe.Recipe(small, brief), data, tmp_path, options)
    other = recipe.Recipe({**small, "zoom": 9 / 7}, brief)
    with pytest.raises(DataError, match="other settings, data or start"):
        recipe.make_network(other, data, tmp_path, options)


def test_packed_data_are_read_like_the_data(data, scripts, tmp_path, monkeypatch):
    packed_data = tmp_path / "packed"
    run(scripts["pack_data"], monkeypatch, data, packed_data)
    read = scripts["open_data"].stain_normalised
    of_data, packed = read(data, "TNBC"), read(packed_data, "TNBC")
    assert [s.name for s in packed] == [s.name for s in of_data]
    assert [s.group for s in packed] == [s.group for s in of_data]
    assert np.abs(packed[0].rgb.astype(int) - of_data[0].rgb).mean() < 6
    assert len(scripts["drawn_tiles"].drawn_tiles(packed_data, 11).rgb)


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
    run(ablations, monkeypatch, data, nuclei, tmp_path / "ablations", "--threads", "1")
    rows = json.loads((tmp_path / "ablations" / "ablations.json").read_text())
    assert set(rows) == set(kept)

    out = tmp_path / "risk"
    run(
        scripts["train_surrogate"],
        monkeypatch,
        *(data, nuclei, out, "--ablations", tmp_path / "ablations", "--threads", "1"),
    )
    risk = load_model_folder(out / "hcc-risk-surrogate", "mil")
    load_tile_network(risk)
    assert risk.config.risk.surrogate
    assert risk.config.risk.temperature > 0
    assert risk.config.metrics["test follow-up"]["patients"] == 24
    assert "ABLATIONS" not in (risk.path / "README.md").read_text(encoding="utf-8")
