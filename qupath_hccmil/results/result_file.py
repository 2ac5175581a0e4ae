"""One slide's result as one Parquet file that explains itself.

The table has a row for each tile of each outline. The file's metadata hold, under the key
``qupath-hccmil``, a JSON document: what the result depends on, the outlines (GeoJSON, level-0 px),
their measurements and the slide's, and the run record. Any reader of Parquet reads the tiles; this
module reads all of it back, every number to the bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from qupath_hccmil.atomic_files import atomic_file
from qupath_hccmil.errors import DataError
from qupath_hccmil.method.research_use import RESEARCH_USE
from qupath_hccmil.qupath.data_types import Annotation, ImageResults, TileObjects, WorkflowStep
from qupath_hccmil.qupath.fingerprint import outline_fingerprint
from qupath_hccmil.qupath.outline_matching import Outline
from qupath_hccmil.qupath.run_record import RunRecord
from qupath_hccmil.qupath.writing.durable_files import sync_file
from qupath_hccmil.results.dependencies import Dependencies

FORMAT = "qupath-hccmil result 1"
_KEY = b"qupath-hccmil"
_SIDES = ("x", "y", "width", "height")


@dataclass(frozen=True)
class ResultHead:
    """What a result's file says of it, without the tiles.

    Attributes
    ----------
    path : Path
        The file.
    depends_on : Dependencies
    slide : str
        Where the slide was read.
    outlines : dict of int to Outline
        :attr:`Annotation.index` at scoring to what the outline is recognised by.
    record : RunRecord
    """

    path: Path
    depends_on: Dependencies
    slide: str
    outlines: dict[int, Outline]
    record: RunRecord
    content: Mapping[str, Any]


def write_result(
    path: Path,
    depends_on: Dependencies,
    annotations: Sequence[Annotation],
    results: ImageResults,
    slide: Path,
) -> None:
    """Write a result, whole or not at all.

    Parameters
    ----------
    path : Path
        Missing folders are made.
    depends_on : Dependencies
    annotations : sequence of Annotation
        The tumour outlines.
    results : ImageResults
    slide : Path
        The slide's file that was read.

    Raises
    ------
    WriteError
        The system refuses; nothing is left.
    """
    about = {
        "format": FORMAT,
        "note": RESEARCH_USE,
        "depends_on": asdict(depends_on),
        "slide": str(slide),
        "outlines": [_outline(each) for each in annotations],
        "annotations": [[key, dict(values)] for key, values in results.annotations.items()],
        "tiles_of": list(results.tiles),
        "root": dict(results.root),
        "metadata": dict(results.metadata),
        "step": None if results.step is None else asdict(results.step),
    }
    table = _table(results.tiles).replace_schema_metadata({_KEY: json.dumps(about).encode()})
    with atomic_file(path) as beside:
        pq.write_table(table, beside, compression="zstd", write_page_checksum=True)
        # Without it, a power cut could leave the new name with none of the content.
        sync_file(beside)


def read_head(path: Path) -> ResultHead:
    """Read all of a result but its tiles.

    Raises
    ------
    DataError
        The file is not such a result, or is damaged.
    """
    try:
        about = json.loads((pq.read_schema(path).metadata or {})[_KEY])
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {about['format']!r}")
        record = RunRecord.of_step(WorkflowStep(**about["step"]))
        if record is None:
            raise ValueError("it has no run record")
        return ResultHead(
            path,
            Dependencies(**about["depends_on"]),
            about["slide"],
            {each["index"]: Outline(each["id"], each["fingerprint"]) for each in about["outlines"]},
            record,
            about,
        )
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, error) from error


def read_results(head: ResultHead) -> ImageResults:
    """Read the results that :func:`write_result` was given.

    Raises
    ------
    DataError
        The file is damaged.
    """
    about = head.content
    try:
        return ImageResults(
            annotations=dict(about["annotations"]),
            tiles=_tiles(_read_table(head.path), about["tiles_of"]),
            root=about["root"],
            metadata=about["metadata"],
            step=WorkflowStep(**about["step"]),
        )
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise _unreadable(head.path, error) from error


def _read_table(path: Path) -> pa.Table:
    # pq.read_table makes a data set of the file first, which takes longer than to read it
    with pq.ParquetFile(path, read_dictionary=["class"], page_checksum_verification=True) as file:
        return file.read(use_threads=False)


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(
        f"{path}: is damaged, or not the result of a slide ({reason}); delete it and score the "
        "slide again"
    )


def _outline(annotation: Annotation) -> dict[str, Any]:
    geometry = annotation.geometry
    return {
        "index": annotation.index,
        "id": annotation.id,
        "name": annotation.name,
        "class": annotation.class_name,
        "fingerprint": outline_fingerprint(annotation),
        "geometry": None if geometry is None else json.loads(shapely.to_geojson(geometry)),
    }


def _table(tiles: Mapping[int, TileObjects]) -> pa.Table:
    # in their order: it is that of the names in QuPath's file
    names = list(dict.fromkeys(name for each in tiles.values() for name in each.measurements))
    bounds = np.concatenate([each.bounds for each in tiles.values()] or [np.empty((0, 4))])
    classes = [name for each in tiles.values() for name in each.class_names]
    columns = {
        "outline": pa.array(
            [key for key, each in tiles.items() for _ in range(len(each))], pa.int64()
        ),
        **{side: pa.array(bounds[:, place]) for place, side in enumerate(_SIDES)},
        "class": pa.array(classes, pa.string()),
    }
    for name in names:
        parts = [_values(each, name) for each in tiles.values()]
        columns[name] = pa.array(np.concatenate(parts))
    return pa.table(columns)


def _values(tiles: TileObjects, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    found = tiles.measurements.get(name)
    return np.full(len(tiles), np.nan) if found is None else found


def _tiles(table: pa.Table, order: Sequence[int]) -> dict[int, TileObjects]:
    outline = table["outline"].to_numpy()
    bounds = np.stack([table[side].to_numpy() for side in _SIDES], axis=1)
    known = {"outline", *_SIDES, "class"}
    names = [name for name in table.column_names if name not in known]
    classes = table["class"].combine_chunks()
    known_classes = np.array(classes.dictionary.to_pylist(), object)
    everything = TileObjects(
        bounds,
        known_classes[classes.indices.to_numpy()].tolist(),
        {name: np.array(table[name].to_numpy()) for name in names},
    )
    return {key: everything.rows(outline == key) for key in order}
