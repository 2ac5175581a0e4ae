"""The task that a Dask worker runs: one slide.

What comes in and goes out is small: the slide's name and the settings, and a row. Results go
straight from the worker to the folder.
"""

from __future__ import annotations

import faulthandler
import pickle
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from qupath_hccmil.cluster.environment import difference, environment
from qupath_hccmil.errors import ModelError
from qupath_hccmil.results.slide_pieces import Step
from qupath_hccmil.results.slide_tasks import SlideTask
from qupath_hccmil.results.slide_worker import ScoringPlan, SlideRow, SlideWorker
from qupath_hccmil.scoring.devices import DeviceName, RuntimeName
from qupath_hccmil.scoring.precision import PrecisionName
from qupath_hccmil.scoring.runtime import RuntimeOptions
from qupath_hccmil.scoring.score_project import Unwatched

Where = tuple[str | None, RuntimeName, DeviceName, PrecisionName]
"""Folder of the risk model, or None for the shipped one; runtime; device; precision.

Plain data, which a worker of another version can read.
"""


@dataclass(frozen=True)
class Refusal:
    """A worker that must not score, since its results would be others.

    Attributes
    ----------
    worker : str
        Its address.
    reason : str
    """

    worker: str
    reason: str


def packed(task: SlideTask, step: Step, plan: ScoringPlan) -> bytes:
    """A task for a worker, as bytes: one of another version opens them only once it was checked."""
    return pickle.dumps((task, step, plan))


def score_on_worker(
    package: bytes,
    where: Where,
    expected: Mapping[str, str],
    threads: int | None,
    limit: float | None,
) -> SlideRow | Refusal:
    """Score one slide, or a piece of it, in a Dask worker.

    Parameters
    ----------
    package : bytes
        See :func:`packed`.
    where : Where
    expected : mapping of str to str
        Environment that this one must equal.
    threads : int, optional
        Threads that the networks may use; default: all.
    limit : float, optional
        Seconds after which the process ends itself.
    """
    address = _address()
    if reason := _why_not(where, expected):
        return Refusal(address, reason)
    task, step, plan = pickle.loads(package)
    with _ended_after(limit):
        row = _worker(plan, threads, expected["model"]).score(task, Unwatched(), step)
    return replace(row, worker=address)


def about_worker(where: Where) -> dict[str, Any]:
    """What a worker says of itself before it gets slides, as plain data.

    Returns
    -------
    dict
        ``environment``: facts, or why there are none; ``cores``: those that its process may use.
    """
    from dask.system import CPU_COUNT

    return {"environment": _environment(where), "cores": CPU_COUNT}


def _why_not(where: Where, expected: Mapping[str, str]) -> str:
    found = _environment(where)
    return found if isinstance(found, str) else difference(expected, found)


def _environment(where: Where) -> dict[str, str] | str:
    model, runtime, device, precision = where
    options = RuntimeOptions(runtime, device, precision)
    try:
        return environment(None if model is None else Path(model), options)
    except ModelError as error:
        return str(error)


@lru_cache(maxsize=1)
def _worker(
    plan: ScoringPlan,
    threads: int | None,
    model: str,  # noqa: ARG001 - a changed model is loaded again
) -> SlideWorker:
    """Load the networks once for a process."""
    return SlideWorker(plan, threads)


def _address() -> str:
    from distributed import get_worker

    return str(get_worker().address)


@contextmanager
def _ended_after(limit: float | None) -> Iterator[None]:
    """End the process when a slide takes longer than this, even where it hangs in C code.

    The traceback goes to the worker's log, and Dask starts another process.
    """
    if limit is None:
        yield
        return
    assert sys.__stderr__ is not None, "a worker has a log"
    faulthandler.dump_traceback_later(limit, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
