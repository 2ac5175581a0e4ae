"""The checklists of TRIPOD+AI and REMARK, filled in as far as known.

TRIPOD+AI: Collins et al. 2024, BMJ 385:e078378. REMARK: McShane et al. 2005, JNCI 97:1180, with the
explanations of Altman et al. 2012, PLoS Medicine 9:e1001216; the items are worded shortly here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from qupath_hccmil.survival.findings import Analysis

AUTHORS = "To be written by the authors."


def tripod(analysis: Analysis) -> pd.DataFrame:
    """List every item of TRIPOD+AI with what this analysis can say about it.

    Returns
    -------
    DataFrame
        ``item, section, asks, answer, filled, places``; ``places`` are keys of sections of the
        report.
    """
    return _checklist(ITEMS, _answers(analysis), _PLACES)


def remark(analysis: Analysis) -> pd.DataFrame:
    """List every item of REMARK in the same way."""
    return _checklist(REMARK, _remark_answers(analysis), _REMARK_PLACES)


def _checklist(
    items: Sequence[tuple[str, str, str]],
    answers: Mapping[str, str],
    places: Mapping[str, tuple[str, ...]],
) -> pd.DataFrame:
    rows = [
        (item, section, asks, answers.get(item, AUTHORS), item in answers, places.get(item, ()))
        for item, section, asks in items
    ]
    names = ["item", "section", "asks", "answer", "filled", "places"]
    return pd.DataFrame(rows, columns=names)


ITEMS = (
    ("1", "Title", "Developing or evaluating, the population, the outcome"),
    ("2", "Abstract", "See TRIPOD+AI for abstracts"),
    ("3a", "Background", "Healthcare context and rationale"),
    ("3b", "Background", "Target population and purpose in the care pathway"),
    ("3c", "Background", "Known health inequalities"),
    ("4", "Objectives", "Development, evaluation or both"),
    ("5a", "Data", "Sources of data"),
    ("5b", "Data", "Dates of accrual and of the end of follow-up"),
    ("6a", "Participants", "Setting, number and location of centres"),
    ("6b", "Participants", "Eligibility"),
    ("6c", "Participants", "Treatments received"),
    ("7", "Data preparation", "Pre-processing and quality checks"),
    ("8a", "Outcome", "Definition, time horizon, how and when assessed"),
    ("8b", "Outcome", "Who assessed it, if subjective"),
    ("8c", "Outcome", "Blinding of its assessment"),
    ("9a", "Predictors", "Choice of initial predictors"),
    ("9b", "Predictors", "Definition, how and when measured"),
    ("9c", "Predictors", "Who assessed them, if subjective"),
    ("10", "Sample size", "How it was arrived at, and that it suffices"),
    ("11", "Missing data", "How handled"),
    ("12a", "Analysis", "How data were used and partitioned"),
    ("12b", "Analysis", "How predictors were handled"),
    ("12c", "Analysis", "Type of model, how built, internal validation"),
    ("12d", "Analysis", "Heterogeneity across clusters"),
    ("12e", "Analysis", "Measures and plots of performance"),
    ("12f", "Analysis", "Model updating"),
    ("12g", "Analysis", "How predictions were calculated"),
    ("13", "Class imbalance", "Methods used and recalibration after them"),
    ("14", "Fairness", "Approaches to fairness"),
    ("15", "Model output", "What the model predicts, and thresholds"),
    ("16", "Training v. evaluation", "Differences between the data sets"),
    ("17", "Ethics", "Approval and consent"),
    ("18a", "Open science", "Funding"),
    ("18b", "Open science", "Conflicts of interest"),
    ("18c", "Open science", "Protocol"),
    ("18d", "Open science", "Registration"),
    ("18e", "Open science", "Availability of data"),
    ("18f", "Open science", "Availability of code"),
    ("19", "Public involvement", "Involvement of patients and the public"),
    ("20a", "Participants", "Flow, outcomes, follow-up"),
    ("20b", "Participants", "Characteristics, missing values"),
    ("20c", "Participants", "Comparison with the development data"),
    ("21", "Development", "Participants and events in each analysis"),
    ("22", "Specification", "The full model, so that others can predict"),
    ("23a", "Performance", "Estimates with intervals, also in subgroups"),
    ("23b", "Performance", "Heterogeneity across clusters"),
    ("24", "Updating", "Results of model updating"),
    ("25", "Interpretation", "Results in the light of other studies, fairness"),
    ("26", "Limitations", "Limitations of the study, and their effect"),
    ("27a", "Usability", "How poor or missing input is handled in use"),
    ("27b", "Usability", "Expertise and interaction that users need"),
    ("27c", "Usability", "Next steps, generalisability"),
)


_PLACES = {
    "5a": ("provenance",), "7": ("cohort",), "8a": ("cohort",), "9a": ("cohort", "provenance"),
    "10": ("cohort",), "11": ("cohort", "cox"), "12a": ("folds",), "12b": ("cox",),
    "12c": ("methods",), "12e": ("auc", "discrimination", "calibration"), "12g": ("calibration",),
    "15": ("groups",),
    "20a": ("cohort",), "20b": ("cohort",), "21": ("cohort", "cox"), "22": ("cox", "calibration"),
    "23a": ("auc", "discrimination", "calibration"), "26": ("limits",),
}  # fmt: skip
REMARK = (
    ("1", "Introduction", "The marker, the objectives and hypotheses"),
    ("2", "Patients", "Characteristics, source, inclusion and exclusion"),
    ("3", "Patients", "Treatments, and how they were chosen"),
    ("4", "Specimens", "Type of material, preservation and storage"),
    ("5", "Assay methods", "How the marker was measured, blinded to the outcome or not"),
    ("6", "Study design", "Selection of cases, period, end of follow-up, median follow-up"),
    ("7", "Study design", "Definition of all clinical endpoints"),
    ("8", "Study design", "All variables that were examined or considered"),
    ("9", "Study design", "Rationale of the sample size"),
    ("10", "Statistics", "Methods, choice of variables, assumptions, missing values"),
    ("11", "Statistics", "How marker values were used, and how cutpoints were chosen"),
    ("12", "Data", "Flow of patients, with numbers and events at each stage"),
    ("13", "Data", "Distribution of demographic variables, prognostic variables and marker"),
    ("14", "Analysis", "Relation of the marker to standard prognostic variables"),
    ("15", "Analysis", "Univariable relation of marker and outcome, with survival curves"),
    ("16", "Analysis", "Multivariable estimates with intervals"),
    ("17", "Analysis", "The marker with standard variables, whatever their significance"),
    ("18", "Analysis", "Assumptions, sensitivity, internal validation"),
    ("19", "Discussion", "Interpretation against the hypotheses, limitations"),
    ("20", "Discussion", "Implications for research and clinical value"),
)
_REMARK_PLACES = {
    "2": ("cohort",), "5": ("cohort", "provenance"), "6": ("cohort",), "7": ("cohort",),
    "8": ("cohort", "provenance"), "9": ("cohort",), "10": ("methods", "cohort"),
    "11": ("groups",), "12": ("cohort",), "13": ("cohort", "groups"), "14": ("cohort",),
    "15": ("survival", "cox"), "16": ("cox",), "17": ("cox",),
    "18": ("proportional", "sensitivity", "discrimination"), "19": ("limits",),
}  # fmt: skip


def _remark_answers(analysis: Analysis) -> dict[str, str]:
    cohort, settings = analysis.cohort, analysis.settings
    events = int(cohort.frame["event"].sum())
    follow, power = analysis.survival.follow_up, analysis.events_per_variable
    names = ", ".join(variable.title for variable in cohort.variables) or "none"
    model = "; ".join(cohort.scores.models) or "not given in the scores table"
    answers = {
        "2": f"Flow of patients, left-out patients and Table 1. {AUTHORS}",
        "5": f"Model of the scores: {model}. {AUTHORS}",
        "6": f"Median follow-up {follow['median']:.2f} {cohort.unit} (reverse Kaplan–Meier). "
        f"{AUTHORS}",
        "8": f"In this analysis: the score and {names}.",
        "10": "Methods; complete cases"
        + (f" and {settings.imputations} imputed tables." if settings.imputations else "."),
        "11": f"The score as a number, per SD, and in groups cut at {cohort.groups.description}.",
        "12": f"{len(cohort.frame)} patients and {events} events; each model gives its own.",
        "13": "Table 1, missing values and the distribution of the score.",
        "14": "Table 1 by risk group, with standardised differences.",
        "15": "Kaplan–Meier curves, log-rank test and univariable Cox models.",
        "16": "Multivariable Cox models with the score and with the risk group.",
        "17": "All variables of the analysis are in the multivariable models.",
        "18": "Test of proportional hazards, sensitivity analyses, bootstrap for optimism.",
        "19": f"See “Limits”. {AUTHORS}",
    }
    if cohort.folds is not None:
        answers["11"] = (
            "The score as a number, per SD within its fold, and in groups cut at "
            f"{cohort.groups.description}."
        )
        answers["18"] = (
            "Test of proportional hazards, sensitivity analyses; the scores are cross-validated."
        )
    if settings.endpoint:
        answers["7"] = f"{settings.endpoint}. {AUTHORS}"
    if power is not None and power.coefficients:
        answers["9"] = f"{power.ratio:.1f} events per coefficient. {AUTHORS}"
    return answers


def _answers(analysis: Analysis) -> dict[str, str]:
    cohort, settings = analysis.cohort, analysis.settings
    events = int(cohort.frame["event"].sum())
    follow = analysis.survival.follow_up
    files = ", ".join(cohort.hashes)
    power = analysis.events_per_variable
    names = ", ".join(variable.title for variable in cohort.variables) or "none"
    answers = {
        "4": "Evaluation of a score; models that are fitted here (clinical model, baseline) are "
        f"marked as such. Whether the score was fixed before these data: {AUTHORS.lower()}",
        "5a": f"Files {files}, with SHA-256 below. {AUTHORS}",
        "7": "Values are used as they are in the files; recognised codings and what was left out "
        "are listed under “Patients and endpoint”.",
        "9a": f"The score and the prognostic variables {names}.",
        "11": (
            f"Complete cases, and {settings.imputations} multiply imputed tables."
            if settings.imputations
            else "Complete cases; counts are shown."
        ),
        "12a": "All patients with score and outcome; the data were not split.",
        "12b": "Numbers enter linearly, per the step shown; categories by indicators against the "
        "reference category shown.",
        "12c": "Cox regression, ties by Efron; bootstrap for optimism, cross-fitting for the "
        "baseline.",
        "12e": "Harrell's and Uno's C, AUC(t), calibration in the large, slope, curve, ICI, Brier "
        "score, decision curve.",
        "15": f"A score; risk groups at {cohort.groups.description}.",
        "18f": "qupath-hccmil is free software (GPL-3.0-or-later).",
        "20a": f"See the flow table: {len(cohort.frame)} patients, {events} events, median "
        f"follow-up {follow['median']:.2f} {cohort.unit}.",
        "20b": "Table 1 and the table of missing values.",
        "21": "Each table gives its numbers of patients and events.",
        "22": "baseline.json holds the coefficient and the baseline hazard of the score alone; "
        "the coefficients of the other models are in the CSV files.",
        "23a": "Given with intervals; effect of the score in subgroups, with tests of interaction.",
        "26": f"See “Limits”. {AUTHORS}",
    }
    if cohort.folds is not None:
        answers["4"] = (
            "Development: scores of models that were trained on these patients, out of fold."
        )
        answers["12a"] = f"Cross-validation; {len(cohort.folds.table)} folds."
        answers["12c"] = (
            "Cox regression stratified by fold, ties by Efron; bootstrap within folds. The models "
            f"of the folds: {AUTHORS.lower()}"
        )
        answers["12e"] = "Harrell's C and AUC(t), both within folds."
        answers["22"] = (
            f"The models of the folds are not one model; that for use: {AUTHORS.lower()} The "
            "coefficients of the other models are in the CSV files."
        )
    if analysis.external is not None:
        answers["12f"] = "Baseline, and baseline and slope, updated to each cohort."
        answers["16"] = "See “External validation”: case mix side by side."
        answers["24"] = "See “External validation”: the prediction updated to each cohort."
    if analysis.groups.centres is not None:
        answers["12d"] = "Models stratified and clustered by centre; random effects."
        answers["23b"] = "See “Centres”: the effect in each, and heterogeneity."
    if analysis.performance.baseline_told:
        answers["12g"] = f"Predicted risks come from {analysis.performance.baseline_told}."
    if settings.endpoint or settings.time_zero:
        parts = [settings.endpoint, f"from {settings.time_zero}" if settings.time_zero else ""]
        answers["8a"] = f"{' '.join(part for part in parts if part)}. {AUTHORS}"
    if power is not None and power.coefficients:
        answers["10"] = (
            f"{power.ratio:.1f} events per coefficient in the multivariable model. {AUTHORS}"
        )
    return answers
