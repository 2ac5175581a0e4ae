# %% [markdown]
# # From scores to a survival report
#
# Scores of patients are exported and tested against follow-up. Scores and follow-up of 80 patients
# are **made up** here; put your own tables in their place. For research use only.

# %%
import json
from pathlib import Path

import numpy as np
import pandas as pd

import qupath_hccmil as hm

# %% [markdown]
# ## Scores of patients
#
# `tile_scores` with `level="patient"` gives one row per patient of a project: its slides are joined
# by their tiles. The metadata *Patient ID* of an image says whose it is.

# %%
demo = hm.make_demo_project("notebook-demo", drawn=True, drawn_size=(3000, 2400))
hm.score_project(demo.project, max_tiles=12, seed=1)
patients = hm.tile_scores(demo.project, level="patient")
print(patients[["patient", "images_scored", "tiles", "risk", "group"]].to_string(index=False))

# %% [markdown]
# ## A cohort
#
# One patient is no cohort, so scores of 80 are drawn here, with a hazard that rises with the score.

# %%
rng = np.random.default_rng(7)
names = [f"P{number:02d}" for number in range(80)]
risk = rng.beta(2, 2, len(names))
stage = rng.choice(["I", "II", "III"], len(names))
recurrence = rng.exponential(1500 * np.exp(-2.5 * (risk - 0.5)))
censoring = rng.uniform(300, 2500, len(names))
scores = pd.DataFrame({"patient": names, "risk": risk})
clinical = pd.DataFrame(
    {
        "patient": names,
        "rfs_days": np.minimum(recurrence, censoring).round(1) + 1,
        "recurrence": np.where(recurrence < censoring, "yes", "no"),
        "stage": stage,
    }
)
scores.to_csv("notebook-scores.csv", index=False)
clinical.to_csv("notebook-clinical.csv", index=False)

# %% [markdown]
# ## The report
#
# Every setting of `qupath-hccmil survival` is an argument. More bootstrap samples take longer.

# %%
report = hm.survival_report(
    "notebook-scores.csv",
    "notebook-clinical.csv",
    "notebook-report",
    time="rfs_days",
    event="recurrence",
    horizons=(1.0, 3.0),
    bootstrap=50,
    title="Made-up patients",
)
print(report)

# %% [markdown]
# The report is one HTML file. Its numbers are in tables and in `results.json` next to it.

# %%
results = json.loads((Path(report).parent / "results.json").read_text(encoding="utf-8"))
effects = pd.DataFrame(results["effects"]["univariable"])
columns = ["label", "level", "patients", "events", "hazard_ratio", "lower", "upper"]
print(effects[columns].round(2).to_string(index=False))
