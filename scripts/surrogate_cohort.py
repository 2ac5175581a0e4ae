"""The simulated cohort of the shipped risk model: tiles of real tissue, their hazards, patients.

Tiles are put together from four fields of one organ of NuInsSeg, since a field covers only half a
tile. The test is on all organs that the nuclei model wasn't trained on: kinds of tissue differ, and
few of them can't show every feature. The epoch is chosen on other tiles and patients of the organs
that are trained on. See `qupath_hccmil.mil.surrogate` for the hazard.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lifelines import CoxPHFitter
from numpy.typing import NDArray
from open_data import CHOOSING, TEST, of_groups, stain_normalised
from pandas import DataFrame
from scipy.stats import spearmanr

from qupath_hccmil.concordance import concordance
from qupath_hccmil.mil.aggregation import is_high_risk
from qupath_hccmil.mil.bags import StoredBag, chunks, write_bag
from qupath_hccmil.mil.cohort import outcome
from qupath_hccmil.mil.evaluate import BagScore, TilePredictor
from qupath_hccmil.mil.metrics import Estimate, bootstrap
from qupath_hccmil.mil.surrogate import (
    EFFECTS,
    HazardScale,
    PooledBag,
    SimulatedPatient,
    measure_nuclei,
    simulate_patients,
    stroma_fraction,
    tile_features,
)
from qupath_hccmil.mil.train import MilSettings
from qupath_hccmil.model_folder import load_model_folder
from qupath_hccmil.nuclei.data import Sample
from qupath_hccmil.nuclei.evaluate import torch_predictor
from qupath_hccmil.nuclei.model import load_nuclei_network
from qupath_hccmil.slide.geometry import TileGeometry
from qupath_hccmil.stain.colour import optical_density
from qupath_hccmil.stain.concentrations import concentrations
from qupath_hccmil.stain.reference import default_reference

TILES_PER_ORGAN = {"training": 60, "choosing": 15, "test": 60}
TILES_PER_PATIENT = 32
PATIENTS = {"training": 340, "choosing": 90, "test": 250}
SEEDS = {"training": 1, "choosing": 2, "test": 3}
# A step of the published training has 100 tiles and there are many passes; this one is for a
# laptop. With its few tiles a step the published rate, 1e-4, swings between certainties.
SETTINGS = MilSettings(
    learning_rate=3e-5, epochs=4, halve_every=2, tiles=8, validation_tiles=8, patience=None
)


@dataclass(frozen=True)
class Pool:
    """Tiles of one side of the split.

    Attributes
    ----------
    bag : StoredBag
    features : list of dict
        See `surrogate.tile_features`.
    hazards : (n,) float64
        True log hazards.
    """

    bag: StoredBag
    features: list[dict[str, float]]
    hazards: NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """Simulated patients of one side of the split."""

    pool: Pool
    patients: list[SimulatedPatient]
    labels: dict[str, int]

    @property
    def bags(self) -> list[PooledBag]:
        """Of the patients of a distinct outcome."""
        return [p.bag for p in self.patients if p.bag.patient in self.labels]


def simulated_cohort(data: Path, nuclei: Path, out: Path) -> tuple[dict[str, Side], HazardScale]:
    """Make the tiles, where `out` hasn't them yet, and simulate the patients."""
    out.mkdir(parents=True, exist_ok=True)
    samples = stain_normalised(data)
    test = (*CHOOSING, *TEST)
    others = sorted({s.group for s in samples} - set(test))
    organs = {"training": others, "choosing": others, "test": test}
    drawn = {
        side: _tiles(of_groups(samples, names), TILES_PER_ORGAN[side], SEEDS[side])
        for side, names in organs.items()
    }
    features = _features(drawn)
    scale = HazardScale.fit(features["training"])
    heat = torch_predictor(load_nuclei_network(load_model_folder(nuclei, "nuclei")))
    sides = {}
    for side, tiles in drawn.items():
        path = out / f"tiles-{side}.npy"
        if not path.exists():
            rgb = [tile.rgb for tile in tiles]
            write_bag(path, _batches(rgb), len(rgb), TileGeometry().tile_px, heat)
        hazards = np.array([scale.hazard(tile) for tile in features[side]])
        pool = Pool(StoredBag(path), features[side], hazards)
        patients = simulate_patients(
            pool.bag, hazards, PATIENTS[side], TILES_PER_PATIENT, SEEDS[side]
        )
        labels = {
            patient.bag.patient: label
            for patient in patients
            if (label := outcome(patient.time, patient.event)[0]) is not None
        }
        sides[side] = Side(pool, patients, labels)
        print(
            f"{side}: {len(tiles)} tiles of {len(organs[side])} organs, {len(patients)} patients, "
            f"{sum(labels.values())} good and {len(labels) - sum(labels.values())} poor",
            flush=True,
        )
    return sides, scale


@dataclass(frozen=True)
class _Tile:
    rgb: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def _tiles(samples: Sequence[Sample], of_each: int, seed: int) -> list[_Tile]:
    organs = defaultdict(list)
    for sample in samples:
        organs[sample.group].append(sample)
    rng = np.random.default_rng(seed)
    return [_composite(organs[organ], rng) for organ in sorted(organs) for _ in range(of_each)]


def _composite(members: Sequence[Sample], rng: np.random.Generator) -> _Tile:
    """One tile of four fields of an organ, each at a random place and turn."""
    side = TileGeometry().tile_px
    half = side // 2
    rgb = np.empty((side, side, 3), dtype=np.uint8)
    mask = np.empty((side, side), dtype=bool)
    for y in (0, half):
        for x in (0, half):
            sample = members[int(rng.integers(len(members)))]
            top, left = (int(rng.integers(extent - half + 1)) for extent in sample.mask.shape)
            quarter = int(rng.integers(4))
            window = np.s_[top : top + half, left : left + half]
            rgb[y : y + half, x : x + half] = np.rot90(sample.rgb[window], quarter)
            mask[y : y + half, x : x + half] = np.rot90(sample.mask[window], quarter)
    return _Tile(rgb, mask)


def _features(drawn: dict[str, list[_Tile]]) -> dict[str, list[dict[str, float]]]:
    mpp = TileGeometry().mpp
    measured: dict[str, list[tuple[Any, float]]] = {}
    for side, tiles in drawn.items():
        measured[side] = []
        for tile in tiles:
            haematoxylin, eosin = _stains(tile.rgb)
            nuclei = measure_nuclei(tile.mask, haematoxylin, mpp)
            stroma = stroma_fraction(tile.mask, haematoxylin, eosin, mpp)
            measured[side].append((nuclei, stroma))
    dark = float(np.median(np.concatenate([n.haematoxylin for n, _ in measured["training"]])))
    return {
        side: [tile_features(nuclei, stroma, dark) for nuclei, stroma in rows]
        for side, rows in measured.items()
    }


def _stains(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Concentrations of haematoxylin and eosin of a normalised tile, each ``(s, s)``."""
    density = optical_density(rgb.reshape(-1, 3))
    first, second = concentrations(density, default_reference().matrix)
    return first.reshape(rgb.shape[:2]), second.reshape(rgb.shape[:2])


def _batches(rgb: Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    for part in chunks(np.arange(len(rgb)), 8):
        yield np.stack([rgb[int(i)] for i in part])


def tile_figures(predict: TilePredictor, side: Side, scale: HazardScale) -> dict[str, float]:
    """How the tile logit goes with the true hazard and with each feature (Spearman's ρ)."""
    bag, pool = side.pool.bag, side.pool
    logits = np.concatenate([predict(bag.read(part)) for part in chunks(np.arange(len(bag)), 16)])
    standard = [scale.standard(features) for features in pool.features]
    of_feature = {name: [s[name] for s in standard] for name in EFFECTS}
    return {
        "tiles": len(logits),
        **{
            f"spearman_{name}": round(float(spearmanr(logits, values)[0]), 3)
            for name, values in {"hazard": pool.hazards, **of_feature}.items()
        },
    }


def follow_up_figures(
    scores: Sequence[BagScore], patients: Sequence[SimulatedPatient], threshold: float
) -> dict[str, Any]:
    """C-index of the risk, and the hazard ratio of the high- against the low-risk group.

    All patients count, also those without a distinct outcome.
    """
    risks = np.array([score.risk for score in scores])
    times = np.array([patient.time for patient in patients])
    events = np.array([patient.event for patient in patients])
    high = is_high_risk(risks, threshold)
    return {
        "patients": len(scores),
        "high": int(high.sum()),
        "c_index": asdict(bootstrap(concordance, times, events, risks)),
        "hazard_ratio": asdict(_hazard_ratio(times, events, high)),
    }


def _hazard_ratio(
    times: NDArray[np.float64], events: NDArray[np.int64], high: NDArray[np.bool_]
) -> Estimate:
    """Of the high against the low group, by Cox regression; NaN where all are in one."""
    if high.all() or not high.any():
        return Estimate(np.nan, np.nan, np.nan)
    frame = DataFrame({"time": times, "event": events, "high": high.astype(float)})
    row = CoxPHFitter().fit(frame, "time", "event").summary.loc["high"]
    value, low, high = row[["exp(coef)", "exp(coef) lower 95%", "exp(coef) upper 95%"]]
    return Estimate(float(value), float(low), float(high))
