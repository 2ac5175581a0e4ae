"""How a judgement was computed, with sources, and what it cannot say."""

from __future__ import annotations

import pandas as pd

from qupath_hccmil.judgement.nested_cross_validation import NestedSettings
from qupath_hccmil.survival.report.blocks import Section, Table, Text

METHODS = (
    ("Nested cross-validation", "By patient (Varma and Simon 2006). In the inner splits of an "
     "outer fold, the choosing patients choose the epoch; the candidate with the highest mean "
     "C-index is kept; threshold (Youden 1950) and temperature (Guo et al. 2017) are derived from "
     "its inner predictions of patients with a distinct outcome. The model of the first inner "
     "split predicts the outer fold, once."),
    ("C-index and AUC(t)", "Harrell et al. 1996; cumulative/dynamic AUC with inverse probability "
     "of censoring weights (Blanche, Dartigues and Jacqmin-Gadda 2013). Only patients of one fold "
     "are compared with each other, because every fold has its own model (Airola et al. 2011); "
     "the pairs of all folds are summed, and repeats averaged."),
    ("Intervals", "Percentile bootstrap of patients, stratified by event, drawn with their "
     "held-out predictions of all repeats; models are not trained again (as LeDell, Petersen and "
     "van der Laan 2015). Because the folds' training sets overlap, and another training set would "
     "have given another model, C-index, AUC(t) and their differences have intervals that are "
     "wider by the factor of Nadeau and Bengio 2003."),
    ("Comparisons", "Cox models by partial likelihood (Firth's penalty where a category has no "
     "events), fitted on the other patients of each outer fold. Missing clinical values are "
     "replaced by the median or the most frequent category of the patients that the model learns "
     "from. The model with the score learns from the scores of the inner splits."),
    ("Permuted outcomes", "Follow-up and event are exchanged between patients of one centre, and "
     "the whole nested cross-validation is done again (Ojala and Garriga 2010)."),
    ("Predicted risk", "A Cox baseline on the inner predictions; calibration as McLernon et al. "
     "2023 and Austin, Harrell and van Klaveren 2020; decision curve as Vickers et al. 2008."),
    ("Centres and scanners", "Fisher's exact test and the log-rank test of one against the others, "
     "corrected by Holm 1979."),
)  # fmt: skip
LIMITS = (
    "No unbiased estimate exists of what another training set would have changed (Bengio and "
    "Grandvalet 2004; Bates, Hastie and Tibshirani 2023). The factor of the intervals is meant to "
    "be on the safe side; those of calibration do not have it, and hold for these models only.",
    "The judgement is of the way to train, and not of one file of weights: the model that is "
    "used is trained once more, on more patients.",
    "Folds of one cohort share its centres, scanners and years. Only another cohort shows what the "
    "model does elsewhere; evaluate it there before it is relied on.",
)


def methods_section(settings: NestedSettings) -> Section:
    """Explain how everything was computed, with sources and limits."""
    data = pd.DataFrame(METHODS, columns=["part", "method"])
    section = Section("methods", "Methods and limits")
    limits = list(LIMITS)
    if not settings.by_centre:
        limits.append(
            "Patients of one centre were on both sides of the folds. Leaving centres out "
            "(--group-column) is the harder and more honest question if there are several."
        )
    section.blocks.append(
        Table("methods", "Methods", ("Part", "Method"), METHODS, data, wide_text=True)
    )
    section.blocks += [Text(line, "note") for line in limits]
    return section
