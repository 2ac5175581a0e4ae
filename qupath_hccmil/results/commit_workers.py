"""Processes that prepare the images of a commit, for the one that writes the project.

They are started by ``spawn``, as on Windows and macOS, on Linux too: a fork would copy the threads
and the Java of a process that has any. They ignore Ctrl-C, which is for the one that writes, and
end with it, however it ends: a process that was killed leaves none behind.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from pathlib import Path

from qupath_hccmil.errors import HccMilError
from qupath_hccmil.qupath.data_types import EngineName
from qupath_hccmil.qupath.image_data import OpenFile
from qupath_hccmil.results.commit_image import CommitOptions, ImageTask, Visited, visit

# To start a process takes as long as to prepare some 30 images of 2,000 tiles, and QuPath's Java
# takes several times as long and much memory. With more than 8, the writer has no time left.
_IMAGES_A_WORKER = 100
_MOST_CHOSEN = 8


class WorkersError(HccMilError):
    """Processes that prepare images cannot be started, or one was killed."""


class Visitors:
    """Visits images in this process or in others, which end with :meth:`close`.

    Parameters
    ----------
    workers : int
        1 takes this process.
    open_file : callable
        How the project's engine reads a data file.
    options : CommitOptions
    """

    def __init__(self, workers: int, open_file: OpenFile, options: CommitOptions) -> None:
        self._of_project = (open_file, options)
        self._pool: ProcessPoolExecutor | None = None
        if workers > 1:
            self._pool = ProcessPoolExecutor(
                workers, multiprocessing.get_context("spawn"), _begin, self._of_project
            )

    def visit(
        self, tasks: Sequence[ImageTask], besides: Sequence[Sequence[Path]]
    ) -> Generator[Visited, None, None]:
        """Visit images; see :func:`~qupath_hccmil.results.commit_image.visit`.

        Yields
        ------
        Visited
            In the order of the tasks. Once it has been closed, nothing is written any more.

        Raises
        ------
        WorkersError
            A process cannot be started, or was killed.
        OSError
            The disk refuses.
        """
        if self._pool is None:
            for task, beside in zip(tasks, besides, strict=True):
                yield visit(task, beside, *self._of_project)
            return
        futures: list[Future[Visited]] = []
        try:
            with _without_interruption():
                for task, beside in zip(tasks, besides, strict=True):
                    futures.append(self._submit(task, beside))
            for future in futures:
                yield future.result()
        except BrokenProcessPool as error:
            raise WorkersError(
                "a process that prepares images was killed, or could not start; the images that "
                "are not listed are as they were. Run it again, with fewer --workers if the "
                "computer has too little memory"
            ) from error
        finally:
            # also if this is interrupted or closed
            for future in futures:
                future.cancel()
            wait(futures)

    def _submit(self, task: ImageTask, beside: Sequence[Path]) -> Future[Visited]:
        assert self._pool is not None
        try:
            return self._pool.submit(_visit, task, beside)
        except OSError as error:
            raise WorkersError(
                f"processes that prepare images cannot be started ({error.strerror or error}); "
                "run it again with --workers 1"
            ) from error

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Visitors:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def chosen_workers(asked: int | None, images: int, engine: EngineName) -> int:
    """How many processes prepare images.

    Parameters
    ----------
    asked : int or None
        By the user.
    images : int
        That have results.
    engine : {"paquo", "native"}
        With paquo, each process starts QuPath's Java, so one is chosen.
    """
    if asked is not None:
        return asked
    worth = images // _IMAGES_A_WORKER if engine == "native" else 1
    return max(1, min(worth, _usable_cores(), _MOST_CHOSEN))


def _usable_cores() -> int:
    """Cores that this process may use, which a scheduler of jobs may limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _without_interruption() -> Iterator[None]:
    """Start processes that never see Ctrl-C; here, it comes when this is left.

    The pool starts them while it is given tasks, and they inherit which signals are held back.
    Windows cannot do this, so there it is ignored only from :func:`_begin` on.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_of_project: tuple[OpenFile, CommitOptions]


def _begin(open_file: OpenFile, options: CommitOptions) -> None:
    """Prepare a new process."""
    global _of_project
    _of_project = open_file, options
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # The pool tells its processes to end, but not if it is killed.
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)


def _visit(task: ImageTask, beside: Sequence[Path]) -> Visited:
    return visit(task, beside, *_of_project)
