"""A project's own files, ``project.qpproj`` and ``classes.json``: read, and changed in place.

They are plain JSON. They are not loaded through QuPath, which makes folders as it loads, needs
them writable, and writes all of a project to change one entry.
"""

from __future__ import annotations

import json
import math
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
# some editors put it in front of a text, and QuPath reads on
_MARK = "\ufeff"
# a project of a thousand images has 3 MB
_MOST_BYTES = 1 << 28
_FLIPS = {"NONE": "", **{name: name for name in ("HORIZONTAL", "VERTICAL", "BOTH")}}


@dataclass(frozen=True)
class ProjectFile:
    """What ``project.qpproj`` says.

    Attributes
    ----------
    path : Path
        The file.
    version : str
        QuPath that wrote it.
    previous_uri : str or None
        Where the project was when it was written.
    images : tuple of ImageEntry
        In the project's order.
    """

    path: Path
    version: str
    previous_uri: str | None
    images: tuple[ImageEntry, ...]


_DAMAGES = (ValueError, KeyError, TypeError, AttributeError, OverflowError)


def project_file(path: Path) -> Path:
    """``.qpproj`` of a path that the user gave: the file, or its folder.

    Raises
    ------
    ProjectError
        There is none, or the folder has several and none is called ``project.qpproj``.
    """
    if path.is_file() and path.suffix == ".qpproj":
        return path.absolute()
    if not path.is_dir():
        reason = "is no QuPath project (.qpproj)" if path.exists() else "does not exist"
        raise ProjectError(f"{path}: {reason}; give a project's folder or its .qpproj")
    found = sorted(path.glob("*.qpproj"))
    named = path / "project.qpproj"
    if named in found:
        return named.absolute()
    if len(found) != 1:
        reason = f"has {len(found)} .qpproj files" if found else "has no .qpproj in it"
        raise ProjectError(f"{path}: {reason}; give the .qpproj of a QuPath project")
    return found[0].absolute()


def read_project(path: Path) -> ProjectFile:
    """Read a ``.qpproj``.

    An image of which the list says what it should not is one with a problem; the others are as
    they are.

    Raises
    ------
    ProjectError
        It cannot be read, or is not one of QuPath 0.2 or newer.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ProjectError(f"{path}: is too large for a project; restore it from a backup")
        version, previous_uri, images = _understood(path.read_bytes())
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read ({error.strerror})") from error
    except _DAMAGES as error:
        raise ProjectError(
            f"{path}: is not a project that QuPath 0.2 or newer wrote, or is damaged ({error}); "
            "open and save it in QuPath"
        ) from error
    return ProjectFile(path, version, previous_uri, images)


# what is written is read again twice: to verify it, and by who goes on with it
@lru_cache(maxsize=2)
def _understood(content: bytes) -> tuple[str, str | None, tuple[ImageEntry, ...]]:
    """Version, previous URI and images of the bytes of a ``.qpproj``."""
    found = parse_json(content)
    listed = found.get("images", [])
    if listed and not any("entryID" in each for each in listed if isinstance(each, dict)):
        raise ValueError("no image has an entryID")
    images = _told_apart([_entry(each, place) for place, each in enumerate(listed, 1)])
    uri = found.get("uri")
    return str(found.get("version") or ""), uri if isinstance(uri, str) else None, images


def with_our_metadata(content: bytes, entry_id: str, ours: Mapping[str, str]) -> bytes:
    """Replace our metadata of one entry in the bytes of a ``.qpproj``, and nothing else.

    Raises
    ------
    ProjectError
        The entry is not in it.
    """
    text = content.decode("utf-8")
    top = members(text, len(_MARK) if text.startswith(_MARK) else 0)
    for start, _ in items(text, top["images"][0]):
        entry = members(text, start) if text[start] == "{" else {}
        if "entryID" in entry and _is_id(text[slice(*entry["entryID"])], entry_id):
            break
    else:
        raise ProjectError(f"image {entry_id} is no longer in the project; open the project again")
    if "metadata" not in entry:
        behind = max(end for _, end in entry.values())
        addition = f',\n      "metadata": {_rendered({}, ours)}' if ours else ""
        return (text[:behind] + addition + text[behind:]).encode("utf-8")
    first, end = entry["metadata"]
    known = {} if text[first:end] == "null" else members(text, first)
    theirs = {key: text[slice(*span)] for key, span in known.items() if not is_our_metadata(key)}
    return (text[:first] + _rendered(theirs, ours) + text[end:]).encode("utf-8")


def with_classes(content: bytes, colours: Mapping[str, int]) -> bytes | None:
    """Add classes to the bytes of ``classes.json``; None where nothing is to be changed.

    A project without that file shows QuPath's default classes, and with one only what is in it: so
    a new file has the default classes too. A class that is there keeps its colour, which may be the
    user's choice, unless it is one of ours with the colour of an earlier version.

    Parameters
    ----------
    content : bytes
        Empty where the project has no such file.
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
    """``summary.json`` of an image, which QuPath shows beside it, with new object counts.

    Parameters
    ----------
    content : bytes
        The file as it is; empty where there is none.
    counts : mapping
        ``nObjects``, ``objectTypeCounts``, ``annotationClassificationCounts``,
        ``detectionClassificationCounts``.
    time_ms : int
        When the data were written, milliseconds since 1970.
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
    """Return what names the folder of an image: nothing but a number may come in."""
    return str(bounded_int(raw))


def _is_id(raw: str, wanted: str) -> bool:
    try:
        return _entry_id(parse_json(raw)) == wanted
    except (ValueError, TypeError):
        return False


def _entry(raw: Any, place: int) -> ImageEntry:
    """Return an image, `place` from 1 in the list; one that cannot be used with its problem."""
    entry_id, name = _no_id(place), f"image {place} of the list"
    try:
        name = sound_text(raw.get("imageName") or name)
        if "entryID" not in raw:
            raise ValueError("it has no entryID")
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
            f"the project's list is damaged where it tells of this image ({error}); remove the "
            "image in QuPath and add its slide again",
        )


def _no_id(place: int) -> str:
    """What an image without an ID of its own is called; it names no folder."""
    return f"?{place}"


def _unusable(entry: ImageEntry, problem: str) -> ImageEntry:
    return replace(entry, problem=" ".join(problem.split()))


def _told_apart(images: Sequence[ImageEntry]) -> tuple[ImageEntry, ...]:
    """Return images of which no two have one ID: those that share one cannot be used."""
    places: dict[str, list[int]] = {}
    for place, entry in enumerate(images):
        places.setdefault(entry.id, []).append(place)
    found = list(images)
    for entry_id, same in places.items():
        for place in same if len(same) > 1 else ():
            entry = _unusable(
                images[place],
                f"{len(same)} images have its entry ID {entry_id}, so they would share their data; "
                "remove all but one in QuPath",
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
        raise ValueError("the args of its server are no list")
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
    """Size and pixel size of the outermost server from those of the innermost."""
    for view in views:
        if view.region:
            size = list(view.region[2:])
        if view.degrees % 180:
            size, pixel = size[::-1], pixel[::-1]
    return size, pixel


def _micrometres(length: Mapping[str, Any] | None) -> float | None:
    """Length in µm; None where it is in pixels or not positive."""
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
    """Text as JSON; half a surrogate pair stays the escape that it must have been."""
    return json.dumps(text, ensure_ascii=any("\ud800" <= each <= "\udfff" for each in text))
