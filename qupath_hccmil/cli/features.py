"""``features``: features of tiles by frozen encoders, as files that other programs read too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qupath_hccmil.cli import exit_codes, many_slides, options
from qupath_hccmil.cli.show import ScoringDisplay

if TYPE_CHECKING:
    from qupath_hccmil.cluster.work import SlideRow
    from qupath_hccmil.encoders.encoder import Encoder
    from qupath_hccmil.features.compute_features import FeatureOutcome, FeatureRun
    from qupath_hccmil.features.feature_work import FeatureWork
    from qupath_hccmil.features.slides_to_encode import SlidesToEncode
    from qupath_hccmil.results.slide_tasks import Shard


@click.command()
@click.argument("sources", nargs=-1, metavar="SOURCE...", type=options.PathType)
@many_slides.projects_table
@options.settings_file()
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Encoder folder, or a risk model's; repeatable. Default: the shipped tile network.",
)
@click.option(
    "--out", type=options.PathType, required=True, help="Folder; gets one for each encoder."
)
@click.option(
    "--stain",
    type=click.Choice(["vahadane", "none"]),
    default="vahadane",
    show_default=True,
    help="vahadane normalises slides as score does, none leaves their colours.",
)
@options.tile_choice
@options.annotation_classes
@options.engine
@options.images
@options.slides
@options.device
@options.runtime
@many_slides.shared_out("compute")
@options.as_json
@options.quiet
def features(
    sources: tuple[Path, ...],
    projects_table: Path | None,
    encoders: tuple[Path, ...],
    out: Path,
    images: tuple[str, ...],
    shard: Shard | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Compute features of the tiles of slides with frozen encoders.

    Each SOURCE is a QuPath project with tumour annotations, a folder of slides, one slide, or a
    table with a column slide. Outlines of a slide that is not in a project are read from a GeoJSON
    file of the same name next to it; without one, all the tissue is used.

    For each encoder there is a folder in that of --out, with one HDF5 file for each slide, which
    CLAM and TRIDENT read too. Run the same command again to continue: what is there is not computed
    again. Nothing is ever downloaded. For research use only.
    """
    from qupath_hccmil.encoders.encoder import load_encoders
    from qupath_hccmil.features.compute_features import FeatureRun
    from qupath_hccmil.features.feature_settings import FeatureSettings
    from qupath_hccmil.features.feature_work import FeatureWork
    from qupath_hccmil.features.slides_to_encode import slides_to_encode
    from qupath_hccmil.results.leftovers import sweep
    from qupath_hccmil.results.run_file import features_facts, write_run
    from qupath_hccmil.results.slide_tasks import project_paths
    from qupath_hccmil.slide_sources.outlined_slides import find_slides

    if not sources and projects_table is None:
        raise click.UsageError("Missing argument 'SOURCE...'.")
    if given["dask"] is None and (given["workers"] or given["slide_timeout"]):
        raise click.UsageError("--workers and --slide-timeout go with --dask")
    if given["dask"] and shard:
        raise click.UsageError(many_slides.LEAVE_SHARD_OUT)
    # workers may have another working folder
    out, encoders = out.absolute(), tuple(each.absolute() for each in encoders)
    sources = tuple(each.absolute() for each in sources)
    projects_table = projects_table and projects_table.absolute()
    settings = FeatureSettings(**options.settings_given(FeatureSettings, given))
    chosen = load_encoders(encoders)
    find = partial(
        find_slides,
        classes=settings.annotation_classes,
        engine=given["engine"],
        images=images,
        slides_dir=given["slides"] and given["slides"].absolute(),
    )
    takes = (lambda place, source: True) if shard is None else shard.takes
    found = slides_to_encode(project_paths(sources, projects_table), find, takes)
    for path, why in found.wrong.items():
        click.echo(f"{path}: FAILED: {why}", err=True)
    sweep(out)
    run = FeatureRun(out, chosen, settings, runtime=given["runtime"], device=given["device"])
    rows: list[SlideRow[FeatureOutcome]] = []
    cluster: dict[str, Any] = {}

    def record() -> None:
        if rows:
            about = {"encoders": _encoders(chosen, out), "settings": asdict(settings)}
            write_run(features_facts(rows, out, about, cluster), out, shard)

    count = len(found.slides) + len(found.unusable)
    work = FeatureWork(out, encoders, settings, given["runtime"], given["device"])
    try:
        with ScoringDisplay(quiet=quiet, lines=not as_json, slides=count) as display:
            found_rows = (
                _in_this_process(found, run, display)
                if given["dask"] is None
                else _on_workers(found, work, given, cluster, quiet=quiet or as_json)
            )
            for row in many_slides.recorded(found_rows, record):
                rows.append(row)
                display.end(_line(row.outcome), failed=row.outcome.status == "failed")
    finally:
        # after an interruption too
        record()
    outcomes = [row.outcome for row in rows]
    if as_json:
        facts = {"encoders": _encoders(chosen, out), "slides": [row.facts() for row in rows]}
        click.echo(json.dumps(facts, indent=2))
    elif not quiet:
        click.echo(_summary(outcomes))
    failed = bool(found.wrong) or any(outcome.status == "failed" for outcome in outcomes)
    return exit_codes.SOME_FAILED if failed else exit_codes.DONE


def _in_this_process(
    found: SlidesToEncode, run: FeatureRun, display: ScoringDisplay
) -> Iterator[SlideRow[FeatureOutcome]]:
    from qupath_hccmil.cluster.work import SlideRow
    from qupath_hccmil.features.compute_features import compute_features

    keys = [
        *(("", name) for name, _ in found.unusable),
        *((str(slide.path.resolve()), stem) for slide, stem in found.slides),
    ]
    for (path, stem), outcome in zip(keys, compute_features(found, run, display), strict=True):
        yield SlideRow(path, stem, outcome)


def _on_workers(
    found: SlidesToEncode,
    work: FeatureWork,
    given: Mapping[str, Any],
    cluster: dict[str, Any],
    *,
    quiet: bool,
) -> Iterator[SlideRow[FeatureOutcome]]:
    """Rows of slides whose features are computed on a cluster; its facts go into `cluster`."""
    from qupath_hccmil.cluster.work import SlideRow
    from qupath_hccmil.features.compute_features import FeatureOutcome
    from qupath_hccmil.features.feature_work import FeatureTask

    for name, reason in found.unusable:
        yield SlideRow("", name, FeatureOutcome(name, "failed", reason=reason))
    tasks = [FeatureTask(stem, slide) for slide, stem in found.slides]
    yield from many_slides.on_workers(tasks, work, given, cluster, quiet=quiet)


def _line(outcome: FeatureOutcome) -> str:
    if outcome.status == "failed":
        return f"{outcome.slide}: FAILED: {outcome.reason.removeprefix(f'{outcome.slide}: ')}"
    if outcome.status == "up to date":
        return f"{outcome.slide}: up to date"
    tiles = ", ".join(f"{name} {count} tiles" for name, count in outcome.tiles.items())
    return f"{outcome.slide}: {tiles}, {outcome.seconds:.1f} s"


def _summary(outcomes: list[FeatureOutcome]) -> str:
    counts = {
        status: sum(outcome.status == status for outcome in outcomes)
        for status in ("computed", "up to date", "failed")
    }
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{said or 'No slides in this part'}."


def _encoders(encoders: list[Encoder], out: Path) -> list[dict[str, str]]:
    return [
        {"name": each.name, "sha256": each.sha256, "folder": str(out / each.name)}
        for each in encoders
    ]
