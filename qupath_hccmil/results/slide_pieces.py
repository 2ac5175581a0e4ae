"""A large slide scored in pieces, by several processes, with one stain.

The first step fits the stain, each of the next scores a piece of the tiles, and the last joins
them. What a step finds is a file in the folder of results, so that it is not lost with a process;
the last step deletes these files.
"""

from __future__ import annotations

import json
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.cluster.work import Step
from qupath_hccmil.errors import DataError
from qupath_hccmil.held_files import remove_folder
from qupath_hccmil.results.results_folder import IntoFolder
from qupath_hccmil.scoring.network_batches import Scored
from qupath_hccmil.scoring.score_slide import TileWork, UnfinishedError, score_at_once
from qupath_hccmil.stain.vahadane import StainFit

_STAIN = "stain.json"


class InPieces:
    """Does one step of scoring a slide; see :data:`TileScoring`.

    Parameters
    ----------
    destination : IntoFolder
        Where the result goes.
    step : Step
    piece_tiles : int
        Tiles of a piece. A slide of more than twice as many is large.

    Attributes
    ----------
    pieces : int
        Of how many pieces the slide is, once a step has left it unfinished; else 0.
    """

    def __init__(self, destination: IntoFolder, step: Step, piece_tiles: int) -> None:
        self._destination = destination
        self._step = step
        self._piece_tiles = piece_tiles
        self.pieces = 0

    def __call__(self, work: TileWork) -> tuple[StainFit | None, Scored]:
        """Do the step.

        Raises
        ------
        UnfinishedError
            Other steps are left.
        DataError
            A piece is not there.
        """
        if not work.divisible or work.n_tiles <= 2 * self._piece_tiles:
            return score_at_once(work)
        parts = [
            range(start, min(start + self._piece_tiles, work.n_tiles))
            for start in range(0, work.n_tiles, self._piece_tiles)
        ]
        folder = self._destination.pieces
        stain = self._stain(folder, work)
        if self._step.kind == "join":
            found = [_read(folder / _name(part)) for part in parts]
            if missing := sum(each is None for each in found):
                raise DataError(
                    f"{folder}: {missing} of {len(parts)} pieces are not there; run again"
                )
            return stain, _joined([each for each in found if each is not None])
        if self._step.kind == "piece":
            part = parts[self._step.piece]
            path = folder / _name(part)
            if _read(path) is None:
                _write(path, work.score(stain, part))
        self.pieces = len(parts)
        raise UnfinishedError

    def tidy(self) -> None:
        """Delete the pieces, once the result is there."""
        with suppress(OSError):
            remove_folder(self._destination.pieces)

    @staticmethod
    def _stain(folder: Path, work: TileWork) -> StainFit | None:
        """The stain that the first step fitted."""
        path = folder / _STAIN
        try:
            known = json.loads(path.read_text(encoding="ascii"))
            return None if known is None else StainFit.from_dict(known)
        except (OSError, ValueError):
            stain = work.fit_stain(range(0))
        with atomic_file(path) as beside:
            beside.write_text(
                json.dumps(None if stain is None else stain.to_dict()), encoding="ascii"
            )
        return stain


def _name(part: range) -> str:
    return f"{part.start}-{part.stop}.npz"


def _write(path: Path, scored: Scored) -> None:
    with atomic_file(path) as beside:
        np.savez(
            beside,
            logits=scored.logits,
            nuclei_fraction=scored.nuclei_fraction,
            verdicts=scored.verdicts,
        )


def _read(path: Path) -> Scored | None:
    """A piece; None where it is not there, or damaged."""
    try:
        # opened here, since numpy leaves a damaged one open
        with path.open("rb") as file, np.load(file) as found:
            return Scored(found["logits"], found["nuclei_fraction"], found["verdicts"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _joined(parts: list[Scored]) -> Scored:
    return Scored(
        np.concatenate([each.logits for each in parts]),
        np.concatenate([each.nuclei_fraction for each in parts]),
        np.concatenate([each.verdicts for each in parts]),
    )
