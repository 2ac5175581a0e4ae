"""Make a score for TCGA-LIHC that no model has given: a simulation to try the analysis on.

The logit of the score is a noisy function of whether and when the disease progressed and of the
stage, so it predicts. It says nothing about the published model or about any patient.

    python simulate_scores.py tcga_lihc.csv scores_simulated.csv
"""

import sys

import numpy as np
import pandas as pd


def simulate(clinical: pd.DataFrame, seed: int = 2021) -> pd.DataFrame:
    """One row a patient: patient, risk_score in (0, 1), the note ``simulated``."""
    noise = np.random.default_rng(seed).normal(size=len(clinical))
    early = (clinical["pfi_event"] == 1) & (clinical["pfi_days"] < 600)
    late = (clinical["pfi_event"] == 1) & ~early
    advanced = clinical["ajcc_stage"].str.startswith("Stage III", na=False)
    logit = -0.75 + 0.85 * early + 0.35 * late + 0.4 * advanced + 0.85 * noise
    return pd.DataFrame(
        {
            "patient": clinical["patient_id"],
            "risk_score": (1 / (1 + np.exp(-logit))).round(4),
            "model": "simulated",
        }
    )


if __name__ == "__main__":
    table = pd.read_csv(sys.argv[1], keep_default_na=False, na_values=[""])
    simulate(table).to_csv(sys.argv[2], index=False)
