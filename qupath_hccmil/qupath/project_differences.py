"""Differences between two states of a project other than our results, in plain words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qupath_hccmil.qupath.image_differences import changed, data_difference
from qupath_hccmil.qupath.names import DEFAULT_CLASSES, is_our_class, is_our_metadata
from qupath_hccmil.qupath.native.native_project import parse
from qupath_hccmil.qupath.qpproj import CLASSES, opaque, project_file, read_project
from qupath_hccmil.qupath.writing.durable_files import stamp
from qupath_hccmil.qupath.writing.project_lock import LOCK_NAME
from qupath_hccmil.qupath.writing.replace_files import BACKUPS


def difference(before: Path, after: Path) -> list[str]:
    """Compare two states of a project in everything that is not ours.

    This covers objects (kind, name, UUID, class, colours, lock, parent, order, region, metadata,
    measurements to the bit, including NaN), TMA grid, history, image type, stains, properties,
    connections, the project's settings, entries and classes with their order, and every other file
    in the folder.

    Parameters
    ----------
    before, after : Path
        Two folders or ``.qpproj`` files: a copy made earlier, and the project now.

    Returns
    -------
    list of str
        One line per difference; empty if there is none.

    Raises
    ------
    ProjectError
        One of them is not a project, or a data file in it is damaged or not understood.
    """
    return list(_differences(project_file(before), project_file(after)))


def _differences(before: Path, after: Path) -> Iterator[str]:
    yield from changed(_project(before), _project(after), "project: ")
    yield from changed(_classes(before.parent), _classes(after.parent), "class ")
    entries = [{entry.id: entry for entry in read_project(path).images} for path in (before, after)]
    order = [
        [identity for identity in each if identity in other]
        for each, other in (entries, entries[::-1])
    ]
    if order[0] != order[1]:
        yield f"order of the images: {', '.join(order[0])} -> {', '.join(order[1])}"
    for identity in order[0]:
        paths = [path.parent / "data" / identity / "data.qpdata" for path in (before, after)]
        there = [path.exists() for path in paths]
        name = entries[0][identity].name
        if all(there):
            if paths[0].read_bytes() != paths[1].read_bytes():
                data = [parse(path) for path in paths]
                yield from (f"{name}: {line}" for line in data_difference(*data))
        elif any(there):
            yield f"{name}: its data file was {'lost' if there[0] else 'added'}"
        if told := _summary(paths[0]):
            yield from changed(told, _summary(paths[1]), f"{name}: summary ")
    yield from changed(_files(before), _files(after), "file ")


def _project(path: Path) -> dict[str, Any]:
    """Return the content of the ``.qpproj`` as a flat mapping, without our metadata."""
    content = json.loads(path.read_bytes().decode("utf-8-sig"))
    flat = {key: value for key, value in content.items() if key != "images"}
    for place, raw in enumerate(content.get("images", []), 1):
        if not isinstance(raw, dict):
            flat[f"image {place} of the list"] = raw
            continue
        label = f"image {raw.get('entryID')} {raw.get('imageName')}"
        # metadata that are not a mapping of texts are compared as they are
        listed = isinstance(raw.get("metadata"), dict)
        metadata = raw.pop("metadata") if listed else {}
        flat |= {f"{label}: {key}": value for key, value in raw.items()}
        flat |= {
            f"{label}: {k} (metadata)": v for k, v in metadata.items() if not is_our_metadata(k)
        }
    return flat


def _summary(data_file: Path) -> dict[str, Any]:
    """Return the content of ``summary.json``, without values that depend on the objects."""
    path = data_file.with_name("summary.json")
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError):
        return {}
    ours = ("timestamp", "imageType", "hierarchy")
    return {key: value for key, value in content.items() if key not in ours}


def _classes(folder: Path) -> dict[str, Any]:
    """Classes that QuPath shows, without ours; its default classes if the project has no list."""
    path = folder / CLASSES
    if not path.exists():
        return {
            name: {"name": name, "color": opaque(colour)}
            for name, colour in DEFAULT_CLASSES.items()
        }
    listed = json.loads(path.read_bytes().decode("utf-8-sig")).get("pathClasses", [])
    return {each["name"]: each for each in listed if not is_our_class(each["name"])}


def _files(project: Path) -> dict[str, str]:
    """Return the fingerprints of all files that are compared as whole files."""
    folder = project.parent
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if relative.parts[0] in (BACKUPS, LOCK_NAME) or not path.is_file():
            continue
        if path == project or relative == CLASSES or path.name in ("data.qpdata", "summary.json"):
            continue
        found[relative.as_posix()] = stamp(path)
    return found
