"""From what the networks say of tiles to a logit, for a slide or an outline in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import ModelError
from qupath_hccmil.method.aggregation import contributions, slide_logit
from qupath_hccmil.scoring.encoder_runtime import EncoderRuntime, encode
from qupath_hccmil.scoring.network_batches import Scored, run
from qupath_hccmil.scoring.runtime import Runtime
from qupath_hccmil.tiles.read_ahead import Chunk, TileVerdict

if TYPE_CHECKING:
    from qupath_hccmil.heads.head import Head

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Judged:
    """Judgement of a set of tiles.

    Attributes
    ----------
    logit : float
    contributions, tile_logits : (k,) float64
        For the published model the contributions sum to m, with ``S = sign(m)|m|^(1/p)``; for a
        head they sum to the logit itself.
    """

    logit: float
    contributions: NDArray[np.float64]
    tile_logits: NDArray[np.float64]


class Judge(Protocol):
    """The networks of a risk model, for tiles that were read."""

    name: str
    readers: int
    divisible: bool

    def run(
        self, chunks: Iterator[Chunk], n_tiles: int, wanted: int | None, progress: Progress
    ) -> Scored:
        """Run the networks on tiles; see :func:`~.network_batches.run`."""
        ...

    def judge(self, scored: Scored, rows: NDArray[np.int64]) -> Judged:
        """Judge the kept tiles of some rows, at least one."""
        ...


class TileNetworks:
    """A tile network, whose logits are aggregated by the signed generalised mean.

    Parameters
    ----------
    runtime : Runtime
    p : float
        Power of the mean.
    """

    divisible = True

    def __init__(self, runtime: Runtime, p: float) -> None:
        self.runtime = runtime
        self._p = p
        self.readers = runtime.readers
        self.name = f"{runtime.name} on {runtime.device}"

    def run(
        self, chunks: Iterator[Chunk], n_tiles: int, wanted: int | None, progress: Progress
    ) -> Scored:
        """Run the nuclei and the tile network."""
        return run(chunks, self.runtime, n_tiles, wanted=wanted, progress=progress)

    def judge(self, scored: Scored, rows: NDArray[np.int64]) -> Judged:
        """Aggregate tile logits."""
        logits = scored.logits[rows]
        return Judged(slide_logit(logits, self._p), contributions(logits, self._p), logits)


class HeadOnFeatures:
    """An encoder, and a head that sees all tiles of a slide or of an outline at once.

    Parameters
    ----------
    runtime : EncoderRuntime
    head : Head
        In evaluation mode, on the CPU.
    """

    divisible = False

    def __init__(self, runtime: EncoderRuntime, head: Head) -> None:
        self._runtime = runtime
        self._head = head
        self.readers = runtime.readers
        self.name = f"{runtime.name} on {runtime.device}"

    def run(
        self, chunks: Iterator[Chunk], n_tiles: int, wanted: int | None, progress: Progress
    ) -> Scored:
        """Run the encoder."""
        verdicts, (features,) = encode(
            chunks, [self._runtime], n_tiles, wanted=wanted, progress=progress
        )
        unknown = np.full(n_tiles, np.nan)
        place = np.full(n_tiles, -1)
        place[verdicts == TileVerdict.TISSUE] = np.arange(len(features))
        return Scored(unknown, unknown.copy(), verdicts, features, place)

    def judge(self, scored: Scored, rows: NDArray[np.int64]) -> Judged:
        """Run the head.

        Raises
        ------
        ModelError
            The features are of another width than the head's, or not finite.
        """
        import torch

        assert scored.features is not None, "run comes first"
        assert scored.place is not None, "run comes first"
        features = scored.features[scored.place[rows]]
        if features.shape[1] != self._head.width:
            raise ModelError(
                f"the encoder gives {features.shape[1]} numbers for a tile, but the head needs "
                f"{self._head.width}; it is another encoder"
            )
        with torch.inference_mode():
            output = self._head(torch.from_numpy(features))
        found = Judged(
            float(output.logit),
            output.contributions.numpy().astype(np.float64),
            output.tile_logits.numpy().astype(np.float64),
        )
        if not (np.isfinite(found.logit) and np.isfinite(found.tile_logits).all()):
            raise ModelError(
                "the head gives logits that are not numbers; check the encoder's weights, or use "
                "--device cpu"
            )
        return found
