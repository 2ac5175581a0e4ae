from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qupath_hccmil.errors import DataError, ModelError
from qupath_hccmil.model_store.model_folder import load_model_folder
from qupath_hccmil.nuclei.architectures import load_nuclei_network
from qupath_hccmil.nuclei.nuclei_training import NucleiSettings
from qupath_hccmil.training.train_nuclei import evaluate_nuclei, train_nuclei
from tests.blobs import blob_folder

TINY = {"name": "unet", "base": 4, "depth": 2}
SETTINGS = NucleiSettings(epochs=3, steps=12, batch=4, crop=64, average=0.8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nuclei")
    images, masks = blob_folder(folder / "train", 6, side=120)
    (images / "note.png").write_bytes(b"no image")
    (masks / "note.png").write_bytes(b"no image")
    rows = "".join(f"{i},organ {i % 3}\n" for i in range(6))
    (folder / "groups.csv").write_text(f"image,group\n{rows}")
    model = train_nuclei(
        images,
        masks,
        folder / "out",
        mpp=0.571,
        groups=folder / "groups.csv",
        held_out=["organ 1"],
        architecture=TINY,
        settings=SETTINGS,
    )
    return folder, model


def test_gives_a_model_folder_that_loads(trained):
    folder, model = trained
    loaded = load_model_folder(folder / "out" / "model", "nuclei")
    assert loaded.config.architecture == {"name": "unet", "base": 4, "depth": 2, "half": False}
    assert not load_nuclei_network(loaded).training
    assert {image.name for image in model.held_out.images} == {"1", "4"}
    assert any("note.png" in note for note in model.notes)
    for name in ("log.csv", "curve.png", "checkpoint.safetensors"):
        assert (folder / "out" / name).exists()


@pytest.mark.parametrize("colour", ["stain-normalised", "luminosity-standardised"])
def test_its_model_finds_nuclei_in_images_of_any_kind(trained, tmp_path, colour):
    folder, _ = trained
    images, masks = blob_folder(tmp_path, 3, side=140)
    rgb = Image.open(images / "0.png")
    rgb.convert("RGBA").save(images / "0.png")
    Image.open(images / "1.png").quantize(256).save(images / "1.png")
    scores, notes = evaluate_nuclei(
        images, masks, mpp=0.571, model=folder / "out" / "model", colour=colour
    )
    assert len(scores.images) == 3
    assert scores.dice_pooled > 0.6
    figures = scores.as_dict()
    assert figures["dice_pooled"] == scores.dice_pooled
    assert figures["dice_mean"] == pytest.approx(np.mean([i["dice"] for i in figures["images"]]))
    assert notes == []


def test_an_image_without_two_stains_is_still_evaluated(trained, tmp_path):
    folder, _ = trained
    images, masks = blob_folder(tmp_path, 1, side=140)
    Image.new("RGB", (140, 140), "white").save(images / "0.png")
    scores, notes = evaluate_nuclei(
        images, masks, mpp=0.571, model=folder / "out" / "model", colour="stain-normalised"
    )
    assert len(scores.images) == 1
    assert "only luminosity-standardised" in notes[0]


def test_without_groups_it_says_that_the_figure_may_be_optimistic(tmp_path):
    images, masks = blob_folder(tmp_path / "data", 3, side=80)
    settings = NucleiSettings(epochs=1, steps=1, batch=2, crop=32)
    model = train_nuclei(images, masks, tmp_path / "out", architecture=TINY, settings=settings)
    assert any("optimistic" in note for note in model.notes)


def test_another_network_or_start_does_not_go_on_from_a_training(trained):
    folder, _ = trained
    arguments = {
        "mpp": 0.571, "groups": folder / "groups.csv", "held_out": ["organ 1"],
        "settings": SETTINGS,
    }  # fmt: skip
    for other in (
        {"architecture": {**TINY, "base": 8}},
        {"start": folder / "out" / "model"},
    ):
        with pytest.raises(DataError, match="other settings, data or start"):
            train_nuclei(
                folder / "train" / "images", folder / "train" / "masks", folder / "out",
                **arguments, **other,
            )  # fmt: skip


@pytest.mark.parametrize("changed", [0, 4], ids=["trained on", "chooses"])
def test_a_training_does_not_go_on_with_other_pixels_under_the_same_masks(tmp_path, changed):
    images, masks = blob_folder(tmp_path / "data", 5, side=80)
    settings = NucleiSettings(epochs=1, steps=1, batch=2, crop=32)

    def training():
        return train_nuclei(
            images, masks, tmp_path / "out", mpp=0.5, held_out=["4"], architecture=TINY,
            settings=settings,
        )  # fmt: skip

    first = training().folder.config.weights_sha256
    assert training().folder.config.weights_sha256 == first
    path = images / f"{changed}.png"
    Image.fromarray(255 - np.asarray(Image.open(path)) // 2).save(path)
    with pytest.raises(DataError, match="other settings, data or start"):
        training()


def test_one_picture_under_two_names_on_both_sides_is_named(tmp_path):
    images, masks = blob_folder(tmp_path / "data", 4, side=80)
    for folder in (images, masks):
        (folder / "copy.png").write_bytes((folder / "2.png").read_bytes())
    settings = NucleiSettings(epochs=1, steps=1, batch=2, crop=32)
    arguments = {"mpp": 0.5, "architecture": TINY, "settings": settings}
    model = train_nuclei(images, masks, tmp_path / "apart", held_out=["2"], **arguments)
    (note,) = [note for note in model.notes if "same picture" in note]
    assert note.startswith("copy, which is trained on, and 2, which chooses")
    model = train_nuclei(images, masks, tmp_path / "together", held_out=["0"], **arguments)
    assert not [note for note in model.notes if "same picture" in note]


def test_masks_with_white_background_are_asked_about(trained, tmp_path):
    folder, _ = trained
    images, masks = blob_folder(tmp_path, 2, side=80)
    for path in masks.iterdir():
        inverted = (np.asarray(Image.open(path)) == 0).astype(np.uint8) * 255
        Image.fromarray(inverted).save(path)
    _, notes = evaluate_nuclei(images, masks, mpp=0.571, model=folder / "out" / "model")
    assert "of the area of the masks is nuclei" in notes[0]
    settings = NucleiSettings(epochs=1, steps=1, batch=2, crop=32)
    model = train_nuclei(
        images, masks, tmp_path / "out", mpp=0.571, architecture=TINY, settings=settings
    )
    assert notes[0] in model.notes


def test_an_evaluation_without_any_nucleus_says_so(trained, tmp_path):
    folder, _ = trained
    images, masks = blob_folder(tmp_path, 2, side=80)
    for path in masks.iterdir():
        Image.new("L", (80, 80)).save(path)
    _, notes = evaluate_nuclei(images, masks, mpp=0.571, model=folder / "out" / "model")
    assert notes == ["no mask has a nucleus, so the Dice says only whether some were found"]


def test_a_name_that_no_model_may_have_is_refused_before_training(tmp_path):
    images, masks = blob_folder(tmp_path / "data", 3, side=80)
    with pytest.raises(ModelError, match="my model"):
        train_nuclei(images, masks, tmp_path / "out", mpp=0.5, architecture=TINY, name="my model")
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


def test_the_folder_of_images_may_be_where_the_user_is(tmp_path, monkeypatch):
    images, masks = blob_folder(tmp_path / "data", 3, side=80)
    monkeypatch.chdir(images)
    settings = NucleiSettings(epochs=1, steps=1, batch=2, crop=32)
    model = train_nuclei(
        Path(), masks, tmp_path / "out", mpp=0.5, architecture=TINY, settings=settings
    )
    assert model.folder.config.data[0].name == "images"


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        train_nuclei(tmp_path / "none", tmp_path, tmp_path / "out", mpp=0.25)
