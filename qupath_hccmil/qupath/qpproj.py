"""Reads a project's own files, ``project.qpproj`` and ``classes.json``, and changes single values.

They are plain JSON. They are not loaded through QuPath, which creates folders when it loads, needs
write access, and writes the whole project to change one entry.
"""

from __future__ import annotations

import json
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from qupath_hccmil.errors import ProjectError
from qupath_hccmil.qupath.bounded_json import bounded_int, parse_json, sound_text
from qupath_hccmil.qupath.data_types import ImageEntry, Server, ServerView
from qupath_hccmil.qupath.json_splice import items, members
from qupath_hccmil.qupath.names import (
    DEFAULT_CLASSES,
    has_former_colour,
    is_our_metadata,
)

CLASSES = Path("classifiers", "classes.json")

_DEGREES = {"ROTATE_NONE": 0, "ROTATE_90": 90, "ROTATE_180": 180, "ROTATE_270": 270}
# some editors write it at the start of a text, and QuPath accepts it
_MARK = "\ufeff"
# a project of a thousand images has 3 MB
_MOST_BYTES = 1 << 28
_FLIPS = {"NONE": "", **{name: name for name in ("HORIZONTAL", "VERTICAL", "BOTH")}}


@dataclass(frozen=True)
class ProjectFile:
    """The content of ``project.qpproj``.

    Attributes
    ----------
    path : Path
        The file.
    version : str
        QuPath that wrote it.
    previous_uri : str or None
        Location of the project when it was written.
    images : tuple of ImageEntry
        In the order of the project.
    """

    path: Path
    version: str
    previous_uri: str | None
    images: tuple[ImageEntry, ...]


_DAMAGES = (ValueError, KeyError, TypeError, AttributeError, OverflowError)


_RENAME = "copy it to project.qpproj in its folder"
# How far projects are looked for below a folder that is none.
_MOST_NAMED, _DEEPEST, _MOST_SEEN = 5, 3, 10_000


def project_file(path: Path) -> Path:
    """Find the ``.qpproj`` for a path that the user gave: the file or its folder.

    Raises
    ------
    ProjectError
        There is no ``.qpproj``, or there are several and none is called ``project.qpproj``.
    """
    if path.is_file() and path.suffix == ".qpproj":
        return path.absolute()
    if not path.is_dir():
        reason = "is not a QuPath project (.qpproj)" if path.exists() else "does not exist"
        renamed = path.is_file() and ".qpproj" in path.name
        hint = f"; if it is a project's backup, {_RENAME}" if renamed else ""
        raise ProjectError(f"{path}: {reason}; give the folder of a project or its .qpproj{hint}")
    found = sorted(path.glob("*.qpproj"))
    named = path / "project.qpproj"
    if named in found:
        return named.absolute()
    if len(found) != 1:
        reason = f"contains {len(found)} .qpproj files" if found else "contains no .qpproj file"
        hint = "" if found else meant_instead(path)
        raise ProjectError(f"{path}: {reason}; give the .qpproj of a QuPath project{hint}")
    return found[0].absolute()


def meant_instead(folder: Path) -> str:
    """Name backups in a folder that has no project, or else projects in folders below it.

    Returns
    -------
    str
        End of a message, from its semicolon; empty if there are neither.
    """
    renamed = [path.name for path in sorted(folder.glob("*.qpproj?*")) if path.is_file()]
    if renamed:
        return f"; here is {', '.join(renamed[:_MOST_NAMED])}: if it is a backup, {_RENAME}"
    below: list[str] = []
    seen = 0
    for at, folders, files in os.walk(folder):
        depth = len(Path(at).relative_to(folder).parts)
        # a hint is not worth a walk through a whole drive of slides
        folders[:] = sorted(folders) if depth < _DEEPEST else []
        seen += len(folders) + len(files)
        if any(name.endswith(".qpproj") for name in files):
            below.append(str(Path(at)))
            folders.clear()
        if len(below) > _MOST_NAMED or seen > _MOST_SEEN:
            break
    more = ", …" if len(below) > _MOST_NAMED else ""
    return f"; projects below it: {', '.join(below[:_MOST_NAMED])}{more}" if below else ""


def read_project(path: Path) -> ProjectFile:
    """Read a ``.qpproj``.

    An image with a damaged entry in the list gets a problem; the others are not affected.

    Raises
    ------
    ProjectError
        The file cannot be read, or was not written by QuPath 0.2 or newer.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ProjectError(
                f"{path}: is too large to be a project file; restore it from a backup"
            )
        version, previous_uri, images = _understood(path.read_bytes())
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read ({error.strerror})") from error
    except _DAMAGES as error:
        raise ProjectError(
            f"{path}: was not written by QuPath 0.2 or newer, or is damaged ({error}); "
            "open and save it in QuPath"
        ) from error
    return ProjectFile(path, version, previous_uri, images)


# A file that was written is read twice: for verification, and for further use.
@lru_cache(maxsize=2)
def _understood(content: bytes) -> tuple[str, str | None, tuple[ImageEntry, ...]]:
    """Parse version, previous URI and images from the bytes of a ``.qpproj``."""
    found = parse_json(content)
    listed = found.get("images", [])
    if listed and not any("entryID" in each for each in listed if isinstance(each, dict)):
        raise ValueError("no image has an entry ID")
    images = _told_apart([_entry(each, place) for place, each in enumerate(listed, 1)])
    uri = found.get("uri")
    return str(found.get("version") or ""), uri if isinstance(uri, str) else None, images


def with_our_metadata(content: bytes, metadata: Mapping[str, Mapping[str, str]]) -> bytes:
    """Replace our metadata of some entries in the bytes of a ``.qpproj``, and nothing else.

    Parameters
    ----------
    content : bytes
    metadata : mapping of str to mapping of str to str
        Entry ID to our metadata. The list is walked once, however many entries there are.

    Raises
    ------
    GoneError
        Entries do not exist.
    """
    text = content.decode("utf-8")
    top = members(text, len(_MARK) if text.startswith(_MARK) else 0)
    wanted = dict(metadata)
    parts, behind = [], 0
    for raw, (start, _) in items(text, top["images"][0]):
        if not wanted:
            break
        named = _id_of(raw)
        if named in wanted:
            entry = members(text, start)
            first, end, rendered = _metadata_in(text, entry, wanted.pop(named))
            parts += [text[behind:first], rendered]
            behind = end
    if wanted:
        raise GoneError(frozenset(wanted))
    return "".join([*parts, text[behind:]]).encode("utf-8")


class GoneError(ProjectError):
    """Entries are no longer in a project's list; `entries` are their IDs."""

    def __init__(self, entries: frozenset[str]) -> None:
        gone = ", ".join(sorted(entries))
        super().__init__(f"image {gone} is no longer in the project; open the project again")
        self.entries = entries


def _metadata_in(
    text: str, entry: Mapping[str, tuple[int, int]], ours: Mapping[str, str]
) -> tuple[int, int, str]:
    """Place of an entry's metadata, and what to put there."""
    if "metadata" not in entry:
        behind = max(end for _, end in entry.values())
        return behind, behind, f',\n      "metadata": {_rendered({}, ours)}' if ours else ""
    first, end = entry["metadata"]
    known = {} if text[first:end] == "null" else members(text, first)
    theirs = {key: text[slice(*span)] for key, span in known.items() if not is_our_metadata(key)}
    return first, end, _rendered(theirs, ours)


def with_new_entries(content: bytes, entries: Sequence[Mapping[str, Any]]) -> bytes:
    """Put entries behind the others in the bytes of a ``.qpproj``, and change nothing else.

    Parameters
    ----------
    content : bytes
        A project that can be read.
    entries : sequence of mapping
        As JSON values, each with an ``entryID`` that no other has.
    """
    if not entries:
        return content
    text = content.decode("utf-8")
    top = members(text, len(_MARK) if text.startswith(_MARK) else 0)
    rendered = ",\n".join(
        textwrap.indent(json.dumps(entry, indent=2, ensure_ascii=False), "    ")
        for entry in entries
    )
    changes: list[tuple[tuple[int, int], str]] = []
    if "lastID" in top:
        changes.append((top["lastID"], str(max(_ids(text, top, entries)))))
    if "images" not in top:
        start = max((end for _, end in top.values()), default=text.index("{") + 1)
        comma = "," if top else ""
        changes.append(((start, start), f'{comma}\n  "images": [\n{rendered}\n  ]'))
    else:
        listed = [span for _, span in items(text, top["images"][0])]
        at = listed[-1][1] if listed else text.index("[", top["images"][0]) + 1
        end = at if listed else top["images"][1] - 1
        changes.append(((at, end), f",\n{rendered}" if listed else f"\n{rendered}\n  "))
    for (first, last), new in sorted(changes, reverse=True):
        text = text[:first] + new + text[last:]
    return text.encode("utf-8")


def _ids(
    text: str, top: Mapping[str, tuple[int, int]], entries: Sequence[Mapping[str, Any]]
) -> list[int]:
    last = parse_json(text[slice(*top["lastID"])])
    return [*(entry["entryID"] for entry in entries), last if isinstance(last, int) else 0]


def next_entry_id(path: Path) -> int:
    """First entry ID of a project that neither its list nor a folder of data has used.

    Parameters
    ----------
    path : Path
        The ``.qpproj``, which can be read.
    """
    content = parse_json(path.read_bytes())
    used = [content.get("lastID"), *(each.get("entryID") for each in content.get("images", []))]
    folders = path.parent / "data"
    names = [each.name for each in folders.iterdir()] if folders.is_dir() else []
    known = [bounded_int(value) for value in used if isinstance(value, int | float)]
    return max([0, *known, *(int(name) for name in names if name.isascii() and name.isdigit())]) + 1


def with_classes(content: bytes, colours: Mapping[str, int]) -> bytes | None:
    """Add classes to the bytes of ``classes.json``; None if nothing needs to be changed.

    A project without this file shows QuPath's default classes, and with it only the classes in it,
    so a new file gets the default classes too. An existing class keeps its colour, which may be the
    user's choice, unless it is one of ours with the colour of an earlier version.

    Parameters
    ----------
    content : bytes
        Empty if the project has no such file.
    colours : mapping of str to int
        Packed RGB.
    """
    listed: dict[str, Any] = parse_json(content) if content else {}
    colours = colours if content else {**DEFAULT_CLASSES, **colours}
    classes = listed.setdefault("pathClasses", [])
    known = {each.get("name") for each in classes}
    new = [
        {"name": name, "color": opaque(colour)}
        for name, colour in colours.items()
        if name not in known
    ]
    former = [each for each in classes if has_former_colour(each.get("name"), each.get("color"))]
    former = [each for each in former if each["name"] in colours]
    for each in former:
        each["color"] = opaque(colours[each["name"]])
    if not new and not former:
        return None
    classes.extend(new)
    return json.dumps(listed, indent=2, ensure_ascii=False).encode("utf-8")


def opaque(colour: int) -> int:
    """Colour as QuPath stores it: a signed 32-bit integer, alpha 255 above the packed RGB."""
    return (colour | 0xFF000000) - (1 << 32)


def summary(
    content: bytes, entry: ImageEntry, image_type: str, counts: Mapping[str, Any], time_ms: int
) -> bytes:
    """Return the ``summary.json`` of an image with new object counts.

    Parameters
    ----------
    content : bytes
        The present file; empty if there is none.
    counts : mapping
        ``nObjects``, ``objectTypeCounts``, ``annotationClassificationCounts``,
        ``detectionClassificationCounts``.
    time_ms : int
        Time at which the data were written, milliseconds since 1970.
    """
    try:
        before = parse_json(content) if content else {}
    except ValueError:
        before = {}
    if not isinstance(before, dict):
        before = {}
    server = {
        "width": entry.server.width,
        "height": entry.server.height,
        "sizeC": 3,
        "sizeZ": entry.server.size_z,
        "sizeT": entry.server.size_t,
    }
    after = {
        "timestamp": time_ms,
        "imageType": image_type,
        "server": server,
        **{key: value for key, value in before.items() if key not in ("timestamp", "imageType")},
        "hierarchy": counts,
    }
    return json.dumps(after, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _entry_id(raw: Any) -> str:
    """Return the entry ID, which names the folder of an image and must be a number."""
    return str(bounded_int(raw))


def _id_of(raw: Any) -> str:
    """The entry ID of an item of the list; empty where it has none."""
    try:
        return _entry_id(raw["entryID"])
    except (ValueError, TypeError, KeyError):
        return ""


def _entry(raw: Any, place: int) -> ImageEntry:
    """Return image number `place` (from 1) in the list, with its problem if it has one."""
    entry_id, name = _no_id(place), f"image {place} of the list"
    try:
        name = sound_text(raw.get("imageName") or name)
        if "entryID" not in raw:
            raise ValueError("it has no entry ID")
        entry_id = _entry_id(raw["entryID"])
        name = sound_text(raw.get("imageName") or f"Image {entry_id}")
        if not isinstance(raw.get("serverBuilder"), dict):
            raise ValueError("it has no serverBuilder, which says how to open its slide")
        return ImageEntry(
            id=entry_id,
            name=name,
            server=_server(raw["serverBuilder"]),
            metadata={
                sound_text(key): sound_text(value)
                for key, value in (raw.get("metadata") or {}).items()
            },
        )
    except _DAMAGES as error:
        return _unusable(
            ImageEntry(entry_id, name, Server("", "", "")),
            f"the entry of this image in the project's list is damaged ({error}); remove the "
            "image in QuPath and add its slide again",
        )


def _no_id(place: int) -> str:
    """Replacement for a missing ID, which never names a folder."""
    return f"?{place}"


def _unusable(entry: ImageEntry, problem: str) -> ImageEntry:
    return replace(entry, problem=" ".join(problem.split()))


def _told_apart(images: Sequence[ImageEntry]) -> tuple[ImageEntry, ...]:
    """Give a problem to images that share an entry ID, since they cannot be used."""
    places: dict[str, list[int]] = {}
    for place, entry in enumerate(images):
        places.setdefault(entry.id, []).append(place)
    found = list(images)
    for entry_id, same in places.items():
        for place in same if len(same) > 1 else ():
            entry = _unusable(
                images[place],
                f"{len(same)} images have the same entry ID {entry_id}, so they would share their "
                "data; remove all but one in QuPath",
            )
            found[place] = entry if place == same[0] else replace(entry, id=_no_id(place + 1))
    return tuple(found)


def _server(raw: Mapping[str, Any]) -> Server:
    views: list[ServerView] = []
    inner = raw
    while isinstance(inner.get("builder"), dict):
        views.insert(0, _view(inner))
        inner = inner["builder"]
    metadata = raw.get("metadata") or inner.get("metadata") or {}
    calibration = metadata.get("pixelCalibration") or {}
    size = [bounded_int(metadata.get(side) or 0) for side in ("width", "height")]
    pixel = [_micrometres(calibration.get(side)) for side in ("pixelWidth", "pixelHeight")]
    if not raw.get("metadata"):
        size, pixel = _seen_through(views, size, pixel)
    return Server(
        builder=str(inner.get("builderType") or "uri"),
        provider=str(inner.get("providerClassName") or ""),
        uri=str(inner.get("uri") or ""),
        args=_args(inner.get("args")),
        width=size[0],
        height=size[1],
        pixel_width=pixel[0],
        pixel_height=pixel[1],
        size_z=bounded_int(metadata.get("sizeZ") or 1),
        size_t=bounded_int(metadata.get("sizeT") or 1),
        is_rgb=bool(metadata.get("isRGB", True)),
        views=tuple(views),
    )


def _args(raw: Any) -> tuple[str, ...]:
    if raw is not None and not isinstance(raw, list):
        raise ValueError("the arguments of its server are not a list")
    return tuple(str(each) for each in raw or ())


def _view(raw: Mapping[str, Any]) -> ServerView:
    kind = str(raw.get("builderType"))
    region = raw.get("region")
    rotation, flip = str(raw.get("rotation")), str(raw.get("flip"))
    if kind == "cropped" and region:
        return ServerView(kind, region=_box(region))
    if kind == "rotated" and rotation in _DEGREES:
        return ServerView(kind, degrees=_DEGREES[rotation])
    if kind == "flipped" and flip in _FLIPS:
        return ServerView(kind, flip=_FLIPS[flip])
    if kind in ("cropped", "rotated", "flipped"):
        return ServerView(f"{kind} ({raw.get('region') or raw.get('rotation') or flip})")
    return ServerView(kind)


def _box(region: Mapping[str, Any]) -> tuple[int, int, int, int]:
    x, y, width, height = (bounded_int(region[key]) for key in ("x", "y", "width", "height"))
    return x, y, width, height


def _seen_through(
    views: Sequence[ServerView], size: list[int], pixel: list[float | None]
) -> tuple[list[int], list[float | None]]:
    """Compute size and pixel size of the outermost server from those of the innermost."""
    for view in views:
        if view.region:
            size = list(view.region[2:])
        if view.degrees % 180:
            size, pixel = size[::-1], pixel[::-1]
    return size, pixel


def _micrometres(length: Mapping[str, Any] | None) -> float | None:
    """Length in µm; None if it is in pixels or not positive."""
    if not length or length.get("unit") not in ("µm", "μm", "um"):
        return None
    value = float(length["value"])
    return value if 0 < value < math.inf else None


def _rendered(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Metadata object in QuPath's layout; values of `theirs` are JSON already."""
    raw = {
        **theirs,
        **{key: _quoted(str(value)) for key, value in ours.items()},
    }
    if not raw:
        return "{}"
    lines = [f"        {_quoted(key)}: {value}" for key, value in raw.items()]
    return "{\n" + ",\n".join(lines) + "\n      }"


def _quoted(text: str) -> str:
    """Text as JSON; half a surrogate pair stays an escape."""
    return json.dumps(text, ensure_ascii=any("\ud800" <= each <= "\udfff" for each in text))
