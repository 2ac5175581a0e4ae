"""The tiles of a slide, read ahead by threads and returned in order.

Readers decode, filter and normalise. The number of tiles in memory is limited by the number of
readers and does not grow with the number of tiles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

# A job is long enough to outweigh the overhead of the queue, and short enough to save memory.
CHUNK = 8
READERS = 2
LOOKAHEAD = 3


class TileVerdict(IntEnum):
    """What happened to a tile."""

    TISSUE = 0
    BACKGROUND = 1
    BLURRED = 2
    NOT_READ = 3


@dataclass(frozen=True)
class Chunk:
    """Some consecutive tiles as they were read.

    Attributes
    ----------
    rows : (n,) int64
        Row numbers of the tiles.
    verdicts : (n,) int8
        :class:`TileVerdict` of each.
    rgb : (k, h, w, 3) uint8
        Normalised pixels of the k tiles that are kept.
    """

    rows: NDArray[np.int64]
    verdicts: NDArray[np.int8]
    rgb: NDArray[np.uint8]


def chunks_of(rows: range) -> Iterator[NDArray[np.int64]]:
    """Row numbers, cut into chunks."""
    return (np.array(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK))


def read_ahead(
    load: Callable[[NDArray[np.int64]], Chunk],
    jobs: Iterator[NDArray[np.int64]],
    *,
    readers: int = READERS,
) -> Generator[Chunk, None, None]:
    """Yield chunks in the order of `jobs`, loaded ahead by threads.

    Parameters
    ----------
    load : callable
        Turns row numbers into a chunk; runs in a reader thread.
    jobs : iterator of (n,) int64
        Row numbers of each chunk, see :func:`chunks_of`.
    readers : int
        Number of threads. At most ``readers * LOOKAHEAD`` chunks wait at any time.
    """
    # The readers are threads already; threads of OpenCV would compete with the networks.
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
        # After an error or an early stop, the waiting jobs are no longer needed.
        pool.shutdown(wait=True, cancel_futures=True)
