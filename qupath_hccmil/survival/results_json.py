"""results.json: every number of the analysis, for programs."""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pandas as pd

from qupath_hccmil.survival.findings import Analysis
from qupath_hccmil.survival.report.closing_section import provenance, settings_told

FORMAT = "qupath-hccmil survival results 1"


def results_json(analysis: Analysis, when: str, files: list[str]) -> str:
    """Write the analysis as strict JSON: tables as lists of records, absent values as null.

    Infinite values, which JSON does not have, are the texts ``"inf"`` and ``"-inf"``. ``files``
    lists the files that the run writes, as paths in its folder.
    """
    cohort = analysis.cohort
    content = {
        "format": FORMAT,
        "files": files,
        "provenance": provenance(analysis, when),
        "settings": settings_told(analysis),
        "cohort": {
            "patients": len(cohort.frame),
            "events": int(cohort.frame["event"].sum()),
            "unit": cohort.unit,
            "event_coding": cohort.coding.describe(),
            "patient_rule": cohort.scores.rule,
            "flow": cohort.flow,
            "left_out": cohort.left_out,
            "notes": cohort.notes,
            "risk_groups": cohort.groups.description,
            "cuts": cohort.groups.cuts,
            "folds": None if cohort.folds is None else cohort.folds.table,
        },
        **{
            name: getattr(analysis, name)
            for name in (
                "horizons", "table_one", "missing", "events_per_variable", "survival", "effects",
                "groups", "sensitivity", "performance", "competing", "external", "tiles",
            )
        },
        "problems": [{"part": part, "reason": reason} for part, reason in analysis.problems],
    }  # fmt: skip
    return json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """Convert tables, dataclasses and numpy values to JSON types."""
    if isinstance(value, pd.DataFrame):
        return [plain(row) for row in value.to_dict("records")]
    if is_dataclass(value) and not isinstance(value, type):
        told = [field.name for field in fields(value) if field.metadata.get("in_results", True)]
        return {name: plain(getattr(value, name)) for name in told}
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)
