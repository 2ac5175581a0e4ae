"""Closing sections: methods with references, limits, TRIPOD+AI, settings, versions and hashes."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

import pandas as pd

from qupath_hccmil import __version__
from qupath_hccmil.survival.findings import Analysis
from qupath_hccmil.survival.report.blocks import Section, Table, Text
from qupath_hccmil.survival.report.checklist import remark, tripod
from qupath_hccmil.survival.report.number_format import NONE
from qupath_hccmil.survival.statistics.variables import VariableRequest

PACKAGES = (
    "lifelines", "statsmodels", "numpy", "scipy", "pandas", "matplotlib",
)  # fmt: skip
METHODS = (
    ("Survival curves", "Kaplan–Meier; Greenwood's variance on the log(−log) scale; log-rank test "
     "(Mantel 1966); median follow-up by reverse Kaplan–Meier (Schemper and Smith 1996)."),
    ("Cox regression", "Partial likelihood, ties by Efron, Wald intervals. Where a category has no "
     "events: Firth's penalty with profile likelihood (Heinze and Schemper 2001)."),
    ("Proportional hazards", "Score test with the Kaplan–Meier transform (Grambsch and Therneau "
     "1994, as R's survival 3); restricted means from the area under the Kaplan–Meier curves."),
    ("Subgroups and centres", "Cox models stratified by subgroup or centre; likelihood-ratio tests "
     "of interaction, numbers by their product with the score; Holm 1979. Clusters: Lin and Wei "
     "1989. Heterogeneity between centres: Cochran's Q; random effects by Paule and Mandel 1982 "
     "with the interval of Hartung and Knapp 2001."),
    ("Sensitivity", "Landmark analysis (Anderson et al. 1983); restricted cubic splines (Harrell "
     "2015); influence by dfbeta (Cain and Lange 1984)."),
    ("Scores out of fold", "Groups by the threshold of each patient's fold (Simon et al. 2011); "
     "Cox models stratified by fold (Kalbfleisch and Prentice 2002, §4.4), the score standardised "
     "within its fold; C and AUC(t) over pairs within folds (Airola et al. 2011), bootstrap by "
     "patient, widened by the factor of Nadeau and Bengio 2003."),
    ("AUC(t)", "Cumulative/dynamic, IPCW; standard errors from the influence function, with the "
     "estimated weights (Blanche, Dartigues and Jacqmin-Gadda 2013); bands by simulation of the "
     "Gaussian limit (Lin, Wei and Ying 1994)."),
    ("Concordance", "Harrell et al. 1996; Uno et al. 2011. Bootstrap by patient; optimism by "
     "Harrell, Lee and Mark 1996, interval shifted as Noma et al. 2021."),
    ("Calibration", "McLernon et al. 2023; smoothed curve and ICI by Austin, Harrell and van "
     "Klaveren 2020."),
    ("Brier score", "Graf et al. 1999, IPCW."),
    ("Decision curve", "Vickers et al. 2008."),
    ("External validation", "C with the infinitesimal jackknife (Therneau and Watson 2017); pooled "
     "as Debray et al. 2019; recalibration by van Houwelingen 2000."),
    ("Competing risks", "Aalen and Johansen 1978, with Aalen's variance; Gray 1988; cause-specific "
     "Cox models; Fine and Gray 1999. AUC(t) and Brier score with competing events as controls "
     "(Blanche et al. 2013; Schoop et al. 2011); calibration by van Geloven et al. 2022 and Austin "
     "et al. 2022."),
    ("Weighted log-rank tests", "Gehan–Breslow, Tarone–Ware, Peto–Peto, Fleming–Harrington; trend "
     "by Tarone 1975; pairs corrected by Holm 1979."),
    ("Left truncation", "At risk in (entry, time] in all risk sets (Klein and Moeschberger 2003, "
     "§4.6 and §9.4)."),
    ("Missing values", "Chained equations with predictive mean matching (White and Royston 2009); "
     "Rubin's rules with the degrees of freedom of Barnard and Rubin 1999."),
)  # fmt: skip


def methods_section() -> Section:
    """Explain how everything was computed, with sources."""
    data = pd.DataFrame(METHODS, columns=["part", "method"])
    section = Section("methods", "Methods")
    section.blocks += [
        Table("methods", "Methods", ("Part", "How"), METHODS, data, wide_text=True),
        Text(
            "The numbers of this software are tested against R 4.2.2 (survival 3.5-3, "
            "riskRegression 2022.11.28, cmprsk 2.2-11, mice 3.15.0).",
            "note",
        ),
    ]
    return section


def limits_section(analysis: Analysis) -> Section:
    """List what the analysis could not do, and what a reader must not conclude."""
    section = Section("limits", "Limits")
    section.blocks.append(
        Text(
            "For research use only. This report is not a medical device, and none of its numbers "
            "should guide the treatment of a patient.",
            "warning",
        )
    )
    limits = [
        "p-values and intervals are not corrected for the number of comparisons.",
        "Associations are not treatment effects.",
        "Numbers enter Cox models linearly.",
    ]
    if analysis.cohort.folds is not None:
        limits.append(
            "The scores are out of fold: the results are of the way of training, not of one model, "
            "and p-values and the intervals of hazard ratios and curves leave out that the folds' "
            "training sets overlap."
        )
    elif not analysis.settings.baseline:
        limits.append(
            "Predicted risks were validated on the cohort that their baseline was fitted on."
        )
    if analysis.cohort.coding.competing:
        limits.append(
            "Discrimination and predicted risks outside “Competing risks” treat the competing "
            "event as censoring."
        )
    section.blocks += [Text(f"• {limit}") for limit in limits]
    if analysis.problems:
        data = pd.DataFrame(analysis.problems, columns=["part", "reason"])
        section.blocks.append(
            Table(
                "not_done",
                "What could not be done, and why",
                ("Part", "Reason"),
                analysis.problems,
                data,
                wide_text=True,
            )
        )
    return section


def checklist_sections(analysis: Analysis, before: list[Section]) -> list[Section]:
    """Show the checklists of REMARK and TRIPOD+AI, filled in as far as the analysis can.

    Parameters
    ----------
    analysis : Analysis
    before : list of Section
        The sections before them, to which the items refer by number.
    """
    number = {section.key: place for place, section in enumerate(before, start=1)}
    return [
        Section(key, title, [_checklist(f"{key}{suffix}", title, data, number)])
        for key, suffix, title, data in (
            ("remark", "", "REMARK checklist", remark(analysis)),
            ("tripod", "_ai", "TRIPOD+AI checklist", tripod(analysis)),
        )
    ]


def _checklist(key: str, title: str, data: pd.DataFrame, number: dict[str, int]) -> Table:
    places = [
        [(name, f"Section {number[name]}") for name in keys if name in number]
        for keys in data["places"]
    ]
    where = [", ".join(name for _, name in found) or NONE for found in places]
    data = data.drop(columns="places").assign(where=where)
    rows = list(
        data[["item", "section", "asks", "answer", "where"]].itertuples(index=False, name=None)
    )
    head = ("Item", "Section", "Asks for", "Here", "Where")
    return Table(key, title, head, rows, data, wide_text=True, places=places)


def provenance_section(analysis: Analysis, when: str) -> Section:
    """Show settings, versions, and the hashes of data and models."""
    section = Section("provenance", "Settings, versions and data")
    section.blocks += _variables(analysis)
    settings = [(key, _told(value)) for key, value in settings_told(analysis).items()]
    settings = [(key, value) for key, value in settings if value != NONE]
    section.blocks.append(
        Table(
            "settings",
            "Settings",
            ("Setting", "Value"),
            settings,
            pd.DataFrame(settings, columns=["setting", "value"]),
            wide_text=True,
        )
    )
    rows = list(provenance(analysis, when).items())
    data = pd.DataFrame(rows, columns=["what", "value"])
    section.blocks.append(
        Table("provenance", "Versions and hashes", ("What", "Value"), rows, data, wide_text=True)
    )
    return section


def _variables(analysis: Analysis) -> list[Table]:
    """Show each variable as it was used, with merged values and levels."""
    asked = {request.name: request for request in analysis.settings.variables or ()}
    rows = []
    for variable in analysis.cohort.variables:
        request = asked.get(variable.name, VariableRequest(variable.name))
        if variable.levels:
            kind = f"categories; reference {variable.levels[0]}"
            values = ", ".join(variable.levels)
        else:
            kind = "number, binary logarithm" if request.log else "number"
            values = f"hazard ratio {variable.step}"
        merged: dict[str, list[str]] = {}
        for value, level in request.merge.items():
            merged.setdefault(level, []).append(value)
        merges = "; ".join(f"{' + '.join(of)} → {level}" for level, of in merged.items())
        missing = ", ".join([*request.missing, *analysis.settings.missing])
        rows.append((variable.title, variable.name, kind, values, merges or NONE, missing or NONE))
    head = ("Variable", "Column", "Kind", "Values", "Merged", "Missing")
    data = pd.DataFrame(rows, columns=[name.lower() for name in head])
    caption = "Variables as used"
    return [Table("variables", caption, head, rows, data, wide_text=True)] if rows else []


def provenance(analysis: Analysis, when: str) -> dict[str, str]:
    """Collect versions and hashes."""
    command = {"Command": analysis.command} if analysis.command else {}
    found = {
        **command,
        **versions(),
        "Made": when,
    }
    found.update({f"SHA-256 of {name}": value for name, value in analysis.cohort.hashes.items()})
    if analysis.external is not None:
        for name, result in analysis.external.cohorts.items():
            if name != analysis.external.first:
                hashes = result.cohort.hashes.items()
                found.update({f"SHA-256 of {file} ({name})": value for file, value in hashes})
    models = analysis.cohort.scores.models
    found["Model of the scores"] = "; ".join(models) or "not given in the scores table"
    return found


def versions() -> dict[str, str]:
    """Versions of this program and of the packages that compute its numbers."""
    return {
        "qupath-hccmil": __version__,
        "Python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def settings_told(analysis: Analysis) -> dict[str, object]:
    """Collect the settings as used, including those that were recognised."""
    used = asdict(analysis.settings)
    used["variables"] = [variable.name for variable in analysis.cohort.variables]
    used["cohorts"] = [request.name for request in analysis.settings.cohorts]
    used["horizons"] = list(analysis.horizons)
    used["unit"] = analysis.cohort.column_unit
    used["score"] = analysis.cohort.scores.column
    used["cuts"] = list(analysis.cohort.groups.cuts)
    return used


def _told(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_told(part) for part in value) or NONE
    return NONE if value in ("", None) else str(value)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
