"""The simulated cohort of the shipped risk model: tiles of tissue, their hazards, patients.

Tiles of real tissue are put together from four fields of one organ of NuInsSeg, since a field
covers only half a tile; tiles of drawn slides are added, as if of one organ more. The test is on
all organs that the nuclei model wasn't trained on, since kinds of tissue differ and few of them
can't show every feature, and on other drawn slides. The epoch is chosen on other tiles and patients
of the organs that are trained on. See `qupath_hccmil.mil.simulated_cohort` for the hazard.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from drawn_tiles import DRAWN, drawn_tiles
from numpy.typing import NDArray
from open_data import CHOOSING, TEST, as_scanned, of_groups, stain_fits
from pandas import DataFrame
from scipy.stats import spearmanr

from qupath_hccmil.learning.device import training_device
from qupath_hccmil.method.aggregation import is_high_risk, risk, slide_logit
from qupath_hccmil.method.concordance import concordance
from qupath_hccmil.method.outcome_label import outcome
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.mil.bags import Bag, StoredBag, chunks, write_bag
from qupath_hccmil.mil.metrics import Estimate, bootstrap
from qupath_hccmil.mil.risk_evaluation import BagScore, TilePredictor
from qupath_hccmil.mil.risk_training import MilSettings
from qupath_hccmil.mil.simulated_cohort import (
    EFFECTS,
    HazardScale,
    Nuclei,
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

TILES_PER_ORGAN = {"training": 150, "choosing": 30, "test": 100}
TILES_PER_PATIENT = 32
PATIENTS = {"training": 1300, "choosing": 160, "test": 250}
# Patients of drawn slides alone, for the second part of the training.
SLIDE_PATIENTS = {"training": 260, "choosing": 60}
DRAWN_NAME = "drawn"
# Of a tile, of each of its fields, and how unlike the fields are (standard deviation of the log).
ENLARGED = (0.8, 1.3)
ENLARGED_AT_MOST = (0.7, 1.5)
LARGEST_SPREAD = 0.4
SEEDS = {"training": 1, "choosing": 2, "test": 3}
SETTINGS = MilSettings(
    epochs=4, halve_every=2, tiles=24, chunk=24, validation_tiles=24, patience=None
)
# The second part: patients of drawn slides, and as many of the others so that nothing is forgotten.
SECOND = replace(SETTINGS, epochs=2, halve_every=1, tiles=12, chunk=12, learning_rate=5e-5)


@dataclass(frozen=True)
class Pool:
    """Tiles of one side of the split.

    Attributes
    ----------
    bag : Bag
    features : list of dict
        See `simulated_cohort.tile_features`.
    hazards : (n,) float64
        True log hazards.
    tissues : (n,) str
        Organ or drawn slide of each tile.
    """

    bag: Bag
    features: list[dict[str, float]]
    hazards: NDArray[np.float64]
    tissues: NDArray[np.str_]

    @property
    def drawn(self) -> NDArray[np.int64]:
        """Numbers of the tiles of drawn slides."""
        return np.flatnonzero(np.char.startswith(self.tissues, DRAWN_NAME))


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


def simulated_cohort(
    data: Path, nuclei: Path, out: Path, options: Any
) -> tuple[dict[str, Side], HazardScale]:
    """Make the tiles, where `out` hasn't them yet, and simulate the patients."""
    out.mkdir(parents=True, exist_ok=True)
    features, tissues = _tiles(data, nuclei, out, options)
    scale = HazardScale.fit(features["training"])
    sides = {}
    for side, rows in features.items():
        hazards = np.array([scale.hazard(tile) for tile in rows])
        bag = StoredBag(out / f"tiles-{side}.npy")
        pool = Pool(bag, rows, hazards, np.array(tissues[side]))
        patients = simulate_patients(
            bag,
            standard_features(scale, rows),
            hazards,
            PATIENTS[side],
            TILES_PER_PATIENT,
            SEEDS[side],
        )
        sides[side] = Side(pool, patients, _labels(patients))
        print(f"{side}: {len(rows)} tiles, {_counts(sides[side])}", flush=True)
    return sides, scale


def slide_patients(side: str, pool: Pool, scale: HazardScale) -> Side:
    """Simulate patients who have one kind of tissue alone, that of drawn slides.

    The hazard is that of the others, but standardised on the drawn tiles of this side: a patient
    of one tissue is compared with others of this tissue.
    """
    numbers = pool.drawn
    hazards = pool.hazards[numbers]
    standard = (hazards - hazards.mean()) / hazards.std()
    features = standard_features(scale, [pool.features[i] for i in numbers])
    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    seed = SEEDS[side] + 10
    count, tiles = SLIDE_PATIENTS[side], min(TILES_PER_PATIENT, len(numbers) // 2)
    drawn = simulate_patients(pool.bag, features, standard, count, tiles, seed)
    patients = [
        replace(patient, bag=replace(patient.bag, indices=numbers[patient.bag.indices]))
        for patient in drawn
    ]
    made = Side(pool, patients, _labels(patients))
    print(f"{side}, of drawn slides alone: {_counts(made)}", flush=True)
    return made


def _labels(patients: Sequence[SimulatedPatient]) -> dict[str, int]:
    return {
        patient.bag.patient: label
        for patient in patients
        if (label := outcome(patient.time, patient.event)[0]) is not None
    }


def _counts(side: Side) -> str:
    good = sum(side.labels.values())
    return f"{len(side.patients)} patients, {good} good and {len(side.labels) - good} poor"


def _tiles(
    data: Path, nuclei: Path, out: Path, options: Any
) -> tuple[dict[str, list[dict[str, float]]], dict[str, list[str]]]:
    """Features and tissue of every tile of each side, whose pixels are in `out`."""
    described = out / "tiles.json"
    if described.exists():
        content = json.loads(described.read_text(encoding="utf-8"))
        return content["features"], content["tissues"]
    drawn = _made_tiles(data, options.workers)
    network = load_nuclei_network(load_model_folder(nuclei, "nuclei"))
    heat = torch_predictor(network.to(training_device(options.device)))
    for side, tiles in drawn.items():
        rgb = [tile.rgb for tile in tiles]
        path = out / f"tiles-{side}.npy"
        write_bag(path, _batches(rgb), len(rgb), TileGeometry().tile_px, heat)
    features = _features(drawn)
    tissues = {side: [tile.tissue for tile in tiles] for side, tiles in drawn.items()}
    content = json.dumps({"features": features, "tissues": tissues})
    described.write_text(content, encoding="utf-8")
    return features, tissues


@dataclass(frozen=True)
class _Tile:
    """A stain-normalised tile, and what its features are computed from."""

    rgb: NDArray[np.uint8]
    nuclei: Nuclei
    stroma: float
    tissue: str


def _made_tiles(data: Path, workers: int) -> dict[str, list[_Tile]]:
    """Tiles of each side; organs and drawn slides are made in processes of their own."""
    # Read before the processes start, so that they share it.
    there = {sample.group for sample in as_scanned(data)} & stain_fits(data).keys()
    test = (*CHOOSING, *TEST)
    others = sorted(there - set(test))
    organs = {"training": others, "choosing": others, "test": sorted(test)}
    jobs: list[tuple[str, Callable[..., list[_Tile]], tuple[Any, ...]]] = [
        (side, _organ_tiles, (data, organ, TILES_PER_ORGAN[side], [SEEDS[side], number]))
        for side, names in organs.items()
        for number, organ in enumerate(names)
    ]
    jobs += [(side, _slide_tiles, (data, seed)) for side, seeds in DRAWN.items() for seed in seeds]
    tiles: dict[str, list[_Tile]] = {side: [] for side in organs}
    if workers <= 1:
        for side, make, given in jobs:
            tiles[side] += make(*given)
        return tiles
    with ProcessPoolExecutor(workers, get_context("fork")) as processes:
        futures = [(side, processes.submit(make, *given)) for side, make, given in jobs]
        for side, future in futures:
            tiles[side] += future.result()
    return tiles


def _organ_tiles(data: Path, organ: str, count: int, seed: Sequence[int]) -> list[_Tile]:
    cv2.setNumThreads(0)
    rng = np.random.default_rng(seed)
    members = of_groups(as_scanned(data), [organ])
    normalizer = Normalizer(stain_fits(data)[organ], default_reference())
    return [_measured(*_composite(members, normalizer, rng), organ) for _ in range(count)]


def _slide_tiles(data: Path, seed: int) -> list[_Tile]:
    cv2.setNumThreads(0)
    tiles = drawn_tiles(data, seed)
    name = f"{DRAWN_NAME} {seed}"
    return [_measured(rgb, mask, name) for rgb, mask in zip(tiles.rgb, tiles.masks, strict=True)]


def _measured(rgb: NDArray[np.uint8], mask: NDArray[np.bool_], tissue: str) -> _Tile:
    mpp = TileGeometry().mpp
    haematoxylin, eosin = _stains(rgb)
    nuclei = measure_nuclei(mask, haematoxylin, mpp)
    return _Tile(rgb, nuclei, stroma_fraction(mask, haematoxylin, eosin, mpp), tissue)


def _composite(
    members: Sequence[Sample], normalizer: Normalizer, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
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
    return normalizer.transform(rgb[None])[0], mask


def _features(drawn: dict[str, list[_Tile]]) -> dict[str, list[dict[str, float]]]:
    dark = float(np.median(np.concatenate([t.nuclei.haematoxylin for t in drawn["training"]])))
    return {
        side: [tile_features(tile.nuclei, tile.stroma, dark) for tile in tiles]
        for side, tiles in drawn.items()
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
    stands what remains of it with the others and the tissue held fixed: the coefficient of a linear
    regression of the logit on all features, each less its mean in the tissue, in standard
    deviations. Tissues differ in more than these features, and a network that never saw one can't
    know its level; without holding it fixed, nine organs would decide the sign. Tiles of organs
    alone; the hazard's own coefficients are there to compare.
    """
    real = np.setdiff1d(np.arange(len(logits)), pool.drawn)
    columns = standard_features(scale, [pool.features[i] for i in real])
    hazards, tissues = pool.hazards[real], pool.tissues[real]
    of_hazard = _within(hazards, columns, tissues)
    intervals = [
        asdict(bootstrap(partial(_coefficient, number), logits[real], columns, tissues))
        for number in range(len(EFFECTS))
    ]
    return {
        "tiles": len(real),
        "spearman_hazard": _spearman(logits[real], hazards),
        "features": {
            name: {
                "spearman": _spearman(logits[real], columns[:, number]),
                "adjusted": intervals[number],
                "hazard_spearman": _spearman(hazards, columns[:, number]),
                "hazard_adjusted": float(of_hazard[number]),
            }
            for number, name in enumerate(EFFECTS)
        },
    }


def _within(
    y: NDArray[np.float64], x: NDArray[np.float64], tissues: NDArray[np.str_]
) -> NDArray[np.float64]:
    """Coefficients of `y` on the columns of `x`, with the tissue held fixed."""
    y, x = y.astype(np.float64).copy(), x.copy()
    for tissue in np.unique(tissues):
        rows = tissues == tissue
        y[rows] -= y[rows].mean()
        x[rows] -= x[rows].mean(axis=0)
    return np.asarray(np.linalg.lstsq(x, y / (np.std(y) or 1.0), rcond=None)[0], dtype=np.float64)


def _coefficient(
    number: int, y: NDArray[np.float64], x: NDArray[np.float64], tissues: NDArray[np.str_]
) -> float:
    """One of the coefficients of `_within`."""
    return float(_within(y, x, tissues)[number])


def _spearman(values: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    return round(float(spearmanr(values, others)[0]), 3)


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
    from lifelines import CoxPHFitter

    frame = DataFrame({"time": times, "event": events, "high": high.astype(float)})
    row = CoxPHFitter().fit(frame, "time", "event").summary.loc["high"]
    value, low, high = row[["exp(coef)", "exp(coef) lower 95%", "exp(coef) upper 95%"]]
    return Estimate(float(value), float(low), float(high))
