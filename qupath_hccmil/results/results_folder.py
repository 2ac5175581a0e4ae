"""A folder of results: what scoring writes there, and what is found for an image."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from qupath_hccmil.atomic_files import is_temporary
from qupath_hccmil.errors import DataError, SlideError
from qupath_hccmil.qupath.data_types import ImageEntry, ImageResults
from qupath_hccmil.results.dependencies import (
    SUFFIX,
    Dependencies,
    dependencies,
    stem_in_name,
    stem_of_entry,
)
from qupath_hccmil.results.result_file import read_head, write_result
from qupath_hccmil.scoring.destination import SlideRequest

if TYPE_CHECKING:
    from qupath_hccmil.scoring.scorer import ScorerSource


PIECES = ".pieces"
"""Folder in a folder of results, with a folder for each large slide that is being scored."""


class IntoFolder:
    """Writes the result of each slide into a folder, as one file; see `Destination`.

    The project is not touched, so any number of processes may score it at once. Two that score the
    same slide write the same file.

    Parameters
    ----------
    folder : Path
    models : ScorerSource
        Those that score.
    """

    def __init__(self, folder: Path, models: ScorerSource) -> None:
        self._folder = folder
        self._models = models
        self._wanted: Dependencies | None = None

    @property
    def pieces(self) -> Path:
        """Folder for the pieces of the slide that :meth:`holds` was asked about."""
        assert self._wanted is not None, "holds comes first"
        return self._folder / PIECES / self._wanted.file_name.removesuffix(SUFFIX)

    def holds(self, request: SlideRequest) -> bool:
        """Whether the result is there, and whole."""
        self._wanted = wanted = dependencies(request, self._models)
        path = self._folder / wanted.file_name
        try:
            return path.exists() and _same(read_head(path).depends_on, wanted)
        except DataError:
            # it is written again, over the damaged one
            return False

    def keep(self, request: SlideRequest, results: ImageResults) -> None:
        """Write the result.

        Raises
        ------
        WriteError
            The system refuses; nothing is left.
        SlideError
            The slide's file was changed since :meth:`holds` looked at it.
        """
        depends_on = dependencies(request, self._models)
        if depends_on != self._wanted:
            raise SlideError(
                f"{request.slide}: was changed while it was scored; nothing was written: run again"
            )
        path = self._folder / depends_on.file_name
        write_result(path, depends_on, request.annotations, results, request.slide)


class ResultsIndex:
    """Finds the results of an image among the files of a folder.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    DataError
        There is no such folder, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError(
                f"{folder}: there is no such folder; give the one that score --results wrote to"
            )
        self._folder = folder
        self._by_stem: defaultdict[str, list[str]] = defaultdict(list)
        # as names, since a path of each of 100,000 files takes seconds
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
        for name in names:
            stem = None if is_temporary(name) else stem_in_name(name)
            if stem is not None:
                self._by_stem[stem].append(name)

    def __len__(self) -> int:
        return sum(map(len, self._by_stem.values()))

    def files_of(self, entry: ImageEntry) -> list[Path]:
        """Files whose name says that they are of this image."""
        return [self._folder / name for name in self._by_stem.get(stem_of_entry(entry), ())]


def _same(found: Dependencies, wanted: Dependencies) -> bool:
    return found.file_name == wanted.file_name
