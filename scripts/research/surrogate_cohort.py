"""The simulated cohort of the shipped risk model: tiles of real tissue, their hazards, patients.

Tiles are put together from four fields of one organ of NuInsSeg, since a field covers only half a
tile. The test is on all organs that the nuclei model wasn't trained on: kinds of tissue differ, and
few of them can't show every feature. The epoch is chosen on other tiles and patients of the organs
that are trained on. See `qupath_hccmil.mil.simulated_cohort` for the hazard.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lifelines import CoxPHFitter
from numpy.typing import NDArray
from open_data import CHOOSING, TEST, as_scanned, of_groups, stain_fits
from pandas import DataFrame
from scipy.stats import spearmanr

from qupath_hccmil.method.aggregation import is_high_risk, risk, slide_logit
from qupath_hccmil.method.concordance import concordance
from qupath_hccmil.method.outcome_label import outcome
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.mil.bags import StoredBag, chunks, write_bag
from qupath_hccmil.mil.metrics import Estimate, bootstrap
from qupath_hccmil.mil.risk_evaluation import BagScore, TilePredictor
from qupath_hccmil.mil.risk_training import MilSettings
from qupath_hccmil.mil.simulated_cohort import (
    EFFECTS,
    HazardScale,
    PooledBag,
    SimulatedPatient,
    measure_nuclei,
    simulate_patients,
    stroma_fraction,
    tile_features,
)
from qupath_hccmil.model_store.model_folder import load_model_folder
from qupath_hccmil.nuclei.architectures import load_nuclei_network
from qupath_hccmil.nuclei.dice_evaluation import torch_predictor
from qupath_hccmil.nuclei.training_crops import Sample, random_crop
from qupath_hccmil.stain.colour import optical_density
from qupath_hccmil.stain.concentrations import concentrations
from qupath_hccmil.stain.reference import default_reference
from qupath_hccmil.stain.vahadane import Normalizer

TILES_PER_ORGAN = {"training": 60, "choosing": 20, "test": 100}
TILES_PER_PATIENT = 32
PATIENTS = {"training": 700, "choosing": 120, "test": 250}
# Of a tile, of each of its fields, and how unlike the fields are (standard deviation of the log).
ENLARGED = (0.8, 1.3)
ENLARGED_AT_MOST = (0.7, 1.5)
LARGEST_SPREAD = 0.4
SEEDS = {"training": 1, "choosing": 2, "test": 3}
# A step of the published training has 100 tiles and there are many passes; this one is for a
# laptop. With its few tiles a step the published rate, 1e-4, swings between certainties.
SETTINGS = MilSettings(
    learning_rate=3e-5, epochs=3, halve_every=2, tiles=8, validation_tiles=8, patience=None
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
    test = (*CHOOSING, *TEST)
    organs_there = {sample.group for sample in as_scanned(data)}
    others = sorted(organs_there & stain_fits(data).keys() - set(test))
    organs = {"training": others, "choosing": others, "test": test}
    drawn = {
        side: _tiles(data, names, TILES_PER_ORGAN[side], SEEDS[side])
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
            pool.bag,
            standard_features(scale, features[side]),
            hazards,
            PATIENTS[side],
            TILES_PER_PATIENT,
            SEEDS[side],
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


def _tiles(data: Path, organs: Sequence[str], of_each: int, seed: int) -> list[_Tile]:
    rng, fits = np.random.default_rng(seed), stain_fits(data)
    tiles = []
    for organ in sorted(organs):
        if organ in fits:
            members = of_groups(as_scanned(data), [organ])
            normalizer = Normalizer(fits[organ], default_reference())
            tiles += [_composite(members, normalizer, rng) for _ in range(of_each)]
    return tiles


def _composite(
    members: Sequence[Sample], normalizer: Normalizer, rng: np.random.Generator
) -> _Tile:
    """One tile of four fields of an organ, each at a random place, turn and enlargement.

    Enlarged tissue has larger nuclei, and fields enlarged unalike have nuclei of many sizes: both
    signs of atypia, which then don't go with the organ.
    """
    geometry = TileGeometry()
    half = geometry.tile_px // 2
    rgb = np.empty((2 * half, 2 * half, 3), dtype=np.uint8)
    mask = np.empty((2 * half, 2 * half), dtype=bool)
    scale, spread = rng.uniform(*np.log(ENLARGED)), rng.uniform(0, LARGEST_SPREAD)
    for y in (0, half):
        for x in (0, half):
            enlarged = float(np.clip(np.exp(rng.normal(scale, spread)), *ENLARGED_AT_MOST))
            sample = members[int(rng.integers(len(members)))]
            field, share = random_crop(sample, half, geometry.mpp, rng, (enlarged, enlarged))
            quarter = int(rng.integers(4))
            window = np.s_[y : y + half, x : x + half]
            rgb[window], mask[window] = np.rot90(field, quarter), np.rot90(share > 0.5, quarter)
    return _Tile(normalizer.transform(rgb[None])[0], mask)


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


def standard_features(
    scale: HazardScale, features: Sequence[dict[str, float]]
) -> NDArray[np.float64]:
    """Tiles' features ``(n, k)`` in the order of `EFFECTS`, as deviations from the mean."""
    rows = [scale.standard(tile) for tile in features]
    return np.array([[row[name] for name in EFFECTS] for row in rows])


def pool_logits(predict: TilePredictor, pool: Pool) -> NDArray[np.float64]:
    """Logit of every tile of a pool."""
    parts = chunks(np.arange(len(pool.bag)), 16)
    return np.concatenate([predict(pool.bag.read(part)) for part in parts]).astype(np.float64)


def patient_scores(
    logits: NDArray[np.float64], patients: Sequence[SimulatedPatient], p: float
) -> list[BagScore]:
    """Score patients from the logits of the pool that their tiles are of."""
    slides = [slide_logit(logits[patient.bag.indices], p) for patient in patients]
    return [
        BagScore(patient.bag.patient, len(patient.bag), logit, float(risk(logit)))
        for patient, logit in zip(patients, slides, strict=True)
    ]


def tile_figures(logits: NDArray[np.float64], pool: Pool, scale: HazardScale) -> dict[str, Any]:
    """How the tile logit goes with the true hazard and with each feature.

    Features go together in tissue: large nuclei are pale, say. So beside Spearman's ρ with each
    stands what remains of it with the others held fixed: the coefficient of a linear regression
    of the logit on all features, in standard deviations. The hazard's own are there to compare.
    """
    columns = standard_features(scale, pool.features)
    of_hazard = _coefficients(pool.hazards, columns)
    intervals = [
        asdict(bootstrap(lambda y, x, f=feature: _coefficients(y, x)[f], logits, columns))
        for feature in range(len(EFFECTS))
    ]
    return {
        "tiles": len(logits),
        "spearman_hazard": _spearman(logits, pool.hazards),
        "features": {
            name: {
                "spearman": _spearman(logits, columns[:, number]),
                "adjusted": intervals[number],
                "hazard_spearman": _spearman(pool.hazards, columns[:, number]),
                "hazard_adjusted": float(of_hazard[number]),
            }
            for number, name in enumerate(EFFECTS)
        },
    }


def _spearman(values: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    return round(float(spearmanr(values, others)[0]), 3)


def _coefficients(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of `y`, in its standard deviations, on the columns of `x`."""
    design = np.column_stack([np.ones(len(y)), x])
    fitted: NDArray[np.float64] = np.linalg.lstsq(design, y / (np.std(y) or 1.0), rcond=None)[0]
    return fitted[1:]


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
