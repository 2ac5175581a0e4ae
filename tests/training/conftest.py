"""Tiny models and drawn slides to train on."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from shapely.geometry import box

from qupath_hccmil.model_store.model_config import ModelConfig, RiskConfig
from qupath_hccmil.model_store.model_folder import save_model_folder
from qupath_hccmil.nuclei.unet import UNet
from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from tests.blobs import blob_image
from tests.drawn_slides import write_pyramid
from tests.networks import wired_network

SIDE = 1100


@dataclass(frozen=True)
class TinyModels:
    """Folders of models to start from."""

    nuclei: Path
    start: Path


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> TinyModels:
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    nuclei = save_model_folder(
        folder / "nuclei",
        ModelConfig("nuclei", "nuclei", "1", {"name": "unet", "base": 4, "depth": 2}),
        UNet(4, 2).state_dict(),
        "",
    )
    risk = RiskConfig(3, 0.4457, "none", True, nuclei.reference)
    config = ModelConfig("mil", "start", "1", {"name": "mobilenet_v2"}, risk=risk)
    save_model_folder(folder / "start", config, wired_network(0.001).state_dict(), "")
    return TinyModels(folder / "nuclei", folder / "start")


def drawn_slide(path: Path, seed: int) -> Path:
    """H&E of four 128 µm tiles, drawn in a moment."""
    return write_pyramid(path, blob_image(seed, side=SIDE, count=900, radius=14)[0])


@pytest.fixture(scope="session")
def drawn_cohort(tmp_path_factory) -> Path:
    """Folder of a project, its slides and a table; some of it can't be used.

    Patients p0 to p4 have an outlined slide each, p0 two. A slide is of nobody, one has no
    outline, one file is gone, one patient has no slide.
    """
    folder = tmp_path_factory.mktemp("cohort")
    (folder / "slides").mkdir()
    patients = ["p0", "p1", "p2", "p3", "p4", "p0", "nobody", "p5", "p6"]
    images = []
    for number, patient in enumerate(patients):
        path = drawn_slide(folder / "slides" / f"{patient}-{number}.tif", number)
        outline = NewAnnotation(box(0, 0, SIDE, SIDE), "Tumor")
        annotations = [] if patient == "p5" else [outline]
        metadata = {"Patient ID": patient}
        images.append(
            NewImage(path, path.name, SIDE, SIDE, 0.25, metadata=metadata, annotations=annotations)
        )
    create_project(folder / "project", images)
    (folder / "slides" / "p6-8.tif").unlink()
    rows = ["p0,6,0", "p1,0.5,1", "p2,7,0", "p3,1,1", "p4,9,0", "p5,1,1", "p6,8,0", "p7,1.5,1"]
    rows += ["p8,2,0", "p9,3,1"]
    (folder / "clinical.csv").write_text("\n".join(["patient,time_years,event", *rows]) + "\n")
    return folder
