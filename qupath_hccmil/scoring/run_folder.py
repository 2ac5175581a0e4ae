"""The files of a run outside the project: ``run.json`` and the tables of ``--out``."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.method.research_use import RESEARCH_USE, SURROGATE
from qupath_hccmil.qupath.export.score_tables import table
from qupath_hccmil.qupath.project_folder import Project
from qupath_hccmil.scoring.score_project import ImageOutcome
from qupath_hccmil.scoring.score_settings import ScoreSettings, settings_toml
from qupath_hccmil.scoring.versions import versions
from qupath_hccmil.tables.export_columns import Level
from qupath_hccmil.tables.table_writer import write_table


def summary(
    project: Project,
    settings: ScoreSettings,
    outcomes: Sequence[ImageOutcome],
    model: dict[str, Any] | None,
) -> dict[str, Any]:
    """Describe a run as plain data, for JSON.

    Parameters
    ----------
    project : Project
    settings : ScoreSettings
    outcomes : sequence of ImageOutcome
    model : dict or None
        Facts about the model; None if nothing had to be scored.
    """
    return {
        "note": RESEARCH_USE,
        "project": str(project.path),
        "engine": project.engine,
        "qupath_version": project.qupath_version,
        "qupath_in_use": project.qupath_in_use,
        "model": model,
        "settings": asdict(settings),
        "images": [asdict(outcome) for outcome in outcomes],
        "versions": {**versions(), "python": sys.version.split()[0]},
        "platform": platform.platform(),
    }


def summary_line(outcomes: Sequence[ImageOutcome], model: dict[str, Any] | None) -> str:
    """Summarise the outcomes of a run in one line, with the research-use notice."""
    counts = {
        status: sum(outcome.status == status for outcome in outcomes)
        for status in ("scored", "planned", "up to date", "failed")
    }
    parts = [f"{count} {status}" for status, count in counts.items() if count]
    said = [f"{', '.join(parts)}.", RESEARCH_USE]
    if model is not None and model["surrogate"]:
        said.append(SURROGATE)
    return " ".join(said)


def write_record(
    folder: Path, record: dict[str, Any], settings: ScoreSettings, project: Project
) -> None:
    """Write ``run.json``, ``settings.toml`` and the tables of all levels except patients."""
    with atomic_file(folder / "run.json") as path:
        content = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        # Half a surrogate pair in a name becomes a JSON escape.
        path.write_text(content, encoding="utf-8", errors="backslashreplace")
    with atomic_file(folder / "settings.toml") as path:
        path.write_text(settings_toml(settings), encoding="utf-8", errors="backslashreplace")
    levels: tuple[Level, ...] = ("image", "annotation", "tile")
    for level in levels:
        # An image that cannot be read was reported while scoring.
        write_table(
            table(project, level, failed=lambda entry, error: None), folder / f"{level}s.csv"
        )
