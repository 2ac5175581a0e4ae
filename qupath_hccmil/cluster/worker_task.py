"""The task that a Dask worker runs: one slide.

What comes in and goes out is small: which slide, the settings, and a row. Results go straight from
the worker to the folder.
"""

from __future__ import annotations

import faulthandler
import pickle
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from qupath_hccmil.cluster.environment import difference
from qupath_hccmil.cluster.work import PreparedWork, SlideRow, Step, Work
from qupath_hccmil.errors import ModelError

Identify = Callable[[Any], dict[str, str]]
"""See :attr:`Work.identify`. A worker that has no such function cannot be used."""


@dataclass(frozen=True)
class Refusal:
    """A worker that must get no slides, since its results would be others.

    Attributes
    ----------
    worker : str
        Its address.
    reason : str
    """

    worker: str
    reason: str


def packed(task: Any, step: Step, work: Work) -> bytes:
    """A task for a worker, as bytes: one of another version opens them only once it was checked."""
    return pickle.dumps((task, step, work))


def do_on_worker(
    package: bytes,
    identify: Identify,
    where: Hashable,
    expected: Mapping[str, str],
    threads: int | None,
    limit: float | None,
) -> SlideRow[Any] | Refusal:
    """Do one slide, or a piece of it, in a Dask worker.

    Parameters
    ----------
    package : bytes
        See :func:`packed`.
    identify : callable
    where : hashable
        See :class:`Work`.
    expected : mapping of str to str
        Environment that this one must equal.
    threads : int, optional
        Threads that the networks may use; default: all.
    limit : float, optional
        Seconds after which the process ends itself; loading the networks does not count.
    """
    address = _address()
    if reason := _why_not(identify, where, expected):
        return Refusal(address, reason)
    task, step, work = pickle.loads(package)
    # a cluster's file system may take minutes for the first worker's libraries and networks
    prepared = _prepared(work, threads, tuple(sorted(expected.items())))
    with _ended_after(limit):
        row = prepared.do(task, step)
    return replace(row, worker=address)


def about_worker(identify: Identify, where: Hashable) -> dict[str, Any]:
    """What a worker says of itself before it gets slides, as plain data.

    Returns
    -------
    dict
        ``environment``: facts, or why there are none; ``cores``: those that its process may use.
    """
    from dask.system import CPU_COUNT

    return {"environment": _environment(identify, where), "cores": CPU_COUNT}


def _why_not(identify: Identify, where: Hashable, expected: Mapping[str, str]) -> str:
    found = _environment(identify, where)
    return found if isinstance(found, str) else difference(expected, found)


def _environment(identify: Identify, where: Hashable) -> dict[str, str] | str:
    try:
        return identify(where)
    except ModelError as error:
        return str(error)


@lru_cache(maxsize=1)
def _prepared(
    work: Work,
    threads: int | None,
    facts: tuple[tuple[str, str], ...],  # noqa: ARG001 - a changed model is loaded again
) -> PreparedWork:
    """Load the networks once for a process."""
    return work.prepared(threads)


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
