"""Slides handed to workers, and their rows; workers that are lost, refused or new.

Each worker has one slide at a time, which is meant for it alone. So the memory of the scheduler and
of this process does not grow with the number of slides, and it is certain which slide a lost worker
had. A worker gets slides only after it has said that its results would be the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from qupath_hccmil.cluster.connect import Workers
from qupath_hccmil.cluster.environment import difference
from qupath_hccmil.cluster.work import PRECISION, SlideRow, Step, Work
from qupath_hccmil.cluster.worker_task import Refusal, about_worker, do_on_worker, packed
from qupath_hccmil.errors import ClusterError, one_line

if TYPE_CHECKING:
    from distributed import Future

_log = logging.getLogger(__name__)

# Seconds between two looks at which workers there are, and until a lack of them is mentioned.
_LOOK_S = 1.0
_PATIENCE_S = 30.0
# Seconds without an answer after which the scheduler is gone.
_SILENCE_S = 300.0
# What a scheduler that is busy, or a connection that is lost, may raise in the meantime. Before
# Python 3.11 asyncio has a TimeoutError of its own.
_NO_ANSWER = (OSError, TimeoutError, asyncio.TimeoutError)
# Workers that may end while they are asked before we give up; refused ones in one message.
_MOST_ENDED = 10
_MOST_NAMED = 5

BEGIN, JOIN = Step("begin"), Step("join")


@dataclass(frozen=True)
class Limits:
    """What a slide may cost.

    Attributes
    ----------
    retries : int
        How often a slide, or a piece of a large one, is tried again whose worker was lost.
    seconds : float or None
        After which its worker is ended.
    """

    retries: int = 2
    seconds: float | None = None


def run_on_workers(
    workers: Workers, tasks: Sequence[Hashable], work: Work, limits: Limits
) -> Iterator[SlideRow[Any]]:
    """Do slides on a cluster.

    Parameters
    ----------
    workers : Workers
    tasks : sequence of hashable
        One a slide; they travel to workers.
    work : Work
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
        The model cannot be used here.
    """
    run = _Run(workers, work, limits, deque(_Attempt(task) for task in tasks))
    try:
        while run.waiting or run.under_way:
            run.look()
            run.hand_out()
            yield from run.done()
    finally:
        run.cancel()


@dataclass(frozen=True)
class _Attempt:
    task: Any
    step: Step = BEGIN
    number: int = 1


@dataclass(frozen=True)
class _UnderWay:
    attempt: _Attempt
    worker: str
    since: float


@dataclass
class _LargeSlide:
    """A slide that is done in pieces: how many are left, and what they took so far."""

    left: int
    pieces: int
    seconds: float
    tries: int


@dataclass
class _Run:
    workers: Workers
    work: Work
    limits: Limits
    waiting: deque[_Attempt]
    under_way: dict[Future, _UnderWay] = field(default_factory=dict)
    _asked: dict[Future, str] = field(default_factory=dict)
    _usable: dict[str, int] = field(default_factory=dict)
    _refused: dict[str, str] = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)
    _present: frozenset[str] = frozenset()
    _finished: SimpleQueue[Future] = field(default_factory=SimpleQueue)
    _large: dict[Hashable, _LargeSlide] = field(default_factory=dict)
    _expected: dict[str, str] | None = None
    _looked: float = float("-inf")
    _ended: int = 0
    _count: int = 0
    # another run on the same scheduler must not have tasks of the same name: it would get our rows
    _name: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self._question = (self.work.identify, self.work.where)
        self._mine = dict(self.work.facts())
        self._answered = time.monotonic()
        self._patient_until = time.monotonic() + _PATIENCE_S

    def look(self) -> None:
        """Note which workers came and went, once a second.

        Raises
        ------
        ClusterError
            The scheduler is gone, or no worker can be used.
        """
        if time.monotonic() - self._looked < _LOOK_S:
            return
        client = self.workers.client
        if client.status == "connecting":
            # the connection was lost: Dask tries for a while, and closes the client if in vain
            return
        if client.status != "running":
            raise self._gone()
        try:
            threads = client.nthreads()
        except _NO_ANSWER as error:
            # a scheduler may be busy for a while
            if client.status == "running" and time.monotonic() - self._answered < _SILENCE_S:
                return
            raise self._gone() from error
        self._looked = self._answered = time.monotonic()
        self.workers.renew()
        gone, new = self._present - threads.keys(), threads.keys() - self._present
        self._present = frozenset(threads)
        for worker in gone:
            self._without(worker)
        for worker in sorted(new):
            if threads[worker] == 1:
                self._asked[self._submit(worker, about_worker, *self._question)] = worker
            else:
                why = f"has {threads[worker]} threads; start it with --nthreads 1"
                self._refused[worker] = why
        self._check_workers()

    def hand_out(self) -> None:
        """Give each free worker a slide."""
        if self.workers.client.status != "running":
            return
        busy = {each.worker for each in self.under_way.values()}
        for worker in self._usable:
            if not self.waiting:
                return
            if worker not in busy:
                attempt = self.waiting.popleft()
                package = packed(attempt.task, attempt.step, self.work)
                future = self._submit(
                    worker, do_on_worker, package, *self._question, self._expected,
                    self._threads(worker), self.limits.seconds,
                )  # fmt: skip
                self.under_way[future] = _UnderWay(attempt, worker, time.monotonic())

    def done(self) -> Iterator[SlideRow[Any]]:
        """Rows of slides that are done, after a wait for one.

        Raises
        ------
        ClusterError
            The scheduler is gone.
        """
        try:
            future = self._finished.get(timeout=_LOOK_S)
        except Empty:
            return
        if future in self._asked:
            self._note_answer(future, self._asked.pop(future))
        elif future in self.under_way:
            done = self.under_way.pop(future)
            row = self._row(future, done)
            if row is not None and (row := self._of_whole_slide(row, done.attempt)) is not None:
                yield row

    def cancel(self) -> None:
        """Let go of what is under way, after an error or an interruption."""
        for future in (*self.under_way, *self._asked):
            _let_go(future)
        self.under_way.clear()
        self._asked.clear()

    def _submit(self, worker: str, function: Any, *arguments: Any) -> Future:
        """Have a function run by one worker, and by no other."""
        self._count += 1
        future: Future = self.workers.client.submit(
            function,
            *arguments,
            key=f"hccmil-{self._name}-{self._count}",
            pure=False,
            workers=[worker],
            allow_other_workers=False,
        )
        future.add_done_callback(self._finished.put)
        return future

    def _row(self, future: Future, done: _UnderWay) -> SlideRow[Any] | None:
        """Row of a slide; None where it is to be tried again, or is not here yet."""
        from distributed.scheduler import KilledWorker

        if future.status == "cancelled":
            # with the connection, and not by its worker's fault
            self.waiting.appendleft(done.attempt)
            return None
        if future.status == "pending" and done.worker in self._present:
            # it was done, but the row was lost with its worker, or is made again
            self.under_way[future] = done
            future.add_done_callback(self._finished.put)
            return None
        if future.status in ("pending", "lost") or isinstance(_error(future), KilledWorker):
            _let_go(future)
            self._ended_at(done.worker)
            return self._tried(done, self._why_lost(done))
        if (error := _error(future)) is not None:
            # what is wrong with a slide is in its row, so this is wrong with the worker
            self._refuse(done.worker, one_line(error))
            return self._tried(done, f"{done.worker}: {one_line(error)}")
        answer = self._result(future)
        if answer is None:
            self.under_way[future] = done
            return None
        if isinstance(answer, Refusal):
            self._refuse(done.worker, answer.reason)
            self.waiting.appendleft(done.attempt)
            return None
        row: SlideRow[Any] = answer
        return replace(row, tries=done.attempt.number)

    def _result(self, future: Future) -> Any | None:
        """What a worker found; None where it cannot be had now, and is looked at again."""
        try:
            return future.result(timeout=_LOOK_S)
        except (*_NO_ANSWER, CancelledError) as error:
            _log.debug("no answer to %s: %r", future.key, error)
            self._finished.put(future)
            return None

    def _of_whole_slide(self, row: SlideRow[Any], attempt: _Attempt) -> SlideRow[Any] | None:
        """Row of a slide of which one step is done; None where others are left."""
        task, step = attempt.task, attempt.step
        if step.kind == "begin":
            if row.outcome.status != "unfinished":
                return row
            self._large[task] = _LargeSlide(row.pieces, row.pieces, row.outcome.seconds, row.tries)
            # they come first, so that a large slide is not the last to be done
            self.waiting.extendleft(
                _Attempt(task, Step("piece", number)) for number in reversed(range(row.pieces))
            )
            return None
        slide = self._large.get(task)
        if slide is None:
            # a piece of a slide of which another has failed
            return None
        slide.seconds += row.outcome.seconds
        slide.tries = max(slide.tries, row.tries)
        if row.outcome.status == "unfinished":
            slide.left -= 1
            if not slide.left:
                self.waiting.appendleft(_Attempt(task, JOIN))
            return None
        del self._large[task]
        if step.kind == "piece":
            self.waiting = deque(each for each in self.waiting if each.task != task)
        outcome = replace(row.outcome, seconds=slide.seconds)
        return replace(row, outcome=outcome, tries=slide.tries, pieces=slide.pieces)

    def _tried(self, done: _UnderWay, reason: str) -> SlideRow[Any] | None:
        """Have a slide tried again, or give it up."""
        attempt = done.attempt
        if attempt.number <= self.limits.retries:
            self.waiting.append(replace(attempt, number=attempt.number + 1))
            return None
        times = "once" if attempt.number == 1 else f"{attempt.number} times"
        return self.work.failed(
            attempt.task,
            f"its worker was lost {times} while {self.work.doing}: {reason}",
            worker=done.worker,
            tries=attempt.number,
        )

    def _why_lost(self, done: _UnderWay) -> str:
        limit = self.limits.seconds
        if limit is not None and time.monotonic() - done.since >= limit:
            return f"it took longer than {limit:g} s"
        return "it crashed or was out of memory"

    def _note_answer(self, future: Future, worker: str) -> None:
        """Use a worker, or refuse it.

        A computer without a GPU may start a run for workers that have one: the precision is that
        of the first worker that can be used.
        """
        from distributed.scheduler import KilledWorker

        error = _error(future)
        if future.status == "cancelled":
            # with the connection; it is asked again
            self._ended_at(worker)
            return
        if future.status != "finished":
            if error is None or isinstance(error, KilledWorker):
                self._ended += 1
                self._ended_at(worker)
            else:
                self._refuse(worker, f"cannot run this version of qupath-hccmil: {one_line(error)}")
            return
        answer = self._result(future)
        if answer is None:
            self._asked[future] = worker
            return
        found = answer["environment"]
        if isinstance(found, str):
            self._refuse(worker, found)
            return
        expected = self._expected or {**self._mine, PRECISION: found.get(PRECISION, "")}
        if why := difference(expected, found):
            self._refuse(worker, why)
            return
        self._expected = expected
        self._usable[worker] = answer["cores"]

    def _threads(self, worker: str) -> int:
        """Threads for the networks of a worker; workers on one computer share its cores.

        One that came later gets its share of what the others had.
        """
        at_work = self._present - self._refused.keys()
        neighbours = sum(_host(each) == _host(worker) for each in at_work | {worker})
        return self.workers.threads or max(1, self._usable[worker] // neighbours)

    def _refuse(self, worker: str, why: str) -> None:
        self._usable.pop(worker, None)
        self._refused[worker] = why
        self._looked = float("-inf")

    def _ended_at(self, worker: str) -> None:
        """Note that a worker ended; one that comes in its place, at its address too, is new."""
        self._usable.pop(worker, None)
        self._present -= {worker}
        self._looked = float("-inf")

    def _without(self, worker: str) -> None:
        """Forget a worker that is gone; its slide is tried again."""
        self._usable.pop(worker, None)
        self._refused.pop(worker, None)
        for future in [each for each, asked in self._asked.items() if asked == worker]:
            del self._asked[future]
            self._ended += 1
            _let_go(future)
        for future, each in self.under_way.items():
            if each.worker == worker and future.status == "pending":
                self._finished.put(future)

    def _check_workers(self) -> None:
        """Name workers that are refused.

        Raises
        ------
        ClusterError
            None can be used.
        """
        if self._usable or self.under_way:
            for worker in self._refused.keys() - self._named:
                _log.warning("%s gets no slides: %s", worker, self._refused[worker])
                self._named.add(worker)
        elif self._refused and not self._asked:
            named = [f"{worker}: {why}" for worker, why in self._refused.items()]
            more = f"; and {len(named) - _MOST_NAMED} others" if len(named) > _MOST_NAMED else ""
            raise ClusterError(f"no worker can be used: {'; '.join(named[:_MOST_NAMED])}{more}")
        elif self._ended >= _MOST_ENDED:
            raise ClusterError(
                f"{self._ended} workers ended before they could do a slide; see their logs"
            )
        elif not self._present and time.monotonic() > self._patient_until:
            _log.warning("there is no Dask worker yet; waiting for one")
            self._patient_until = float("inf")

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"the Dask scheduler ({self.workers.kind}) is gone; what was done is in "
            f"{self.work.folder}: run the same command again, it goes on from there"
        )


def _let_go(future: Future) -> None:
    """Cancel a task. A scheduler that is gone or busy hides no error that made us do so."""
    try:
        future.cancel(force=True)
    except Exception as error:
        _log.debug("%s could not be cancelled: %r", future.key, error)


def _error(future: Future) -> BaseException | None:
    error: BaseException | None = future.exception() if future.status == "error" else None
    return error


def _host(address: str) -> str:
    return address.rpartition(":")[0]
