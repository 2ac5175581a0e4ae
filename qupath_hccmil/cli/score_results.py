"""``score --results``: each slide's result as a file; the projects are not written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qupath_hccmil.cli import exit_codes
from qupath_hccmil.cli.many_slides import on_workers, recorded
from qupath_hccmil.cli.show import ScoringDisplay

if TYPE_CHECKING:
    from qupath_hccmil.cluster.work import SlideRow
    from qupath_hccmil.results.slide_tasks import SlideTask
    from qupath_hccmil.results.slide_worker import ScoringPlan
    from qupath_hccmil.scoring.score_project import ImageOutcome
    from qupath_hccmil.scoring.score_settings import ScoreSettings


def run_results(
    settings: ScoreSettings, projects: Sequence[Path], options: Mapping[str, Any]
) -> int:
    """Score slides into the folder of ``--results``; `options` are those of ``score``."""
    from qupath_hccmil.atomic_files import make_folder
    from qupath_hccmil.results.leftovers import sweep
    from qupath_hccmil.results.run_file import run_facts, write_run
    from qupath_hccmil.results.slide_tasks import slide_tasks
    from qupath_hccmil.results.slide_worker import ScoringPlan
    from qupath_hccmil.scoring.run_folder import summary_line
    from qupath_hccmil.scoring.scorer import ScorerSource

    plan = ScoringPlan(
        folder=options["results"].absolute(),
        settings=settings,
        # Workers may have another working folder.
        model=_absolute(options["model"]),
        encoders=tuple(each.absolute() for each in options["encoders"]),
        slides=_absolute(options["slides"]),
        **{name: options[name] for name in _PLAN},
    )
    # before hours of work, not at the first slide: the model, the folder, the projects
    models = ScorerSource(
        plan.model,
        runtime=plan.runtime,
        device=plan.device,
        precision=settings.precision,
        encoders=plan.encoders,
    )
    tasks, unusable = slide_tasks(projects, options["images"], options["shard"])
    if not plan.dry_run:
        make_folder(plan.folder)
        sweep(plan.folder)
    for path, why in unusable.items():
        click.echo(f"{path}: FAILED: {why}", err=True)
    display = ScoringDisplay(
        quiet=options["quiet"], lines=not options["as_json"], slides=len(tasks)
    )
    rows: list[SlideRow[ImageOutcome]] = []
    cluster: dict[str, Any] = {}

    def record() -> dict[str, Any]:
        facts = run_facts(rows, plan, models, cluster)
        if rows and not plan.dry_run:
            write_run(facts, plan.folder, options["shard"])
        return facts

    try:
        with display:
            for row in recorded(_rows(plan, tasks, display, options, cluster), record):
                display.finish(row.outcome)
                rows.append(row)
    finally:
        # after an interruption too
        facts = record()
    outcomes = [row.outcome for row in rows]
    if options["as_json"]:
        click.echo(json.dumps(facts, indent=2))
    elif not options["quiet"]:
        risk = models.risk.config.risk
        assert risk is not None, "the schema asks for it in a mil model"
        click.echo(summary_line(outcomes, {"surrogate": risk.surrogate}))
    failed = bool(unusable) or any(outcome.status == "failed" for outcome in outcomes)
    if options["commit"]:
        usable = [path for path in projects if path not in unusable]
        failed = _commit(usable, plan, options) or failed
    return exit_codes.SOME_FAILED if failed else exit_codes.DONE


_PLAN = ("engine", "runtime", "device", "force", "dry_run")


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _rows(
    plan: ScoringPlan,
    tasks: Sequence[SlideTask],
    display: ScoringDisplay,
    options: Mapping[str, Any],
    cluster: dict[str, Any],
) -> Iterator[SlideRow[ImageOutcome]]:
    """Rows of the slides, scored here or on a cluster, of which facts are put into `cluster`."""
    if options["dask"] is None:
        from qupath_hccmil.results.slide_worker import SlideWorker

        worker = SlideWorker(plan)
        for task in tasks:
            yield worker.score(task, display)
        return
    from qupath_hccmil.results.scoring_work import ScoringWork

    quiet = options["quiet"] or options["as_json"]
    yield from on_workers(tasks, ScoringWork(plan), options, cluster, quiet=quiet)


def _commit(projects: Sequence[Path], plan: ScoringPlan, options: Mapping[str, Any]) -> bool:
    """Take the results into the projects, one after the other; whether something went wrong."""
    from qupath_hccmil.cli.project_commit import commit_into, counted
    from qupath_hccmil.errors import HccMilError
    from qupath_hccmil.model_store.model_folder import default_model_dir, load_model_folder
    from qupath_hccmil.results.commit import CommitOptions

    model = load_model_folder(plan.model or default_model_dir("mil"), "mil").identity
    wanted = CommitOptions(
        images=options["images"], model=model, wait=options["wait"], workers=None
    )
    wrong = False
    for path in projects:
        try:
            outcomes = commit_into(
                path, plan.folder, plan.engine, wanted, quiet=True, prefix=f"{path}: "
            )
        except HccMilError as error:
            click.echo(f"{path}: FAILED: {error}", err=True)
            wrong = True
            continue
        wrong = wrong or any(each.status in ("left", "failed") for each in outcomes)
        if not (options["quiet"] or options["as_json"]):
            click.echo(f"{path}: {counted(outcomes)}")
    return wrong
