"""The open training data of DESIGN §8 and how its organs are split, for both shipped models."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from qupath_hccmil.errors import SlideError
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.model_store.model_config import DataUse
from qupath_hccmil.nuclei.training_crops import (
    Sample,
    Source,
    at_model_scale,
    load_source,
    read_groups,
)
from qupath_hccmil.stain.reference import default_reference
from qupath_hccmil.stain.vahadane import Normalizer, fit

# Only organs whose name is certain, so that none of their slides can hide under another name.
CHOOSING = (
    "human lung",
    "human testis",
    "human cerebellum",
    "human umbilical cord",
    "mouse kidney",
)
TEST = ("mouse liver", "human pancreas", "human jejunum", "human tonsil")
# The set doesn't state it; its README in the data folder says why not 0.25.
NUINSSEG_MPP = 0.18

NUINSSEG = DataUse(
    "NuInsSeg (Mahbod et al., Scientific Data 2024)",
    "CC BY 4.0",
    "https://doi.org/10.1038/s41597-024-03117-2",
    "images and nuclei masks",
)
DSB2018 = DataUse(
    "Data Science Bowl 2018 stage 1, colour histology images (BBBC038)",
    "CC0",
    "https://bbbc.broadinstitute.org/BBBC038",
    "images and nuclei masks",
)
IMAGENET = DataUse(
    "MobileNetV2 ImageNet weights (google-coral/test_data)",
    "Apache-2.0",
    "https://github.com/google-coral/test_data",
    "initialisation",
)
CMU1 = DataUse(
    "CMU-1-Small-Region (OpenSlide test data)",
    "CC0",
    "https://openslide.cs.cmu.edu/download/openslide-testdata/Aperio/",
    "stain reference",
)


def nuinsseg(data: Path) -> Source:
    folder = data / "nuinsseg"
    organs = read_groups(folder / "organs.csv", "image", "organ")
    return Source(folder / "images", folder / "masks", NUINSSEG_MPP, organs, weight=0.75)


def dsb2018(data: Path) -> Source:
    folder = data / "dsb2018"
    return Source(folder / "images", folder / "labels", None, weight=0.25)


def of_groups(samples: Iterable[Sample], groups: Iterable[str]) -> list[Sample]:
    chosen = set(groups)
    return [sample for sample in samples if sample.group in chosen]


@cache
def as_scanned(data: Path) -> list[Sample]:
    """NuInsSeg without any change of colour."""
    return load_source(nuinsseg(data), prepare=lambda rgb: rgb)[0]


@cache
def normalizers(data: Path) -> dict[str, Normalizer]:
    """Stain normalisation of each organ of NuInsSeg: an organ counts as a slide."""
    organs = defaultdict(list)
    for sample in as_scanned(data):
        rgb, _ = at_model_scale(sample, TileGeometry().mpp)
        organs[sample.group].append(rgb.reshape(-1, 3))
    fitted = {}
    for organ, pixels in organs.items():
        try:
            fitted[organ] = Normalizer(fit(np.concatenate(pixels)), default_reference())
        except SlideError as error:
            print(f"{organ} left out: {error}", flush=True)
    return fitted


@cache
def stain_normalised(data: Path) -> list[Sample]:
    """NuInsSeg at the model's pixel size, as scoring would show it."""
    mpp, by_organ = TileGeometry().mpp, normalizers(data)
    normalised = []
    for sample in as_scanned(data):
        if sample.group in by_organ:
            rgb, mask = at_model_scale(sample, mpp)
            rgb = by_organ[sample.group].transform(rgb[None])[0]
            normalised.append(replace(sample, rgb=rgb, mask=mask, mpp=mpp))
    return normalised
