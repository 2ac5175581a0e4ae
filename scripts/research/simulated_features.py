"""A simulated cohort of features, with a planted hazard, centres with colour shifts, and faults.

    python scripts/research/simulated_features.py OUT --patients 240 --confounded

writes feature files in the layout of CLAM and TRIDENT (OUT/features), small slides whose colours
are those of their centre (OUT/slides), and OUT/tcga_lihc.csv with columns of TCGA-LIHC. A tile's
log hazard is a weighted sum of some of its latent properties, and a patient's is the mean of its
tiles, so both the order of tiles and the best possible C-index are known. Each centre shifts all
features of its slides, as another stain does. A confounded centre has early events whatever its
tiles show.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from qupath_hccmil.features.feature_file import write_features

CENTRES = ("A", "B", "C")
CONFOUNDED = "D"
COLOURS = {"A": (201, 142, 178), "B": (188, 120, 170), "C": (214, 160, 190), "D": (176, 132, 182)}
DAYS_A_YEAR = 365.25
STAGES = ("Stage I", "Stage II", "Stage III")
_LATENT, _WIDTH = 6, 24
_HAZARD = np.array([1.0, -0.8, 0.6, 0.0, 0.0, 0.0])
TILE_LEVEL0_PX = 512
SLIDE = "-01Z-00-DX1"  # the part of a TCGA barcode that names a diagnostic slide


@dataclass(frozen=True)
class SimulatedPatient:
    """A patient with everything that was planted.

    Attributes
    ----------
    name, centre : str
    features : (n, d) float32
    coords : (n, 2) int64
        Level-0 px.
    tile_hazard : (n,) float64
        Log hazard of each tile.
    hazard : float
        Log hazard of the patient, from its tiles alone.
    time : float
        Years.
    event : int
    age : float
    stage : str
    colour : (3,) float64
        Mean red, green and blue of the slide.
    """

    name: str
    centre: str
    features: NDArray[np.float32]
    coords: NDArray[np.int64]
    tile_hazard: NDArray[np.float64]
    hazard: float
    time: float
    event: int
    age: float
    stage: str
    colour: NDArray[np.float64]


def simulate(
    patients: int = 240,
    *,
    seed: int = 0,
    tiles: tuple[int, int] = (60, 140),
    strength: float = 1.6,
    shift: float = 1.0,
    confounded: bool = False,
) -> list[SimulatedPatient]:
    """Simulate patients.

    Parameters
    ----------
    patients : int
        Spread evenly over three centres, or four with a confounded one.
    seed : int
    tiles : (int, int)
        Fewest and most tiles of a patient.
    strength : float
        Log hazard ratio per unit of a patient's mean tile hazard; 0 for none.
    shift : float
        Size of the centres' shifts, in standard deviations of a feature.
    confounded : bool
        Add a centre whose patients have early events whatever their tiles show.
    """
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(_LATENT, _WIDTH)) / np.sqrt(_LATENT)
    names = (*CENTRES, *((CONFOUNDED,) if confounded else ()))
    shifts = {name: shift * rng.normal(size=_WIDTH) for name in names}
    found = []
    for number in range(patients):
        centre = names[number % len(names)]
        count = int(rng.integers(tiles[0], tiles[1] + 1))
        latent = rng.normal(size=_LATENT) * 0.7 + rng.normal(size=(count, _LATENT))
        noise = 0.3 * rng.normal(size=(count, _WIDTH))
        features = latent @ mixing + shifts[centre] + noise
        tile_hazard = latent @ _HAZARD
        hazard = strength * float(tile_hazard.mean())
        age = float(np.round(rng.normal(62, 10)))
        stage = int(rng.choice(3, p=[0.5, 0.3, 0.2]))
        rate = 0.18 * np.exp(hazard + 0.02 * (age - 62) + 0.25 * stage)
        wait, end = rng.exponential(1 / rate), rng.uniform(2.0, 10.0)
        if centre == CONFOUNDED:
            wait, end = rng.exponential(0.4), 10.0
        side = int(np.ceil(np.sqrt(count)))
        grid = np.stack(np.divmod(np.arange(count), side)[::-1], axis=1)
        found.append(
            SimulatedPatient(
                f"SIM-{centre}{number:04d}",
                centre,
                features.astype(np.float32),
                grid * TILE_LEVEL0_PX,
                tile_hazard,
                hazard,
                float(min(wait, end)),
                int(wait <= end),
                age,
                STAGES[stage],
                np.array(COLOURS[centre], float) + rng.normal(size=3) * 4,
            )
        )
    return found


def clinical_table(cohort: list[SimulatedPatient]) -> pd.DataFrame:
    """The cohort with the columns of TCGA-LIHC's table."""
    days = [max(1, round(one.time * DAYS_A_YEAR)) for one in cohort]
    return pd.DataFrame(
        {
            "patient_id": [one.name for one in cohort],
            "age": [int(one.age) for one in cohort],
            "ajcc_stage": [one.stage for one in cohort],
            "pfi_event": [one.event for one in cohort],
            "pfi_days": days,
            "tissue_source_site": [one.centre for one in cohort],
        }
    )


def write_cohort(cohort: list[SimulatedPatient], out: Path) -> None:
    """Write ``features``, ``slides`` and ``tcga_lihc.csv`` into a folder."""
    features, slides = out / "features", out / "slides"
    slides.mkdir(parents=True, exist_ok=True)
    for one in cohort:
        Image.fromarray(_picture(one)).save(slides / f"{one.name}{SLIDE}.tif")
        write_features(
            features / f"{one.name}{SLIDE}.h5",
            one.features,
            one.coords,
            of_file={},
            of_features={"encoder": "simulated", "name": f"{one.name}{SLIDE}"},
            of_coords={
                "patch_size": 256,
                "patch_size_level0": TILE_LEVEL0_PX,
                "level0_magnification": 40,
                "target_magnification": 20,
                "name": f"{one.name}{SLIDE}",
            },
        )
    clinical_table(cohort).to_csv(out / "tcga_lihc.csv", index=False)


def _picture(one: SimulatedPatient) -> NDArray[np.uint8]:
    """A patch of tissue in the colour of the slide, on glass; no two are equal."""
    rgb = np.full((64, 96, 3), 255, np.uint8)
    rgb[8:56, 8:80] = np.clip(one.colour, 0, 220).astype(np.uint8)
    marks = np.frombuffer(one.name.encode(), np.uint8)
    rgb[8, 8 : 8 + len(marks)] = np.stack([100 + marks // 2, marks // 2, 90 + marks // 2], axis=1)
    return rgb


def main() -> None:
    """Write a cohort."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--patients", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strength", type=float, default=1.6)
    parser.add_argument("--confounded", action="store_true")
    given = parser.parse_args()
    cohort = simulate(
        given.patients, seed=given.seed, strength=given.strength, confounded=given.confounded
    )
    write_cohort(cohort, given.out)
    print(f"{given.out}: {len(cohort)} patients")


if __name__ == "__main__":
    main()
