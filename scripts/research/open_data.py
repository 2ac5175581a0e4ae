"""The open training data of DESIGN §8 and how its organs are split, for both shipped models."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
from qupath_hccmil.stain.vahadane import Normalizer, StainFit, fit

# Only organs whose name is certain, so that none of their slides can hide under another name.
CHOOSING = (
    "human lung",
    "human testis",
    "human cerebellum",
    "human umbilical cord",
    "mouse kidney",
)
TEST = ("mouse liver", "human pancreas", "human jejunum", "human tonsil")
# Patients of TNBC, of whom the others are trained on: these choose the epoch and the temperature.
CHOOSING_PATIENTS = ("TNBC 03", "TNBC 07", "TNBC 10")
# Stain fits that pack_data.py left in DATA, by name of the set and of the slide or image.
STAINS = "stains.json"
# The set doesn't state it; its README in the data folder says why not 0.25.
NUINSSEG_MPP = 0.18
TNBC_MPP = 0.25

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
TNBC = DataUse(
    "TNBC (Naylor et al., IEEE TMI 2018; Zenodo 1175282)",
    "CC BY 4.0",
    "https://doi.org/10.1109/TMI.2018.2865709",
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
    return Source(folder / "images", folder / "masks", NUINSSEG_MPP, organs, name="NuInsSeg")


def dsb2018(data: Path) -> Source:
    folder = data / "dsb2018"
    return Source(folder / "images", folder / "labels", None, name="DSB2018")


def tnbc(data: Path) -> Source:
    """The first two digits of a field's name are the patient's."""
    folder = data / "tnbc"
    patients = {path.stem: f"TNBC {path.stem[:2]}" for path in (folder / "images").iterdir()}
    return Source(folder / "images", folder / "masks", TNBC_MPP, patients, name="TNBC")


SOURCES = {"NuInsSeg": nuinsseg, "DSB2018": dsb2018, "TNBC": tnbc}


def of_groups(samples: Iterable[Sample], groups: Iterable[str]) -> list[Sample]:
    chosen = set(groups)
    return [sample for sample in samples if sample.group in chosen]


@cache
def as_scanned(data: Path, source: str = "NuInsSeg") -> list[Sample]:
    """Fields of a set without any change of colour."""
    return load_source(SOURCES[source](data), prepare=lambda rgb: rgb)[0]


@cache
def luminosity_standardised(data: Path, source: str = "NuInsSeg") -> list[Sample]:
    return load_source(SOURCES[source](data))[0]


def fit_stains(data: Path, source: str) -> dict[str, StainFit]:
    """Fit the stains of each slide of a set, and of each field alone.

    An organ of NuInsSeg counts as a slide, and so does a patient of TNBC. What has too little
    tissue for a fit is left out.
    """
    pixels: dict[str, list[NDArray[np.uint8]]] = defaultdict(list)
    for sample in as_scanned(data, source):
        rgb = at_model_scale(sample, TileGeometry().mpp)[0].reshape(-1, 3)
        for name in {sample.group, sample.name}:
            pixels[name].append(rgb)
    fitted = {}
    for name, parts in pixels.items():
        try:
            fitted[name] = fit(np.concatenate(parts), name=name)
        except SlideError as error:
            print(f"{name} left out: {error}", flush=True)
    return fitted


@cache
def stain_fits(data: Path, source: str = "NuInsSeg") -> dict[str, StainFit]:
    """Stains of each slide of a set, and of each field by itself, by their names."""
    stored = data / STAINS
    if not stored.exists():
        return fit_stains(data, source)
    content = json.loads(stored.read_text(encoding="utf-8"))[source]
    return {name: StainFit.from_dict(values) for name, values in content.items()}


@cache
def stain_normalised(
    data: Path, source: str = "NuInsSeg", *, by_itself: bool = False
) -> list[Sample]:
    """Fields of a set in the colours that scoring would show.

    Parameters
    ----------
    data : Path
    source : str
    by_itself : bool
        Stains of the field alone and not of its slide, which errs more, as on a slide with little
        tissue.
    """
    fitted = stain_fits(data, source)
    by_name = defaultdict(list)
    for sample in as_scanned(data, source):
        by_name[sample.name if by_itself else sample.group].append(sample)

    def normalise(name: str) -> list[Sample]:
        # Its table of colours takes up to 64 MB, so that few may live at a time.
        normalizer = Normalizer(fitted[name], default_reference())
        return [replace(s, rgb=normalizer.transform(s.rgb[None])[0]) for s in by_name[name]]

    with ThreadPoolExecutor() as threads:
        parts = threads.map(normalise, sorted(by_name.keys() & fitted.keys()))
        return [sample for part in parts for sample in part]


def drawn_as(
    data: Path, source: str, share: float, *, normalised: float, without: Sequence[str] = ()
) -> list[Sample]:
    """Fields of a set for training: as they are, and as scoring would show them.

    Parameters
    ----------
    data : Path
    source : str
    share : float
        Share of this set among all crops.
    normalised : float
        Share of stain-normalised crops among these: half by the stains of the slide, half by
        those of the field.
    without : sequence of str
        Groups that are held out.
    """
    held_out = set(without)
    colours = (
        (luminosity_standardised(data, source), 1 - normalised),
        (stain_normalised(data, source), normalised / 2),
        (stain_normalised(data, source, by_itself=True), normalised / 2),
    )
    drawn = []
    for samples, part in colours:
        kept = [sample for sample in samples if sample.group not in held_out]
        drawn += [replace(sample, weight=share * part / len(kept)) for sample in kept if part]
    return drawn
