import errno
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from qupath_hccmil.errors import DataError, ModelError, WriteError
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.mil.risk_training import MilSettings
from qupath_hccmil.mil.tile_network import load_tile_network
from qupath_hccmil.model_store.model_config import ModelConfig, ModelReference
from qupath_hccmil.model_store.model_folder import load_model_folder, save_model_folder
from qupath_hccmil.nuclei.unet import UNet
from qupath_hccmil.training.evaluate_mil import evaluate_mil
from qupath_hccmil.training.image_folders import field_tiles
from qupath_hccmil.training.prepare_bags import Tiling
from qupath_hccmil.training.train_mil import train_mil
from tests.blobs import blob_image

MPP = 128 / 224


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, models):
    """Five patients of two fields each, their follow-up, and models to start from."""
    folder = tmp_path_factory.mktemp("mil")
    for number in range(5):
        images = folder / "bags" / f"p{number}"
        images.mkdir(parents=True)
        for field in range(2):
            rgb, _ = blob_image(10 * number + field, side=150, count=30)
            Image.fromarray(rgb).save(images / f"{field}.png")
    (folder / "labels.csv").write_text(
        "patient,time_years,event\np0,6,0\np1,0.5,1\np2,7,0\np3,1,1\np4,2,1\nabsent,1,1\n"
    )
    model = train_mil(
        folder / "bags",
        folder / "labels.csv",
        folder / "out",
        tiling=Tiling(mpp=MPP),
        start=models.start,
        nuclei=models.nuclei,
        share=0.5,
        settings=MilSettings(epochs=1, tiles=2),
    )
    return folder, model


def test_trains_a_model_folder_and_says_who_was_used(cohort, models):
    folder, model = cohort
    loaded = load_model_folder(folder / "out" / "model", "mil")
    assert loaded.config.risk.threshold == 0.4457
    assert loaded.config.risk.surrogate is False
    assert loaded.config.risk.nuclei_model.name == "nuclei"
    assert not load_tile_network(loaded).training
    lines = model.choices.lines()
    assert "column “time_years” in years" in lines[0]
    assert lines[1:] == [
        "Table: 2 good, 3 poor, 1 excluded (1 recurrence at 1.6 years or later)",
        "Left out: 1 patient: no slide",
        "Trained on, from folders of images: 2 good, 2 poor",
    ]
    assert len(model.held_out.bags) == 2
    assert (folder / "out" / "bags" / "p0.npy").exists()


def test_prepared_bags_score_as_the_images_do(cohort, models):
    folder, _ = cohort
    arguments = {"model": folder / "out" / "model", "nuclei": models.nuclei}
    labels = folder / "labels.csv"
    from_images = evaluate_mil(folder / "bags", labels, tiling=Tiling(mpp=MPP), **arguments)
    prepared = evaluate_mil(folder / "out" / "bags", labels, **arguments)
    # Nothing was prepared in training of whom it doesn't use; their follow-up counts here.
    assert [score.patient for score in from_images.patients] == ["p0", "p1", "p2", "p3", "p4"]
    assert from_images.patients[:4] == prepared.patients
    assert (from_images.followed, prepared.followed) == (5, 4)
    assert len(prepared.scores.bags) == 4
    assert "patients of the table without a score (2): absent, p4" in prepared.notes


def test_needs_a_resolution_and_the_right_nuclei_model(cohort, models, tmp_path):
    folder, _ = cohort
    model, labels = folder / "out" / "model", folder / "labels.csv"
    with pytest.raises(DataError, match="give --mpp"):
        evaluate_mil(folder / "bags", labels, model=model, nuclei=models.nuclei)
    with pytest.raises(DataError, match=r"bags: is not a QuPath project, so --image p1 can't"):
        evaluate_mil(
            folder / "bags", labels, tiling=Tiling(mpp=MPP, images=("p1",)), model=model,
            nuclei=models.nuclei,
        )  # fmt: skip
    other = save_model_folder(
        tmp_path / "other",
        ModelConfig("nuclei", "other", "1", {"name": "unet", "base": 4, "depth": 2}),
        {name: tensor + 1 for name, tensor in UNet(4, 2).state_dict().items()},
        "",
    )
    with pytest.raises(DataError, match="trained with another nuclei model"):
        evaluate_mil(
            folder / "bags", labels, tiling=Tiling(mpp=MPP), model=model, nuclei=other.path
        )
    assert isinstance(other.reference, ModelReference)


def test_a_copy_of_the_nuclei_model_is_whole_or_not_there(cohort, models, tmp_path, monkeypatch):
    """Else a training that was killed while it copied could not be continued."""
    folder, _ = cohort
    real = shutil.copytree

    def full(source, target, **given):
        real(source, target, **given)
        (target / "config.json").unlink()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    arguments = {"tiling": Tiling(mpp=MPP), "start": models.start, "nuclei": models.nuclei}
    with pytest.raises(WriteError, match=r"nuclei: cannot be written: No space left"):
        train_mil(folder / "bags", folder / "labels.csv", tmp_path, **arguments)
    # Nothing is left of it, and no tile was prepared before.
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model", "bags", "folds"])
def test_a_nuclei_model_named_like_a_folder_of_results_is_refused(cohort, models, tmp_path, name):
    """Copied next to the risk model, it would be replaced by it."""
    folder, _ = cohort
    loaded = load_model_folder(models.nuclei, "nuclei")
    config = replace(loaded.config, name=name)
    other = save_model_folder(tmp_path / "other", config, loaded.weights(), "")
    with pytest.raises(ModelError, match=f"its name is '{name}', .* another --name"):
        train_mil(
            folder / "bags", folder / "labels.csv", tmp_path / "out", tiling=Tiling(mpp=MPP),
            start=models.start, nuclei=other.path,
        )  # fmt: skip
    assert list((tmp_path / "out").iterdir()) == []


def test_bags_prepared_otherwise_are_refused(cohort, models):
    folder, _ = cohort
    with pytest.raises(DataError, match=r"bags were made with another mpp; use another --out"):
        train_mil(
            folder / "bags",
            folder / "labels.csv",
            folder / "out",
            tiling=Tiling(mpp=0.25),
            start=models.start,
            nuclei=models.nuclei,
        )


@pytest.mark.parametrize(
    ("labels", "folds", "message"),
    [
        ("good good good", 0, r"3 good, 0 poor, .*needs at least 2 patients of each outcome"),
        ("good good poor", 0, r"2 good, 1 poor, .*needs at least 2 patients of each outcome"),
        ("good good poor poor", 2, "2 patients with a poor outcome are too few for 2 folds"),
    ],
)
def test_a_table_that_cannot_be_split_is_refused_before_tiles_are_prepared(
    tmp_path, labels, folds, message
):
    table = tmp_path / "labels.csv"
    rows = [f"p{number},{label}" for number, label in enumerate(labels.split())]
    table.write_text("\n".join(["patient,label", *rows]))
    with pytest.raises(DataError, match=message):
        train_mil(tmp_path, table, tmp_path / "out", folds=folds)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("side", "tiles"), [(100, 1), (224, 1), (225, 4), (500, 9)])
def test_tiles_cover_a_field(side, tiles):
    rgb = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    found = field_tiles(rgb, MPP, TileGeometry())
    assert found.shape == (tiles, 224, 224, 3)
    np.testing.assert_array_equal(found[0, :90, :90], rgb[:90, :90])
