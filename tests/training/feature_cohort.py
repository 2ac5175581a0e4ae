"""A cohort of files of features with follow-up, whose hazard is a known function of the tiles."""

from pathlib import Path

import numpy as np

from qupath_hccmil.features.feature_file import write_features
from tests.heads.cohorts import simulated

SHA256 = "ab" * 32


def feature_file(path: Path, features: np.ndarray, **of_file) -> Path:
    """A file as the command `features` writes it; None leaves an attribute out."""
    attributes = {
        "qupath_hccmil_version": "1",
        "slide": f"{path.stem}.svs",
        "encoder": "tiny",
        "encoder_sha256": SHA256,
        "tile_level0_px": 512.0,
        "tile_px": 256,
        "mpp": 0.5,
        "stain": "none",
        **of_file,
    }
    coords = np.stack([np.arange(len(features)), np.zeros(len(features))], axis=1).astype(np.int64)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_features(
        path,
        features.astype(np.float32),
        512 * coords,
        of_file={name: value for name, value in attributes.items() if value is not None},
        of_features={},
        of_coords={},
    )
    return path


def feature_cohort(folder: Path, patients: int = 40, seed: int = 0) -> Path:
    """Files of features in `folder`/features, and clinical.csv; every third has two slides."""
    bags, outcomes, _ = simulated(patients, seed=seed)
    rows = ["patient,time_years,event,age,sex"]
    for number, (patient, bag) in enumerate(bags.items()):
        parts = np.array_split(bag.features, 2 if number % 3 == 0 else 1)
        for place, part in enumerate(parts):
            feature_file(folder / "features" / f"{patient}-{place}.h5", part)
        one = outcomes[patient]
        sex = "female" if number % 2 else "male"
        rows.append(f"{patient},{one.time:.4f},{int(one.event)},{40 + number},{sex}")
    (folder / "clinical.csv").write_text("\n".join(rows) + "\n")
    return folder
