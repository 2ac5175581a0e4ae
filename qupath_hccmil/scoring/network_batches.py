"""Feeds the tiles that are read to the networks in full batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.tiles.read_ahead import Chunk, TileVerdict

if TYPE_CHECKING:
    from qupath_hccmil.scoring.runtime import Runtime, TileOutputs


@dataclass(frozen=True)
class Scored:
    """Outputs for every requested tile; NaN if a tile was not kept.

    Attributes
    ----------
    logits, nuclei_fraction : (n,) float64
    verdicts : (n,) int8
        :class:`TileVerdict` of each tile; ``NOT_READ`` beyond the wanted number.
    """

    logits: NDArray[np.float64]
    nuclei_fraction: NDArray[np.float64]
    verdicts: NDArray[np.int8]

    def part(self, places: range) -> Scored:
        """Outputs of some consecutive tiles."""
        chosen = slice(places.start, places.stop)
        return Scored(self.logits[chosen], self.nuclei_fraction[chosen], self.verdicts[chosen])


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
    batches = _Batches(runtime, logits, nuclei)
    kept = 0
    try:
        for chunk in chunks:
            verdicts[chunk.rows] = chunk.verdicts
            rows = chunk.rows[chunk.verdicts == TileVerdict.TISSUE]
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
    finally:
        # after an interruption too: Python can't end while a network still calls it
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
