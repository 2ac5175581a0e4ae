"""A simulated cohort on real tissue, with a known hazard, because no outcomes were published.

The hazard of a tile follows from features that pathologists found more often in high-risk than in
low-risk tiles (Liu et al. 2021): stroma, cytological atypia and nuclear hyperchromasia raise it,
immune infiltration lowers it. A patient is a bag of tiles, and recurrence is drawn from the mean
hazard of the bag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.mil.bags import Bag

# Log odds ratios from the published 2×2 tables of 200 high-risk and 200 low-risk tiles: stroma
# 25/4, atypia 36/11, hyperchromasia 28/7, immune infiltration 3/19. Atypia (1.33) is the sum of
# nuclear size and its variation, each divided by √2, so that its variance is 1 like the others'.
EFFECTS: Mapping[str, float] = {
    "stroma": 1.95,
    "nuclear_size": 0.94,
    "size_variation": 0.94,
    "hyperchromasia": 1.50,
    "immune_infiltration": -1.93,
}
SMALLEST_UM2 = 8.0
_SINGLE_SOLIDITY = 0.9
_IMMUNE_DIAMETER_UM = 6.0
_IMMUNE_ROUNDNESS = 0.75
_FEWEST_NUCLEI = 5
# Eosin-stained tissue at least this far from any nucleus counts as stroma: in cellular tissue there
# is a nucleus every 10 to 20 µm.
_STROMA_FROM_NUCLEUS_UM = 8.0
_STROMA_EOSIN = 0.25


@dataclass(frozen=True)
class Nuclei:
    """The single nuclei of a tile, as columns.

    Attributes
    ----------
    area : (n,) float64
        µm².
    roundness : (n,) float64
        ``4π·area/perimeter²``, 1 for a circle.
    haematoxylin : (n,) float64
        Mean concentration within the nucleus.
    """

    area: NDArray[np.float64]
    roundness: NDArray[np.float64]
    haematoxylin: NDArray[np.float64]


def measure_nuclei(
    mask: NDArray[np.bool_], haematoxylin: NDArray[np.float64], mpp: float
) -> Nuclei:
    """Measure the nuclei of a mask.

    Specks, and touching nuclei that are merged in a binary mask (not convex), are left out.

    Parameters
    ----------
    mask : (h, w) bool
    haematoxylin : (h, w) float
        Concentration.
    mpp : float
        µm/px.
    """
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    rows = []
    for contour in contours:
        area = cv2.contourArea(contour)
        hull = cv2.contourArea(cv2.convexHull(contour))
        if area * mpp**2 < SMALLEST_UM2 or area < _SINGLE_SOLIDITY * hull:
            continue
        x, y, w, h = cv2.boundingRect(contour)
        inside = np.zeros((h, w), dtype=np.uint8)
        cv2.drawContours(inside, [contour - (x, y)], -1, 1, cv2.FILLED)
        density = haematoxylin[y : y + h, x : x + w][inside > 0].mean()
        roundness = 4 * np.pi * area / cv2.arcLength(contour, closed=True) ** 2
        rows.append((area * mpp**2, roundness, density))
    area_, roundness_, density_ = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return Nuclei(area_, roundness_, density_)


def stroma_fraction(
    mask: NDArray[np.bool_],
    haematoxylin: NDArray[np.float64],
    eosin: NDArray[np.float64],
    mpp: float,
) -> float:
    """Share of a tile, in [0, 1], that is stained by eosin and is far from any nucleus.

    Parameters
    ----------
    mask : (h, w) bool
        Nuclei.
    haematoxylin, eosin : (h, w) float
        Concentrations.
    mpp : float
        µm/px.
    """
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    pink = (eosin > _STROMA_EOSIN) & (eosin > haematoxylin)
    return float((pink & (away * mpp > _STROMA_FROM_NUCLEUS_UM)).mean())


def tile_features(nuclei: Nuclei, stroma: float, dark: float) -> dict[str, float]:
    """Reduce a tile to the features of `EFFECTS`.

    Parameters
    ----------
    nuclei : Nuclei
    stroma : float
        See `stroma_fraction`.
    dark : float
        Haematoxylin above which a small round nucleus counts as that of an immune cell.

    Returns
    -------
    dict
        NaN for features that need at least five nuclei, if there are fewer.
    """
    diameter = np.sqrt(4 * nuclei.area / np.pi)
    immune = (
        (diameter < _IMMUNE_DIAMETER_UM)
        & (nuclei.roundness > _IMMUNE_ROUNDNESS)
        & (nuclei.haematoxylin > dark)
    )
    enough = len(nuclei.area) >= _FEWEST_NUCLEI
    nothing = float("nan")
    return {
        "stroma": stroma,
        "nuclear_size": float(np.log(nuclei.area).mean()) if enough else nothing,
        "size_variation": float(np.log(nuclei.area).std()) if enough else nothing,
        "hyperchromasia": float(nuclei.haematoxylin.mean()) if enough else nothing,
        "immune_infiltration": float(np.log1p(immune.sum())),
    }


@dataclass(frozen=True)
class HazardScale:
    """Mean and standard deviation of each feature and of the weighted sum, on training tiles."""

    mean: Mapping[str, float]
    deviation: Mapping[str, float]
    spread: float

    @classmethod
    def fit(cls, features: Sequence[Mapping[str, float]]) -> HazardScale:
        """Measure the scale on tiles, ignoring absent values of each feature."""
        columns = {name: np.array([f[name] for f in features]) for name in EFFECTS}
        mean = {name: float(np.nanmean(values)) for name, values in columns.items()}
        deviation = {name: float(np.nanstd(values)) or 1.0 for name, values in columns.items()}
        scale = cls(mean, deviation, 1.0)
        return cls(mean, deviation, float(np.std([scale.hazard(f) for f in features])))

    def standard(self, features: Mapping[str, float]) -> dict[str, float]:
        """Features as deviations from the mean, in standard deviations; 0 for absent values."""
        return {
            name: float(np.nan_to_num((features[name] - self.mean[name]) / self.deviation[name]))
            for name in EFFECTS
        }

    def hazard(self, features: Mapping[str, float]) -> float:
        """Log hazard of a tile: `EFFECTS` times its features, with variance 1 on training tiles."""
        standard = self.standard(features)
        return sum(EFFECTS[name] * standard[name] for name in EFFECTS) / self.spread


@dataclass(frozen=True)
class PooledBag:
    """The tiles of a simulated patient, from a pool that all patients share."""

    patient: str
    pool: Bag
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Tiles ``(n, 4, s, s)`` uint8."""
        return self.pool.read(self.indices[indices])


@dataclass(frozen=True)
class SimulatedPatient:
    """A simulated patient: a bag, its true hazard, and the follow-up drawn from it."""

    bag: PooledBag
    hazard: float
    time: float
    event: int


def simulate_patients(
    pool: Bag,
    features: NDArray[np.float64],
    hazards: NDArray[np.float64],
    count: int,
    tiles: int,
    seed: int,
    *,
    tilt: float = 0.7,
    strength: float = 3.0,
    rate: float = 0.12,
) -> list[SimulatedPatient]:
    """Simulate patients whose recurrence depends on their tiles.

    Parameters
    ----------
    pool : Bag
        Tiles from which patients are made.
    features : (n, k) float64
        Standard deviations of each tile from the mean, see `HazardScale.standard`.
    hazards : (n,) float64
        Log hazard of each tile of the pool.
    count, tiles, seed : int
        Number of patients, number of tiles of each patient, and seed.
    tilt : float
        How similar the tiles of a patient are: tiles are drawn with a probability proportional to
        ``exp(tilt·Σ u_f·feature_f)``, with standard normal u_f for each patient, so that patients
        differ in every feature separately and not only in the hazard.
    strength : float
        Log hazard ratio of a patient per unit of mean tile hazard.
    rate : float
        Recurrences per year at hazard 0.

    Returns
    -------
    list of SimulatedPatient
        Time in years. Recurrence is exponential; follow-up ends between 3 and 12 years.
    """
    rng = np.random.default_rng(seed)
    patients = []
    for number in range(count):
        chance = np.exp(tilt * features @ rng.normal(size=features.shape[1]))
        indices = np.sort(rng.choice(len(hazards), size=tiles, p=chance / chance.sum()))
        hazard = float(hazards[indices].mean())
        recurrence = rng.exponential(1 / (rate * np.exp(strength * hazard)))
        end = rng.uniform(3, 12)
        bag = PooledBag(f"simulated-{seed}-{number:04d}", pool, indices)
        patients.append(
            SimulatedPatient(bag, hazard, float(min(recurrence, end)), int(recurrence <= end))
        )
    return patients
