"""The univariable Cox table of TCGA-LIHC beside the published one, as Markdown.

python univariable_table.py tcga_lihc.csv
"""

import sys
from dataclasses import replace
from pathlib import Path

from qupath_hccmil.survival.cohort import read_cohort
from qupath_hccmil.survival.cox import univariable
from qupath_hccmil.survival.settings import read_settings

HERE = Path(__file__).parent
# Liu et al. 2021 (arXiv 2106.00090), 302 patients of TCGA with 165 events; reference stage I.
PUBLISHED = {("ajcc_stage", "II"): "1.94", ("ajcc_stage", "III–IV"): "3.08"}


def table(clinical: Path) -> str:
    """Every patient of the open data who has the variable; nobody is excluded."""
    settings = replace(read_settings(HERE / "tcga_lihc.toml"), exclude=())
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
