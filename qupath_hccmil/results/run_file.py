"""``run.json`` in a folder of results: each slide's outcome, worker, time and tries."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.cluster.work import SlideRow
from qupath_hccmil.method.research_use import RESEARCH_USE
from qupath_hccmil.results.slide_tasks import Shard
from qupath_hccmil.results.slide_worker import ScoringPlan
from qupath_hccmil.scoring.scorer import ScorerSource
from qupath_hccmil.scoring.versions import versions


def run_facts(
    rows: Iterable[SlideRow[Any]],
    plan: ScoringPlan,
    models: ScorerSource,
    cluster: Mapping[str, Any],
) -> dict[str, Any]:
    """A run as plain data, for JSON.

    Parameters
    ----------
    rows : iterable of SlideRow
    plan : ScoringPlan
    models : ScorerSource
    cluster : mapping
        Where it ran; empty for this process.
    """
    risk = models.risk
    return {
        "note": RESEARCH_USE,
        "results": str(plan.folder),
        "model": {
            "name": risk.config.name,
            "weights_sha256": risk.config.weights_sha256,
            **models.below,
        },
        "settings": asdict(plan.settings),
        **_surroundings(rows, cluster),
    }


def features_facts(
    rows: Iterable[SlideRow[Any]],
    out: Path,
    about: Mapping[str, Any],
    cluster: Mapping[str, Any],
) -> dict[str, Any]:
    """A run of ``features`` as plain data, for JSON.

    Parameters
    ----------
    rows : iterable of SlideRow
    out : Path
        Folder of the features.
    about : mapping
        Encoders and settings.
    cluster : mapping
        Where it ran; empty for this process.
    """
    return {
        "note": RESEARCH_USE,
        "results": str(out),
        **about,
        **_surroundings(rows, cluster),
    }


def _surroundings(rows: Iterable[SlideRow[Any]], cluster: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "cluster": dict(cluster),
        "images": [row.facts() for row in rows],
        "versions": {**versions(), "python": sys.version.split()[0]},
        "platform": platform.platform(),
    }


def write_run(facts: Mapping[str, Any], folder: Path, shard: Shard | None = None) -> Path:
    """Write ``run.json``, or that of a shard.

    Slides of earlier runs stay in it; one that was up to date keeps what is said of the run that
    scored it.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    WriteError
        The system refuses; an older one is as it was.
    """
    name = "run.json" if shard is None else f"run-{shard.number}-of-{shard.of}.json"
    path = folder / name
    images = {_key(row): row for row in _rows_of(path)}
    for row in facts["images"]:
        before = images.get(_key(row))
        if before is None or row["status"] != "up to date":
            images[_key(row)] = row
        elif before["status"] == "failed":
            # another run scored it since
            images[_key(row)] = row
    with atomic_file(path) as beside:
        beside.write_text(_text(facts, images.values()), encoding="ascii")
    return path


def _text(facts: Mapping[str, Any], images: Iterable[Mapping[str, Any]]) -> str:
    """JSON with a line for each image; indented JSON of 100,000 of them takes much longer."""
    others = {key: fact for key, fact in facts.items() if key != "images"}
    head = json.dumps({**others, "images": None}, indent=2).removesuffix("null\n}")
    return f"{head}[\n" + ",\n".join(json.dumps(each) for each in images) + "\n]}\n"


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["project"], row["image_id"]


def _rows_of(path: Path) -> list[dict[str, Any]]:
    """Rows of an earlier run; none where there is no such file, or it can't be read."""
    try:
        rows = json.loads(path.read_text(encoding="ascii"))["images"]
        return [row for row in rows if {"project", "image_id", "status"} <= row.keys()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
