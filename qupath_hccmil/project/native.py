"""The native engine: QuPath's own files, read and written without Java."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from qupath_hccmil.errors import ConflictError, ProjectError, UnsupportedDataError, WriteError
from qupath_hccmil.project.collection import no_collection
from qupath_hccmil.project.files import stamp_bytes
from qupath_hccmil.project.model import (
    EngineName,
    ImageEntry,
    ImageResults,
    ImageState,
    TileObjects,
)
from qupath_hccmil.project.names import is_ours
from qupath_hccmil.project.qpdata import QpData
from qupath_hccmil.project.qpproj import (
    CLASSES,
    project_file,
    read_project,
    summary,
    with_classes,
    with_our_metadata,
)
from qupath_hccmil.project.results import add_results, counts, read_data, remove_results
from qupath_hccmil.project.safety import Replacement, WriteRun

# QuPath keeps the measurements of tiles as 32-bit floats
_RELATIVE = 2.0**-23
_ABSOLUTE = 2.0**-126


class NativeProject:
    """An open project; implements :class:`~qupath_hccmil.project.model.Project`.

    Parameters
    ----------
    path : Path
        The project's folder or its ``.qpproj``.

    Raises
    ------
    ProjectError
        It is no project.
    """

    engine: EngineName = "native"

    def __init__(self, path: Path) -> None:
        self.path = project_file(path)
        self._file = read_project(self.path)
        self._run = WriteRun(self.path.parent)

    @property
    def qupath_version(self) -> str:
        """Version of the QuPath that wrote the project."""
        return self._file.version

    @property
    def previous_uri(self) -> str | None:
        """Where the project was when QuPath saved it."""
        return self._file.previous_uri

    @property
    def images(self) -> list[ImageEntry]:
        """All images, in the project's order."""
        return list(self._file.images)

    def read(self, entry: ImageEntry) -> ImageState:
        """Objects of an image; its slide is not needed.

        Raises
        ------
        UnsupportedDataError
            The data file is damaged, or holds what is not understood.
        """
        path = self._data_path(entry)
        content = _read(path)
        metadata = {key: value for key, value in entry.metadata.items() if is_ours(key)}
        if content is None:
            return ImageState(entry, "UNSET", [], 0, ImageResults(metadata=metadata), "")
        with no_collection():
            data = _parse(content, path)
            try:
                annotations, others, found = read_data(data)
            except UnsupportedDataError as error:
                raise UnsupportedDataError(f"{path}: {error}") from error
        results = ImageResults(found.annotations, found.tiles, found.root, metadata, found.step)
        return ImageState(
            entry, data.image_type, annotations, others, results, stamp_bytes(content)
        )

    def write(self, entry: ImageEntry, results: ImageResults, stamp: str) -> None:
        """Replace our results in an image: verified, atomic, with a backup of what was there.

        The data, the summary and the project's entry are replaced together or not at all.

        Parameters
        ----------
        entry : ImageEntry
            Of :attr:`images`.
        results : ImageResults
            Empty ones remove ours.
        stamp : str
            :attr:`ImageState.stamp` of the state that the results were made from.

        Raises
        ------
        ConflictError
            The data file is no longer the one that was read.
        UnsupportedDataError
            The data file is of another QuPath than 0.5 to 0.7.
        WriteError
            Nothing was changed.
        """
        self._run.begin()
        path = self._data_path(entry)
        before = _read(path)
        if (stamp_bytes(before) if before is not None else "") != stamp:
            raise ConflictError(
                f"{path}: was changed by another program since it was read (is QuPath open?); "
                "nothing was written: close it and run again"
            )
        files = []
        if before is not None:
            with no_collection():
                files = _data_files(path, before, entry, results)
        elif results.annotations or results.tiles or results.root or results.step:
            raise WriteError(
                f"{entry.name}: was never saved in QuPath, so it has no annotation to write to; "
                "outline the tumour and save"
            )
        content = self.path.read_bytes()
        changed = with_our_metadata(content, entry.id, results.metadata)
        if changed != content:
            files.append(
                Replacement.of_bytes(self.path, changed, stamp_bytes(content), _check_project)
            )
        self._run.replace(files)
        self._file = read_project(self.path)

    def add_classes(self, colours: Mapping[str, int]) -> None:
        """Add classes to the project's class list, by union; `colours` are packed RGB."""
        path = self.path.parent / CLASSES
        content = _read(path)
        try:
            changed = with_classes(content or b"", colours)
        except (ValueError, AttributeError, TypeError) as error:
            raise ProjectError(
                f"{path}: is damaged ({error}); save the class list in QuPath again"
            ) from error
        if changed is not None:
            expected = stamp_bytes(content) if content is not None else ""
            self._run.replace([Replacement.of_bytes(path, changed, expected)])

    def close(self) -> None:
        """Let go of the project. Saves nothing."""
        self._run.close()

    def __enter__(self) -> NativeProject:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _data_path(self, entry: ImageEntry) -> Path:
        return self.path.parent / "data" / entry.id / "data.qpdata"


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read ({error.strerror})") from error


def _parse(content: bytes, path: Path) -> QpData:
    try:
        return QpData(content)
    except UnsupportedDataError as error:
        raise UnsupportedDataError(
            f"{path}: {error}; open and save the image in QuPath, or use its backup"
        ) from error


def _data_files(
    path: Path, before: bytes, entry: ImageEntry, results: ImageResults
) -> list[Replacement]:
    """Return the new data file and summary; none where nothing changes."""
    data = _parse(before, path)
    summary_path = path.with_name("summary.json")
    old_summary = _read(summary_path)
    try:
        removed = remove_results(data)
        wanted = bool(results.annotations or results.tiles or results.root or results.step)
        if not (removed or wanted):
            return []
        data.require_writable()
        base = data.to_bytes()
        add_results(data, results)
    except UnsupportedDataError as error:
        raise UnsupportedDataError(f"{path}: {error}") from error
    except WriteError as error:
        raise WriteError(f"{path}: {error}") from error
    after = data.to_bytes()
    new_summary = summary(
        old_summary or b"", entry, data.image_type, counts(data), time.time_ns() // 1_000_000
    )

    def verify(beside: Path) -> None:
        with no_collection():
            meant = _is_meant(beside.read_bytes(), after, base, results)
        if not meant:
            raise WriteError(f"{path}: does not read back as it was written; it is as it was")

    return [
        Replacement.of_bytes(path, after, stamp_bytes(before), verify),
        Replacement.of_bytes(
            summary_path, new_summary, stamp_bytes(old_summary) if old_summary is not None else ""
        ),
    ]


def _is_meant(content: bytes, after: bytes, base: bytes, results: ImageResults) -> bool:
    """Whether a written file has the results, and is the user's data without them."""
    if content != after:
        return False
    data = QpData(content)
    _, _, found = read_data(data)
    if not _same_results(found, results):
        return False
    remove_results(data)
    return data.to_bytes() == base


def _same_results(found: ImageResults, wanted: ImageResults) -> bool:
    measured = {k: f for k, v in wanted.annotations.items() if (f := _finite(v))}
    tiles = {k: v for k, v in wanted.tiles.items() if len(v)}
    return (
        found.step == wanted.step
        and found.annotations.keys() == measured.keys()
        and all(_close(found.annotations[key], measured[key]) for key in measured)
        and _close(found.root, _finite(wanted.root))
        and found.tiles.keys() == tiles.keys()
        and all(_same_tiles(found.tiles[key], tiles[key]) for key in tiles)
    )


def _finite(measurements: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in measurements.items() if np.isfinite(value)}


def _close(found: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    return found.keys() == wanted.keys() and all(
        np.isclose(found[name], value, _RELATIVE, _ABSOLUTE) for name, value in wanted.items()
    )


def _same_tiles(found: TileObjects, wanted: TileObjects) -> bool:
    present = {k: v for k, v in wanted.measurements.items() if np.isfinite(v).any()}
    return (
        found.bounds.shape == wanted.bounds.shape
        and np.allclose(found.bounds, wanted.bounds, rtol=0, atol=1e-6)
        and list(found.class_names) == list(wanted.class_names)
        and found.measurements.keys() == present.keys()
        and all(
            np.allclose(
                found.measurements[name],
                np.where(np.isfinite(values), values, np.nan),
                _RELATIVE,
                _ABSOLUTE,
                equal_nan=True,
            )
            for name, values in present.items()
        )
    )


def _check_project(beside: Path) -> None:
    read_project(beside)
