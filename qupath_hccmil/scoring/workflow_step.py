"""The workflow step that reproduces a run from inside QuPath."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from qupath_hccmil import __version__
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import WorkflowStep
from qupath_hccmil.scoring.score_settings import ScoreSettings


def reproduce(settings: ScoreSettings, model: Path | None) -> tuple[str, ...]:
    """Options of ``score`` that give the same scores, without those that are at their default."""
    default = ScoreSettings()
    words: list[str] = []
    if settings.annotation_classes != default.annotation_classes:
        for name in settings.annotation_classes:
            words += ["--annotation-class", name]
    for option, value, usual in (
        ("--mpp", settings.mpp, default.mpp),
        ("--min-inside", settings.min_inside, default.min_inside),
        ("--max-tiles", settings.max_tiles, default.max_tiles),
        ("--seed", settings.seed, default.seed),
        ("--stain", settings.stain, default.stain),
        ("--model", str(model.resolve()) if model else None, None),
    ):
        if value != usual:
            words += [option, str(value)]
    return tuple(words)


def scoring_step(
    image_name: str, options: Sequence[str], parameters: Mapping[str, str]
) -> WorkflowStep:
    """Make a scriptable step, which scores the open image again in QuPath's script editor.

    Parameters
    ----------
    image_name : str
    options : sequence of str
        Command-line options after ``score PROJECT`` that give the same scores.
    parameters : mapping of str to str
        Parameters that QuPath shows next to the step.
    """
    words = ", ".join(_groovy(word) for word in options)
    script = "\n".join(
        (
            f"// Scored by qupath-hccmil {__version__}. For research use only.",
            "// Runs the same scoring again; save the image first, and reload its data after.",
            'def project = buildFilePath(PROJECT_BASE_DIR, "project.qpproj")',
            f'def command = ["qupath-hccmil", "score", project, "--image", {_groovy(image_name)}]',
            f"command += [{words}]" if words else "",
            "def run = new ProcessBuilder(command as String[]).redirectErrorStream(true).start()",
            "run.inputStream.eachLine { println it }",
            'if (run.waitFor() != 0) println "qupath-hccmil failed"',
        )
    )
    return WorkflowStep(names.STEP_NAME, script, dict(parameters))


def _groovy(text: str) -> str:
    # A JSON string is a Groovy string, except for the dollar sign, which would interpolate.
    return json.dumps(text, ensure_ascii=True).replace("$", "\\$")
