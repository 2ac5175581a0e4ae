"""Slide to network: reader threads feed a bounded queue, in order.

Readers decode, filter and normalise; the caller's thread runs the networks. What is in flight is
bounded by the number of readers, so memory does not grow with the number of tiles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from qupath_hccmil.scoring.runtime import Runtime, TileOutputs


# A job is long enough to drown the queue's overhead, short enough to keep memory small.
CHUNK = 8
READERS = 2
LOOKAHEAD = 3


class TileVerdict(IntEnum):
    """What became of a tile."""

    KEPT = 0
    BACKGROUND = 1
    BLURRED = 2
    NOT_READ = 3


@dataclass(frozen=True)
class Chunk:
    """A run of tiles as read.

    Attributes
    ----------
    rows : (n,) int64
        Which of the tiles asked for.
    verdicts : (n,) int8
        :class:`TileVerdict` of each.
    rgb : (k, h, w, 3) uint8
        Normalised pixels of the k tiles that are kept.
    """

    rows: NDArray[np.int64]
    verdicts: NDArray[np.int8]
    rgb: NDArray[np.uint8]


@dataclass(frozen=True)
class Scored:
    """Outputs for every tile asked for; NaN where a tile was not kept.

    Attributes
    ----------
    logits, nuclei_fraction : (n,) float64
    verdicts : (n,) int8
        :class:`TileVerdict` of each tile; ``NOT_READ`` beyond the wanted number.
    """

    logits: NDArray[np.float64]
    nuclei_fraction: NDArray[np.float64]
    verdicts: NDArray[np.int8]


def chunks_of(n_tiles: int) -> Iterator[NDArray[np.int64]]:
    """Rows 0 to `n_tiles` - 1, cut into chunks."""
    return (np.arange(start, min(start + CHUNK, n_tiles)) for start in range(0, n_tiles, CHUNK))


def read_ahead(
    load: Callable[[NDArray[np.int64]], Chunk],
    jobs: Iterator[NDArray[np.int64]],
    *,
    readers: int = READERS,
) -> Generator[Chunk, None, None]:
    """Chunks in the order of `jobs`, loaded ahead by threads.

    Parameters
    ----------
    load : callable
        Row numbers to a chunk; runs in a reader thread.
    jobs : iterator of (n,) int64
        Row numbers of each chunk, see :func:`chunks_of`.
    readers : int
        Threads. At most ``readers * LOOKAHEAD`` chunks wait at any time.
    """
    # The readers are the threads; OpenCV starting its own inside them would fight the networks.
    cv2.setNumThreads(1)
    waiting: deque[Future[Chunk]] = deque()
    pool = ThreadPoolExecutor(readers, thread_name_prefix="tile-reader")
    try:
        waiting.extend(pool.submit(load, rows) for rows in islice(jobs, readers * LOOKAHEAD))
        while waiting:
            chunk = waiting.popleft().result()
            waiting.extend(pool.submit(load, rows) for rows in islice(jobs, 1))
            yield chunk
    finally:
        # On an error or an early stop nothing that waits is worth reading.
        pool.shutdown(wait=True, cancel_futures=True)


def run(
    chunks: Iterator[Chunk],
    runtime: Runtime,
    n_tiles: int,
    *,
    wanted: int | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> Scored:
    """Feed full batches to the networks until the tiles, or the `wanted` number, are done.

    Parameters
    ----------
    chunks : iterator of Chunk
        In order.
    runtime : Runtime
    n_tiles : int
        Number of tiles that `chunks` will bring.
    wanted : int, optional
        Stop after so many kept tiles.
    progress : callable
        Told the number of tiles dealt with since the last call.
    """
    logits = np.full(n_tiles, np.nan)
    nuclei = np.full(n_tiles, np.nan)
    verdicts = np.full(n_tiles, TileVerdict.NOT_READ, np.int8)
    batches = _Batches(runtime, logits, nuclei)
    kept = 0
    for chunk in chunks:
        verdicts[chunk.rows] = chunk.verdicts
        rows = chunk.rows[chunk.verdicts == TileVerdict.KEPT]
        if wanted is not None and kept + len(rows) > wanted:
            surplus = rows[wanted - kept :]
            verdicts[chunk.rows[chunk.rows >= surplus[0]]] = TileVerdict.NOT_READ
            rows = rows[: wanted - kept]
        batches.add(rows, chunk.rgb[: len(rows)])
        kept += len(rows)
        progress(len(chunk.rows))
        if wanted is not None and kept >= wanted:
            break
    batches.flush()
    runtime.wait()
    return Scored(logits, nuclei, verdicts)


class _Batches:
    """Collects kept tiles into one reused buffer and runs it whenever it is full."""

    def __init__(
        self, runtime: Runtime, logits: NDArray[np.float64], nuclei: NDArray[np.float64]
    ) -> None:
        self._runtime = runtime
        self._logits = logits
        self._nuclei = nuclei
        self._rows: list[int] = []
        self._buffer: NDArray[np.uint8] | None = None

    def add(self, rows: NDArray[np.int64], rgb: NDArray[np.uint8]) -> None:
        if self._buffer is None:
            self._buffer = np.empty((self._runtime.batch, *rgb.shape[1:]), np.uint8)
        for row, tile in zip(rows.tolist(), rgb, strict=True):
            self._buffer[len(self._rows)] = tile
            self._rows.append(row)
            if len(self._rows) == self._runtime.batch:
                self.flush()

    def flush(self) -> None:
        if not self._rows or self._buffer is None:
            return
        rows = np.array(self._rows)

        def done(outputs: TileOutputs) -> None:
            self._logits[rows] = outputs.logits
            self._nuclei[rows] = outputs.nuclei_fraction

        self._runtime.submit(self._buffer[: len(rows)], done)
        self._rows.clear()
