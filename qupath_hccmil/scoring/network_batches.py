"""Feeds the tiles that are read to the networks in full batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.tiles.read_ahead import Chunk, TileVerdict

if TYPE_CHECKING:
    from qupath_hccmil.scoring.runtime import Runtime, TileOutputs

Outputs = TypeVar("Outputs")
_Given = TypeVar("_Given", covariant=True)


@dataclass(frozen=True)
class Scored:
    """Outputs for every requested tile; NaN if a tile was not kept.

    Attributes
    ----------
    logits, nuclei_fraction : (n,) float64
    verdicts : (n,) int8
        :class:`TileVerdict` of each tile; ``NOT_READ`` beyond the wanted number.
    features : (k, d) float32 or None
        Only for a head: those of the tiles that were kept. Logits are NaN then.
    place : (n,) int64 or None
        Row in `features` of each tile.
    """

    logits: NDArray[np.float64]
    nuclei_fraction: NDArray[np.float64]
    verdicts: NDArray[np.int8]
    features: NDArray[np.float32] | None = None
    place: NDArray[np.int64] | None = None

    def part(self, places: range) -> Scored:
        """Outputs of some consecutive tiles."""
        chosen = slice(places.start, places.stop)
        return Scored(
            self.logits[chosen],
            self.nuclei_fraction[chosen],
            self.verdicts[chosen],
            self.features,
            None if self.place is None else self.place[chosen],
        )


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
        Chunks in order.
    runtime : Runtime
    n_tiles : int
        Number of tiles in all `chunks`.
    wanted : int, optional
        Stop after this many kept tiles.
    progress : callable
        Called with the number of tiles that are done since the last call.
    """
    logits = np.full(n_tiles, np.nan)
    nuclei = np.full(n_tiles, np.nan)
    verdicts = np.full(n_tiles, TileVerdict.NOT_READ, np.int8)

    def store(rows: NDArray[np.int64], outputs: TileOutputs) -> None:
        logits[rows] = outputs.logits
        nuclei[rows] = outputs.nuclei_fraction

    batches = Batches(runtime, store)
    left = n_tiles if wanted is None else wanted
    try:
        for chunk in chunks:
            rows, rgb = kept_rows(chunk, left, verdicts)
            batches.add(rows, rgb)
            left -= len(rows)
            progress(len(chunk.rows))
            if not left:
                break
        batches.flush()
    finally:
        # after an interruption too: Python can't end while a network still calls it
        runtime.wait()
    return Scored(logits, nuclei, verdicts)


def kept_rows(
    chunk: Chunk, wanted: int, verdicts: NDArray[np.int8]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Note the verdicts of a chunk, and take the tiles that are kept, at most `wanted`.

    Parameters
    ----------
    chunk : Chunk
    wanted : int
    verdicts : (n,) int8
        Those of the chunk are written to it; tiles beyond the wanted number count as not read.

    Returns
    -------
    rows : (k,) int64
    rgb : (k, h, w, 3) uint8
    """
    verdicts[chunk.rows] = chunk.verdicts
    rows = chunk.rows[chunk.verdicts == TileVerdict.TISSUE]
    if len(rows) > wanted:
        verdicts[chunk.rows[chunk.rows >= rows[wanted]]] = TileVerdict.NOT_READ
        rows = rows[:wanted]
    return rows, chunk.rgb[: len(rows)]


class BatchRuntime(Protocol[_Given]):
    """What takes batches; see :class:`~qupath_hccmil.scoring.runtime.Runtime`."""

    batch: int

    def submit(self, rgb: NDArray[np.uint8], done: Callable[[_Given], None]) -> None:
        """Start a batch."""
        ...


class Batches(Generic[Outputs]):
    """Collects kept tiles into one reused buffer and runs it whenever it is full.

    Parameters
    ----------
    runtime : BatchRuntime
    store : callable
        Called with the rows of a batch's tiles and its outputs, maybe from another thread.
    """

    def __init__(
        self,
        runtime: BatchRuntime[Outputs],
        store: Callable[[NDArray[np.int64], Outputs], None],
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._rows: list[int] = []
        self._buffer: NDArray[np.uint8] | None = None

    def add(self, rows: NDArray[np.int64], rgb: NDArray[np.uint8]) -> None:
        """Add tiles, (k, h, w, 3); their number is that of `rows`."""
        if self._buffer is None:
            self._buffer = np.empty((self._runtime.batch, *rgb.shape[1:]), np.uint8)
        for row, tile in zip(rows.tolist(), rgb, strict=True):
            self._buffer[len(self._rows)] = tile
            self._rows.append(row)
            if len(self._rows) == self._runtime.batch:
                self.flush()

    def flush(self) -> None:
        """Run what is left."""
        if not self._rows or self._buffer is None:
            return
        rows = np.array(self._rows)
        self._runtime.submit(self._buffer[: len(rows)], lambda outputs: self._store(rows, outputs))
        self._rows.clear()
