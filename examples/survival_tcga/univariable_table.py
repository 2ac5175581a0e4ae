"""The univariable Cox table of TCGA-LIHC beside the published one, as Markdown.

python univariable_table.py tcga_lihc.csv
"""

import sys
from dataclasses import replace
from pathlib import Path

from qupath_hccmil.survival.analysis_cohort import read_cohort
from qupath_hccmil.survival.analysis_settings import read_settings
from qupath_hccmil.survival.statistics.cox import univariable
from qupath_hccmil.survival.statistics.variables import VariableRequest

HERE = Path(__file__).parent
# Liu et al. 2021 (arXiv 2106.00090), 302 patients of TCGA with 165 events; reference stage I.
PUBLISHED = {("ajcc_stage", "II"): "1.94", ("ajcc_stage", "III–IV"): "3.08"}
# What else the open data has; not in the report's example, where it would cost events per variable.
FURTHER = (
    VariableRequest("afp_ng_ml", kind="numeric", log=True, label="AFP (ng/ml)", missing=("0",)),
    VariableRequest("child_pugh", label="Child–Pugh", merge={"B": "B–C", "C": "B–C"}),
    VariableRequest(
        "residual_tumor",
        label="Residual tumour",
        merge={"R1": "R1–R2", "R2": "R1–R2"},
        missing=("RX",),
    ),
    VariableRequest(
        "ishak_fibrosis",
        label="Ishak fibrosis",
        levels=("0", "1–4", "5–6"),
        merge={
            "0 - No Fibrosis": "0",
            "1,2 - Portal Fibrosis": "1–4",
            "3,4 - Fibrous Speta": "1–4",
            "5 - Nodular Formation and Incomplete Cirrhosis": "5–6",
            "6 - Established Cirrhosis": "5–6",
        },
    ),
)


def table(clinical: Path) -> str:
    """Every patient of the open data who has the variable; nobody is excluded."""
    settings = read_settings(HERE / "tcga_lihc.toml")
    every = (*(settings.variables or ()), *FURTHER)
    settings = replace(settings, exclude=(), variables=every)
    cohort = read_cohort(HERE / "scores_simulated.csv", clinical, settings)
    found = univariable(cohort.frame, cohort.variables)
    lines = [
        "| Variable | Patients | Events | HR (95 % interval) | p | Published HR |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for _, row in found.iterrows():
        name = f"{row['label']}, {row['level'] or row['step']}"
        cells = [name, str(row["patients"]), str(row["events"])]
        if row["reference"]:
            cells += ["1 (reference)", "", ""]
        else:
            ratio = f"{row['hazard_ratio']:.2f} ({row['lower']:.2f}–{row['upper']:.2f})"
            published = PUBLISHED.get((row["variable"], row["level"]), "—")
            cells += [ratio, f"{row['p']:.2g}", published]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
