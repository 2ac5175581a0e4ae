"""What killed processes left in a folder of results, and when it is certainly nobody's.

A process that is killed leaves a file that has no name yet, or pieces of a large slide. Pieces are
deleted if the result of their slide is there, or if no process has written to them for a time in
which none would write nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from qupath_hccmil.atomic_files import meant_stem
from qupath_hccmil.leftover_files import DAY_S, delete, inside, last_change, unnamed
from qupath_hccmil.results.dependencies import SUFFIX, stem_in_name
from qupath_hccmil.results.results_folder import PIECES

PIECES_S = 30 * DAY_S
"""Pieces may be the work of hours, which a later run uses; outlines that were edited make them
useless."""


def sweep(folder: Path) -> int:
    """Delete what was left in a folder of results and is nobody's.

    Parameters
    ----------
    folder : Path
        That of ``score --results``, or of all encoders of ``features``.

    Returns
    -------
    int
        Files, and folders of pieces, that were deleted.
    """
    return delete([*unnamed(folder, _is_ours), *_useless_pieces(folder)], folder)


def _is_ours(path: Path) -> bool:
    """Whether an unnamed file is the result of a slide, or the record of a run."""
    stem = meant_stem(path)
    return stem_in_name(f"{stem}{SUFFIX}") is not None or stem.startswith("run")


def _useless_pieces(folder: Path) -> Iterator[Path]:
    now = time.time()
    for path in inside(folder / PIECES):
        done = (folder / f"{path.name}{SUFFIX}").exists()
        if path.is_dir() and (done or now - last_change(path) > PIECES_S):
            yield path
