"""Many slides in one call: their projects, how they are shared out, and the record of the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click

from qupath_hccmil.cli import options

if TYPE_CHECKING:
    from qupath_hccmil.cluster.work import SlideRow, Work
    from qupath_hccmil.results.slide_tasks import Shard

Row = TypeVar("Row")
RECORD_S = 300.0
"""Seconds between two writes of run.json while slides are done."""
LEAVE_SHARD_OUT = "--dask shares the slides out itself; leave --shard out"


class ShardType(click.ParamType):
    """One of several equal parts, such as ``3/40``."""

    name = "N/OF"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Shard:
        """Read the part."""
        from qupath_hccmil.results.slide_tasks import Shard

        if isinstance(value, Shard):
            return value
        try:
            return Shard.from_text(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


projects_table: Callable[[options.F], options.F] = click.option(
    "--projects",
    "projects_table",
    type=options.PathType,
    metavar="FILE",
    help="Table with a column project: more projects; paths are from the table's folder.",
)


def shared_out(act: str, where: str = "") -> Callable[[options.F], options.F]:
    """Options that share slides out: over the parts of a job array, or over Dask workers.

    Parameters
    ----------
    act : str
        What is done to slides, in the imperative.
    where : str
        What the first two need, such as ``"With --results: "``.
    """
    part = f"{where}{act} one of several equal parts of the slides, such as 3/40."
    dask = (
        f"{where}{act} on Dask workers: on this machine (local), as jobs of a queue (a YAML file "
        "of dask-jobqueue), or of a scheduler that runs (tcp://HOST:PORT)."
    )
    return options.together(
        click.option("--shard", type=ShardType(), help=part[0].upper() + part[1:]),
        click.option("--dask", metavar="local|FILE.yaml|ADDRESS", help=dask[0].upper() + dask[1:]),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            metavar="N",
            help="Worker processes that --dask starts; default for local: one for every 4 cores.",
        ),
        click.option(
            "--slide-timeout",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="With --dask: end the worker of a slide that takes longer.",
        ),
        click.option(
            "--retries",
            type=click.IntRange(min=0),
            default=2,
            show_default=True,
            help="With --dask: how often a slide whose worker was lost is tried again.",
        ),
    )


def on_workers(
    tasks: Sequence[Any],
    work: Work,
    given: Mapping[str, Any],
    cluster: dict[str, Any],
    *,
    quiet: bool,
) -> Iterator[SlideRow[Any]]:
    """Rows of slides that are done on a cluster.

    Parameters
    ----------
    tasks, work
        See :func:`~qupath_hccmil.cluster.run_slides.run_on_workers`.
    given : mapping
        Options of :func:`shared_out`.
    cluster : dict
        Gets facts about the cluster, for the record of the run.
    quiet : bool
        Whether the address of Dask's dashboard stays unsaid.
    """
    from qupath_hccmil.cluster.connect import connected
    from qupath_hccmil.cluster.run_slides import Limits, run_on_workers

    limits = Limits(given["retries"], given["slide_timeout"])
    with connected(given["dask"], given["workers"]) as workers:
        cluster.update(kind=workers.kind, threads=workers.threads, **asdict(limits))
        if workers.dashboard and not quiet:
            click.echo(f"Dask's dashboard: {workers.dashboard}")
        yield from run_on_workers(workers, tasks, work, limits)


def recorded(rows: Iterable[Row], record: Callable[[], object]) -> Iterator[Row]:
    """Yield rows; every few minutes `record` those that were taken, so that little can be lost."""
    last = time.monotonic()
    for row in rows:
        yield row
        if time.monotonic() - last > RECORD_S:
            record()
            last = time.monotonic()
