"""The tiles of a slide, read ahead by threads and handed over in order.

Readers decode, filter and normalise. What is in flight is bounded by the number of readers, so
memory does not grow with the number of tiles.
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

# A job is long enough to drown the queue's overhead, short enough to keep memory small.
CHUNK = 8
READERS = 2
LOOKAHEAD = 3


class TileVerdict(IntEnum):
    """What became of a tile."""

    TISSUE = 0
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
