"""Reads the tiles of a slide, checks them for tissue and focus, and fits the stain on a sample."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import AnnotationError
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.slides.open_slide import Slide
from qupath_hccmil.slides.tissue import TissueRule
from qupath_hccmil.stain.vahadane import StainFit, fit
from qupath_hccmil.tiles.read_ahead import Chunk, TileVerdict, chunks_of, read_ahead

# Number of tiles pooled for the stain fit of a slide: enough to cover its range of staining.
STAIN_TILES = 64
# Every other pixel in both directions: neighbours are alike, and the fit takes half the time.
STAIN_STRIDE = 2
# Tiles that are read while the stain is fitted, which occupies one core: 38 MB.
READ_MEANWHILE = 256


class TileRules(Protocol):
    """Size of tiles, and which are left out; a scorer is one example."""

    @property
    def geometry(self) -> TileGeometry:
        """Size of a tile."""
        ...

    @property
    def tissue_rule(self) -> TissueRule:
        """Which tiles show tissue in focus."""
        ...


class TileReader:
    """Reads tiles by row number; may be called from several threads.

    Parameters
    ----------
    slide : Slide
        Open.
    bounds : (n, 4) float64
        x, y, width, height of the tiles, level-0 px.
    rules : TileRules
    mpp : float
        µm per level-0 px.
    """

    def __init__(
        self, slide: Slide, bounds: NDArray[np.float64], rules: TileRules, mpp: float
    ) -> None:
        self._slide = slide
        self._bounds = bounds
        self._side = rules.geometry.tile_px
        self._rule = rules.tissue_rule
        self._mpp = mpp
        self._held: dict[int, NDArray[np.uint8]] = {}

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
        """Read pixels and decide which tiles are kept.

        Returns
        -------
        rgb : (n, 224, 224, 3) uint8
        verdicts : (n,) int8
            :class:`TileVerdict`.
        """
        rgb = np.empty((len(rows), self._side, self._side, 3), np.uint8)
        for tile, row in zip(rgb, rows.tolist(), strict=True):
            held = self._held.pop(row, None)
            tile[...] = self._pixels(row) if held is None else held
        return rgb, self._verdicts(rgb)

    def fit_stain(self, next_rows: Sequence[int] = ()) -> StainFit:
        """Fit the stain on evenly spread tissue tiles, whose pixels are kept for :meth:`read`.

        Parameters
        ----------
        next_rows : sequence of int
            Rows that are to be read afterwards. The first of them are read during the fit.

        Raises
        ------
        AnnotationError
            No tile shows tissue in focus.
        SlideError
            There is too little tissue.
        """
        order = _spread(len(self._bounds))

        held: dict[int, NDArray[np.uint8]] = {}

        def load(places: NDArray[np.int64]) -> Chunk:
            rows = order[places]
            rgb, verdicts = self.read(rows)
            kept = verdicts == TileVerdict.TISSUE
            # here, because some chunks that were read ahead are not looked at below
            held.update(zip(rows[kept].tolist(), rgb[kept], strict=True))
            return Chunk(rows, verdicts, rgb)

        sample: dict[int, NDArray[np.uint8]] = {}
        chunks = read_ahead(load, chunks_of(range(len(order))))
        for chunk in chunks:
            kept = chunk.verdicts == TileVerdict.TISSUE
            sample |= dict(zip(chunk.rows[kept].tolist(), chunk.rgb[kept], strict=True))
            if len(sample) >= STAIN_TILES:
                break
        chunks.close()
        if not sample:
            raise AnnotationError(
                f"{self._slide.path}: all {len(order)} tiles in the tumour annotations are "
                "background or out of focus; check the outlines"
            )
        self._held = held
        tissue = np.stack([sample[row] for row in sorted(sample)])
        pixels = tissue[:, ::STAIN_STRIDE, ::STAIN_STRIDE]
        with ThreadPoolExecutor(1, thread_name_prefix="stain-fit") as fitter:
            fitting = fitter.submit(fit, pixels, name=self._slide.path.name)
            self._read_during(fitting, next_rows[:READ_MEANWHILE])
        return fitting.result()

    def _read_during(self, fitting: Future[StainFit], rows: Sequence[int]) -> None:
        for row in rows:
            if fitting.done():
                return
            if row in self._held:
                continue
            try:
                self._held[row] = self._pixels(row)
            except Exception:
                # How far this gets depends on the time that the fit takes, and what is done of a
                # damaged slide must not: `read` meets the same error when it is the tile's turn.
                return

    def _pixels(self, row: int) -> NDArray[np.uint8]:
        x, y, width, height = self._bounds[row].tolist()
        return self._slide.read_tile(x, y, width, height, self._side)

    def _verdicts(self, rgb: NDArray[np.uint8]) -> NDArray[np.int8]:
        background, blurred = self._rule.judge(rgb, self._mpp)
        verdicts = np.full(len(rgb), TileVerdict.TISSUE, np.int8)
        verdicts[blurred] = TileVerdict.BLURRED
        verdicts[background] = TileVerdict.BACKGROUND
        return verdicts


def _spread(n: int) -> NDArray[np.int64]:
    """Order rows 0 to n - 1 so that any first part is spread evenly (golden ratio)."""
    return np.argsort(np.arange(n) * 0.6180339887498949 % 1, kind="stable")
