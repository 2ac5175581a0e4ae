"""Slides handed to workers, and their rows; workers that are lost, refused or new.

The scheduler holds one slide for each worker at a time, so its memory and the client's do not grow
with the number of slides, and it is certain which slide a lost worker was at.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from qupath_hccmil.cluster.connect import Workers
from qupath_hccmil.cluster.environment import difference, environment
from qupath_hccmil.cluster.worker_task import (
    Refusal,
    environment_of_worker,
    packed,
    score_on_worker,
)
from qupath_hccmil.errors import ClusterError, HccMilError, one_line
from qupath_hccmil.results.slide_tasks import SlideTask
from qupath_hccmil.results.slide_worker import ScoringPlan, SlideRow

if TYPE_CHECKING:
    from distributed import Future

# Seconds between two looks at which workers there are.
_LOOK_S = 1.0


@dataclass(frozen=True)
class Limits:
    """What a slide may cost.

    Attributes
    ----------
    retries : int
        How often a slide is tried again whose worker was lost.
    seconds : float or None
        After which its worker is ended.
    """

    retries: int = 2
    seconds: float | None = None


def score_on_workers(
    workers: Workers, tasks: Sequence[SlideTask], plan: ScoringPlan, limits: Limits
) -> Iterator[SlideRow]:
    """Score slides on a cluster.

    Parameters
    ----------
    workers : Workers
    tasks : sequence of SlideTask
    plan : ScoringPlan
    limits : Limits

    Yields
    ------
    SlideRow
        One a slide, in the order in which they are done.

    Raises
    ------
    ClusterError
        The scheduler is gone, or no worker can be used.
    ModelError
        The networks cannot be loaded.
    """
    run = _Run(workers, plan, limits, deque(_Attempt(task, 1) for task in tasks))
    try:
        while run.waiting or run.under_way:
            run.hand_out()
            yield from run.done()
    finally:
        run.cancel()


@dataclass(frozen=True)
class _Attempt:
    task: SlideTask
    number: int


@dataclass
class _Run:
    workers: Workers
    plan: ScoringPlan
    limits: Limits
    waiting: deque[_Attempt]
    under_way: dict[Future, tuple[_Attempt, frozenset[str]]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    present: frozenset[str] = frozenset()
    _expected: dict[str, str] | None = None
    _looked: float = float("-inf")
    _count: int = 0

    def __post_init__(self) -> None:
        model = None if self.plan.model is None else str(self.plan.model.resolve())
        self._where = (model, self.plan.runtime, self.plan.device)

    def hand_out(self) -> None:
        """Give each free worker a slide.

        Raises
        ------
        ClusterError
            Every worker was refused.
        """
        self._look()
        self._take_back()
        usable = self.present - self.refused.keys()
        if self.present and not usable and not self.under_way:
            raise ClusterError(
                "no worker can be used: "
                + "; ".join(f"{worker}: {why}" for worker, why in self.refused.items())
            )
        if usable and self._expected is None:
            self._expected = self._agreed(usable)
            usable = self.present - self.refused.keys()
        while self.waiting and len(self.under_way) < len(usable):
            attempt = self.waiting.popleft()
            self._count += 1
            future = self.workers.client.submit(
                score_on_worker,
                packed(attempt.task, self.plan),
                self._where,
                self._expected,
                self.workers.threads,
                self.limits.seconds,
                key=f"slide-{id(self)}-{self._count}",
                pure=False,
                # any worker will do, as long as all of them may
                workers=sorted(usable) if self.refused else None,
            )
            self.under_way[future] = (attempt, usable if self.refused else frozenset())

    def done(self) -> Iterator[SlideRow]:
        """Rows of slides that are done, after a wait for one.

        Raises
        ------
        ClusterError
            The scheduler is gone.
        """
        from distributed import wait
        from distributed.comm.core import CommClosedError

        if not self.under_way:
            time.sleep(_LOOK_S)
            return
        try:
            finished = wait(list(self.under_way), _LOOK_S, "FIRST_COMPLETED").done
        except (TimeoutError, CommClosedError):
            return
        for future in finished:
            attempt, _ = self.under_way.pop(future)
            row = self._row(future, attempt)
            future.release()
            if row is not None:
                yield replace(row, tries=attempt.number)

    def cancel(self) -> None:
        """Let go of what is under way, after an error or an interruption."""
        for future in self.under_way:
            future.cancel(force=True)
        self.under_way.clear()

    def _row(self, future: Future, attempt: _Attempt) -> SlideRow | None:
        """Row of a slide; None where it is to be tried again."""
        from distributed.scheduler import KilledWorker

        if future.status in ("cancelled", "lost"):
            raise self._gone()
        error = future.exception() if future.status == "error" else None
        if error is None:
            answer = future.result()
            if isinstance(answer, Refusal):
                self.refused[answer.worker] = answer.reason
                self.waiting.appendleft(attempt)
                return None
            row: SlideRow = answer
            return row
        if isinstance(error, HccMilError):
            raise error
        if not isinstance(error, KilledWorker):
            raise ClusterError(
                f"a worker cannot run this version of qupath-hccmil ({one_line(error)}); install "
                "the same version there"
            ) from error
        self._looked = float("-inf")
        if attempt.number <= self.limits.retries:
            self.waiting.append(_Attempt(attempt.task, attempt.number + 1))
            return None
        limit = self.limits.seconds
        reasons = "it crashed or was out of memory"
        if limit is not None:
            reasons += f", or took longer than {limit:g} s"
        times = "once" if attempt.number == 1 else f"{attempt.number} times"
        return SlideRow.failed(
            attempt.task, f"its worker was lost {times} while this slide was scored: {reasons}"
        )

    def _look(self) -> None:
        """Note which workers there are.

        Raises
        ------
        ClusterError
            The scheduler is gone.
        """
        if time.monotonic() - self._looked < _LOOK_S:
            return
        client = self.workers.client
        if client.status != "running":
            raise self._gone()
        try:
            threads = client.nthreads()
        except (OSError, TimeoutError) as error:
            raise self._gone() from error
        for worker, count in threads.items():
            if count != 1:
                self.refused[worker] = f"has {count} threads; start it with --nthreads 1"
        self.present = frozenset(threads)
        self._looked = time.monotonic()

    def _take_back(self) -> None:
        """Take slides back that wait for workers which are gone."""
        for future, (attempt, chosen) in list(self.under_way.items()):
            if chosen and not chosen & self.present:
                del self.under_way[future]
                future.cancel(force=True)
                self.waiting.appendleft(attempt)

    def _agreed(self, usable: frozenset[str]) -> dict[str, str]:
        """Environment that all workers must have: this one's, with the precision of the first.

        A computer without a GPU may lead workers that have one.
        """
        mine = environment(self.plan.model, self.plan.runtime, self.plan.device)
        first = None
        for worker in sorted(usable):
            found = self._asked(worker)
            if isinstance(found, str):
                self.refused[worker] = found
                continue
            wanted = {**mine, "precision": found["precision"]}
            if why := difference(wanted, found):
                self.refused[worker] = why
            else:
                first = first or wanted
        return first or mine

    def _asked(self, worker: str) -> dict[str, str] | str:
        try:
            answers = self.workers.client.run(
                environment_of_worker, self._where, workers=[worker], on_error="return"
            )
        except (OSError, TimeoutError, KeyError, ValueError) as error:
            return one_line(error)
        answer = answers.get(worker)
        if isinstance(answer, Exception):
            return f"cannot run this version of qupath-hccmil ({one_line(answer)})"
        return answer if answer is not None else "did not answer"

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"the Dask scheduler ({self.workers.kind}) is gone; what was scored is in "
            f"{self.plan.folder}: run the same command again, it goes on from there"
        )
