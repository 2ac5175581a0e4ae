"""Files of GeoJSON: plain, or compressed as QuPath exports them, and which is next to a slide."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from qupath_hccmil.errors import AnnotationError
from qupath_hccmil.qupath.bounded_json import parse_json
from qupath_hccmil.qupath.data_types import Annotation
from qupath_hccmil.qupath.geojson_objects import annotations_of

SUFFIX = ".geojson"
# What QuPath's export dialog offers, and what scripts make of them.
_ENDINGS = (SUFFIX, f"{SUFFIX}.gz", f"{SUFFIX}.zip", ".zip")
_IN_ZIP = (SUFFIX, ".json")
# QuPath takes the whole of these off an image's name, so that a.ome.tif is exported as a.geojson.
_DOUBLE_SUFFIXES = (".ome.tif", ".ome.tiff")
_MOST_BYTES = 1 << 31


def read_annotations(path: Path) -> list[Annotation]:
    """Annotations of a GeoJSON file, as :func:`~.geojson_objects.annotations_of` gives them.

    Parameters
    ----------
    path : Path
        GeoJSON in UTF-8; ``.gz`` and ``.zip`` are unpacked, of a zip all GeoJSON in it is read.

    Raises
    ------
    AnnotationError
        It cannot be read or is not GeoJSON; the message names the file and the object.
    """
    found = []
    try:
        for content in _contents(path):
            found += annotations_of(parse_json(content))
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AnnotationError(f"{path}: is not GeoJSON as QuPath exports it ({reason})") from error
    return found


def geojson_next_to(slide: Path) -> Path | None:
    """The GeoJSON file of a slide in its folder, by name; None where there is none.

    For ``a.svs`` that is ``a`` or ``a.svs`` with ``.geojson``, ``.geojson.gz``, ``.geojson.zip``
    or ``.zip``; for ``a.ome.tif`` its name may be ``a`` too. A zip without GeoJSON in it is
    something else.

    Raises
    ------
    AnnotationError
        There are several.
    """
    names = dict.fromkeys((slide.name, slide.stem))
    for double in _DOUBLE_SUFFIXES:
        if slide.name.lower().endswith(double):
            names[slide.name[: -len(double)]] = None
    candidates = (slide.with_name(name + ending) for name in names for ending in _ENDINGS)
    found = [path for path in candidates if path.is_file() and _holds_geojson(path)]
    if len(found) > 1:
        listed = " and ".join(path.name for path in found)
        raise AnnotationError(f"{slide}: its outlines are in {listed}; keep one of them")
    return found[0] if found else None


def _holds_geojson(path: Path) -> bool:
    if path.suffix != ".zip" or path.name.endswith(f"{SUFFIX}.zip"):
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.lower().endswith(SUFFIX) for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _contents(path: Path) -> Iterator[bytes]:
    """Yield the bytes of each GeoJSON in a file."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if e.filename.lower().endswith(_IN_ZIP)]
            if not entries:
                raise ValueError("the archive contains no .geojson")
            for entry in entries:
                with archive.open(entry) as file:
                    yield _bounded(file.read(_MOST_BYTES + 1))
        return
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as plain:
        yield _bounded(plain.read(_MOST_BYTES + 1))


def _bounded(content: bytes) -> bytes:
    if len(content) > _MOST_BYTES:
        raise ValueError("more than 2 GB; export only the annotations, without cells")
    return content
