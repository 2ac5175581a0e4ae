"""The workflow step that repeats a run in QuPath.

Its script is ``workflow_step.groovy``, filled in for the run. It needs no other file, so the script
that *Create script* makes runs on any computer with the command or the extension.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from qupath_hccmil import __version__
from qupath_hccmil.errors import InstallError
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import WorkflowStep
from qupath_hccmil.qupath.extension.command import this_command
from qupath_hccmil.qupath.run_record import RunRecord
from qupath_hccmil.scoring.score_settings import ScoreSettings

_SCRIPT = Path(__file__).with_suffix(".groovy")


def reproduce(
    settings: ScoreSettings, model: Path | None, engine: str, encoders: Sequence[Path] = ()
) -> tuple[str, ...]:
    """Options of ``score`` that give the same scores; defaults are left out."""
    default = ScoreSettings()
    words: list[str] = ["--engine", engine]
    if settings.annotation_classes != default.annotation_classes:
        for name in settings.annotation_classes:
            words += ["--annotation-class", name]
    for option, value, usual in (
        ("--mpp", settings.mpp, default.mpp),
        ("--min-inside", settings.min_inside, default.min_inside),
        ("--max-tiles", settings.max_tiles, default.max_tiles),
        ("--seed", settings.seed, default.seed),
        ("--stain", settings.stain, default.stain),
        ("--precision", settings.precision, default.precision),
        ("--model", str(model.resolve()) if model else None, None),
    ):
        if value != usual:
            words += [option, str(value)]
    for folder in encoders:
        words += ["--encoder", str(folder.resolve())]
    return tuple(words)


def scoring_step(
    record: RunRecord, options: Sequence[str], parameters: Mapping[str, str]
) -> WorkflowStep:
    """Make a step whose script scores the open image again in QuPath's script editor.

    Parameters
    ----------
    record : RunRecord
        Record of the run.
    options : sequence of str
        Command-line options after ``score PROJECT`` that give the same scores.
    parameters : mapping of str to str
        Parameters that QuPath shows next to the step.
    """
    engine = options[options.index("--engine") + 1] if "--engine" in options else "auto"
    script = Template(_SCRIPT.read_text(encoding="utf-8")).substitute(
        version=__version__,
        engine=engine,
        model=f"{' '.join(record.model.split())} ({record.weights_sha256[:12]})",
        options=_groovy(options),
        weights=_groovy(record.weights_sha256),
        keys=_groovy(sorted(names.METADATA)),
        step=_groovy(names.STEP_NAME),
        command=_groovy(_command()),
    )
    return WorkflowStep(names.STEP_NAME, script, dict(parameters))


def _command() -> str:
    try:
        return str(this_command())
    except InstallError:
        return ""


def _groovy(value: Any) -> str:
    # JSON is Groovy, except for the dollar sign, which would interpolate in a string.
    content = list(value) if isinstance(value, tuple) else value
    return json.dumps(content, ensure_ascii=True).replace("$", "\\$")
