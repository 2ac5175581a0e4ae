"""The open data sets that both R and the tests read, so that their numbers can be compared.

``python -m tests.survival.datasets FOLDER [CLINICAL]`` writes them as CSV for
``reference/reference.R``.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

DAYS_A_YEAR = 365.25


def rossi() -> pd.DataFrame:
    """432 released prisoners, weeks to arrest, heavily tied (lifelines)."""
    from lifelines.datasets import load_rossi

    frame = load_rossi().rename(columns={"week": "time", "arrest": "event"})
    return frame.assign(time=frame["time"].astype(float), score=frame["prio"] / 20.0)


def gbsg2() -> pd.DataFrame:
    """686 patients with breast cancer, years to recurrence (scikit-survival).

    ``score`` is a marker with ties in [0, 1); ``predicted`` a made-up risk of recurrence
    within three years, so that calibration does not rest on a fit.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sksurv.datasets import load_gbsg2

        covariates, outcome = load_gbsg2()
    frame = covariates.copy()
    frame["time"] = outcome["time"] / DAYS_A_YEAR
    frame["event"] = outcome["cens"].astype(int)
    frame["score"] = 1.0 - np.exp(-frame["pnodes"] / 10.0)
    frame["group"] = np.where(frame["pnodes"] > 3, "high", "low")
    hazard = 0.25 * np.exp(0.07 * (frame["pnodes"] - 5) + 0.4 * (frame["tgrade"] == "III"))
    frame["predicted"] = 1.0 - np.exp(-hazard)
    frame["predicted5"] = 1.0 - np.exp(-1.8 * hazard)
    return frame


def cgvhd() -> pd.DataFrame:
    """100 transplanted patients with three competing events (scikit-survival)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sksurv.datasets import load_cgvhd

        covariates, outcome = load_cgvhd()
    frame = covariates.copy()
    frame["time"] = outcome["ftime"].astype(float)
    frame["event"] = outcome["status"].astype(int)
    return frame


def flchain() -> pd.DataFrame:
    """1,575 people of the free light chain study (every fifth, scikit-survival).

    Death of a neoplasm (1) competes with death of something else (2). ``untied`` is the time with
    all ties broken, for R functions that order an event and a censoring at one time differently.
    ``entry_time`` and ``exit_age`` have age as the time scale.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sksurv.datasets import load_flchain

        covariates, outcome = load_flchain()
    frame = covariates.assign(died=outcome["death"], days=outcome["futime"])
    frame = frame[frame["days"] > 0].iloc[::5].reset_index(drop=True)
    years = frame["days"] / DAYS_A_YEAR
    neoplasm = frame["chapter"].astype(str) == "Neoplasms"
    light = np.log(frame["kappa"].astype(float) + frame["lambda"].astype(float))
    predicted = 1 - np.exp(-0.045 * np.exp(0.9 * (light - 1.1) + 0.05 * (frame["age"] - 64)))
    return pd.DataFrame(
        {
            "time": years,
            "untied": years + np.arange(len(frame)) * 1e-7,
            "cause": np.where(frame["died"], np.where(neoplasm, 1, 2), 0),
            "event": frame["died"].astype(int),
            "score": light,
            "group": "Q"
            + pd.Series(np.digitize(light, light.quantile([0.25, 0.5, 0.75])) + 1).astype(str),
            "sex": frame["sex"].astype(str),
            "year": frame["sample.yr"].astype(str),
            "age": frame["age"].astype(float),
            "predicted": predicted,
            "entry_time": frame["age"].astype(float),
            "exit_age": frame["age"].astype(float) + years,
        }
    )


def cohorts() -> pd.DataFrame:
    """Three cohorts of ``flchain``, with a made-up risk of death within eight years, and folds."""
    from qupath_hccmil.survival.statistics.baseline import assigned_folds

    frame = flchain()
    frame = frame[frame["year"].isin(["1995", "1996", "1997"])].reset_index(drop=True)
    hazard = 0.11 * np.exp(0.8 * (frame["score"] - 1.1) + 0.07 * (frame["age"] - 64))
    frame = pd.DataFrame(
        {
            "time": frame["untied"],
            "event": frame["event"],
            "score": frame["score"] + 0.03 * frame["age"],
            "cohort": "Y" + frame["year"],
            "risk": 1 - np.exp(-hazard),
        }
    )
    folds = [
        pd.Series(assigned_folds(part["event"].to_numpy(bool), 7), index=part.index)
        for _, part in frame.groupby("cohort")
    ]
    return frame.assign(fold=pd.concat(folds))


def bmt() -> pd.DataFrame:
    """35 transplanted patients in two groups with two causes, heavily tied (scikit-survival)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sksurv.datasets import load_bmt

        covariates, outcome = load_bmt()
    return pd.DataFrame(
        {
            "time": outcome["ftime"].astype(float),
            "event": outcome["status"].astype(int),
            "group": covariates["dis"].astype(str),
        }
    )


STAGES = {
    "Stage I": "I",
    "Stage II": "II",
    "Stage III": "III-IV",
    "Stage IIIA": "III-IV",
    "Stage IIIB": "III-IV",
    "Stage IIIC": "III-IV",
    "Stage IV": "III-IV",
    "Stage IVA": "III-IV",
    "Stage IVB": "III-IV",
}
SCORES = Path(__file__).parents[2] / "examples" / "survival_tcga" / "scores_simulated.csv"


def tcga(clinical: Path) -> pd.DataFrame:
    """TCGA-LIHC, progression-free interval in years, with the example's simulated score."""
    frame = pd.read_csv(clinical, keep_default_na=False, na_values=[""])
    scores = pd.read_csv(SCORES)
    frame = frame.merge(scores, left_on="patient_id", right_on="patient")
    return pd.DataFrame(
        {
            "time": frame["pfi_days"] / DAYS_A_YEAR,
            "event": frame["pfi_event"].astype(int),
            "score": frame["risk_score"],
            "group": np.where(frame["risk_score"] > 0.4457, "high", "low"),
            "stage": frame["ajcc_stage"].map(STAGES),
            "vascular": frame["vascular_invasion"],
            "age": frame["age"],
            "gender": frame["gender"],
        }
    )


def main(folder: Path, clinical: Path | None) -> None:
    """Write every data set as CSV with 17 digits, so that R reads the same doubles."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = {"rossi": rossi(), "gbsg2": gbsg2(), "cgvhd": cgvhd()}
    frames |= {"flchain": flchain(), "bmt": bmt(), "cohorts": cohorts()}
    if clinical is not None:
        frames["tcga"] = tcga(clinical)
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.17g")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
