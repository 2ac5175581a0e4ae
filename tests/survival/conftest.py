"""Data sets of the survival tests, each made once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.survival import datasets


@pytest.fixture(scope="session")
def rossi() -> pd.DataFrame:
    frame = datasets.rossi()
    return frame.assign(group=np.where(frame["prio"] > 2, "high", "low"), younger=-frame["age"])


@pytest.fixture(scope="session")
def gbsg2() -> pd.DataFrame:
    return datasets.gbsg2()


@pytest.fixture(scope="session")
def cgvhd() -> pd.DataFrame:
    return datasets.cgvhd()


@pytest.fixture(scope="session")
def tcga_file(data_dir: Path) -> Path:
    path = data_dir / "clinical" / "tcga_lihc.csv"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    return path


@pytest.fixture(scope="session")
def tcga(tcga_file: Path) -> pd.DataFrame:
    return datasets.tcga(tcga_file).dropna(subset=["time"]).reset_index(drop=True)


@pytest.fixture
def frame_of(request: pytest.FixtureRequest):
    """Looks a data set up by name, so that tests can be parametrised over them."""
    return request.getfixturevalue


def made_cohort(patients: int = 120, seed: int = 3) -> pd.DataFrame:
    """A cohort whose score predicts, with a category, a number and missing values."""
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.02, 0.98, patients)
    stage = rng.choice(["I", "II", "III"], patients, p=[0.5, 0.3, 0.2])
    rate = 0.15 * np.exp(1.8 * (score - 0.5) + 0.5 * (stage == "III"))
    event_time = rng.exponential(1 / rate)
    censored = rng.uniform(1, 9, patients)
    age = np.where(rng.uniform(size=patients) < 0.05, np.nan, rng.normal(60, 10, patients).round())
    return pd.DataFrame(
        {
            "patient": [f"P{i:03d}" for i in range(patients)],
            "risk_score": score.round(4),
            "rfs_days": np.ceil(np.minimum(event_time, censored) * 365.25),
            "rfs_event": (event_time <= censored).astype(int),
            "stage": stage,
            "age": age,
        }
    )


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    """The made cohort as the two files that a user has."""
    frame = made_cohort()
    scores, clinical = tmp_path / "scores.csv", tmp_path / "clinical.csv"
    frame[["patient", "risk_score"]].to_csv(scores, index=False)
    frame.drop(columns="risk_score").to_csv(clinical, index=False)
    return scores, clinical
