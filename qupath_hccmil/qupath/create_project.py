"""A new QuPath project, made without QuPath."""

from __future__ import annotations

import io
import json
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL.Image import Image

from qupath_hccmil.atomic_files import atomic_folder
from qupath_hccmil.errors import ProjectError, WriteError
from qupath_hccmil.qupath.names import CLASS_COLOURS
from qupath_hccmil.qupath.native.javaclasses import hash_order
from qupath_hccmil.qupath.native.newdata import (
    IMAGE_TYPE,
    NewAnnotation,
    colour_of,
    new_data,
)
from qupath_hccmil.qupath.qpproj import CLASSES, with_classes

__all__ = ["NewAnnotation", "NewImage", "create_project"]

OPENSLIDE = "qupath.lib.images.servers.openslide.OpenslideServerBuilder"
VERSIONS = ("0.5.1", "0.6.0", "0.7.0")
TILE_PX = 256

# packed ARGB as QuPath names the channels of an RGB image
_CHANNELS = {"Red": -65536, "Green": -16711936, "Blue": -16776961}


@dataclass(frozen=True)
class NewImage:
    """An image of a new project.

    Attributes
    ----------
    path : Path
        The slide.
    name : str
    width, height : int
        Level-0 px.
    mpp : float or None
        µm/px; None leaves the image without calibration.
    downsamples : sequence of float
        Of the levels; 1 first.
    magnification : float or None
    metadata : mapping of str to str
        Of the project's entry.
    annotations : sequence of NewAnnotation
    thumbnail : PIL image or None
    provider : str
        QuPath's class that opens the file.
    """

    path: Path
    name: str
    width: int
    height: int
    mpp: float | None = None
    downsamples: Sequence[float] = (1.0,)
    magnification: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    annotations: Sequence[NewAnnotation] = ()
    thumbnail: Image | None = None
    provider: str = OPENSLIDE


def create_project(
    folder: Path, images: Sequence[NewImage], *, qupath_version: str = "0.6.0"
) -> Path:
    """Make a project of H&E images in a new or empty folder: all of it, or nothing.

    Parameters
    ----------
    folder : Path
        Parents are made.
    images : sequence of NewImage
    qupath_version : {"0.5.1", "0.6.0", "0.7.0"}
        QuPath whose files are written; newer ones open them too.

    Returns
    -------
    Path
        The ``project.qpproj``.

    Raises
    ------
    ProjectError
        The folder is not empty, or cannot be written.
    """
    if qupath_version not in VERSIONS:
        raise ProjectError(
            f"QuPath {qupath_version}: projects can be made for {', '.join(VERSIONS)}"
        )
    folder = folder.absolute()
    _require_empty(folder)
    files = _files(folder, images, qupath_version)
    try:
        with atomic_folder(folder) as new:
            for name, content in files.items():
                target = new / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
    except WriteError as error:
        raise ProjectError(f"{error}; choose another folder for the project") from error
    return folder / "project.qpproj"


def _require_empty(folder: Path) -> None:
    try:
        if any(folder.iterdir()):
            raise ProjectError(f"{folder}: is not empty; give a new folder for the project")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ProjectError(f"{folder}: {error.strerror}; give a new folder") from error


def _files(folder: Path, images: Sequence[NewImage], version: str) -> dict[str, bytes]:
    """Return all files by their path in the folder."""
    now = time.time_ns() // 1_000_000
    project = folder / "project.qpproj"
    files: dict[str, bytes] = {}
    entries = []
    classes: dict[str, int] = {}
    for number, image in enumerate(images, 1):
        server = _server(image)
        entries.append(_entry(image, server, number, version))
        home = f"data/{number}"
        files[f"{home}/server.json"] = _json(server)
        files[f"{home}/data.qpdata"] = new_data(
            server,
            image.annotations,
            qupath_version=version,
            entry_path=f"{project}::{number}",
            data_path=str(folder / home / "data.qpdata"),
        )
        files[f"{home}/summary.json"] = _compact(_summary(image, now))
        if image.thumbnail is not None:
            files[f"{home}/thumbnail.jpg"] = _jpeg(image.thumbnail)
        named = (each.class_name for each in image.annotations)
        classes.update({name: colour_of(name) for name in named if name})
    files[CLASSES.as_posix()] = with_classes(b"", {**classes, **CLASS_COLOURS}) or b""
    if version != "0.5.1":
        files["data/metadata.json"] = b"{}"
    files["project.qpproj"] = _json(
        {
            "version": version,
            "createTimestamp": now,
            "modifyTimestamp": now,
            "uri": project.as_uri(),
            "lastID": len(images),
            "images": entries,
        }
    )
    return files


def _entry(image: NewImage, server: Any, number: int, version: str) -> dict[str, Any]:
    entry = {
        "serverBuilder": server,
        "entryID": number,
        "randomizedName": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{image.name}/{number}")),
        "imageName": image.name,
        "metadata": dict(image.metadata),
    }
    return entry if version == "0.5.1" else {**entry, "tags": []}


def _server(image: NewImage) -> dict[str, Any]:
    """Return the server builder with its metadata, as QuPath stores it for an RGB slide."""
    length = (
        {"value": image.mpp, "unit": "µm"}
        if image.mpp is not None
        else {"value": 1.0, "unit": "px"}
    )
    metadata = {
        "name": image.name,
        "width": image.width,
        "height": image.height,
        "sizeZ": 1,
        "sizeT": 1,
        "channelType": "DEFAULT",
        "isRGB": True,
        "pixelType": "UINT8",
        "levels": [
            {
                "downsample": float(downsample),
                "width": round(image.width / downsample),
                "height": round(image.height / downsample),
            }
            for downsample in image.downsamples
        ],
        "channels": [{"name": name, "color": colour} for name, colour in _CHANNELS.items()],
        "pixelCalibration": {
            "pixelWidth": length,
            "pixelHeight": length,
            "zSpacing": {"value": 1.0, "unit": "z-slice"},
            "timeUnit": "SECONDS",
            "timepoints": [],
        },
        "preferredTileWidth": TILE_PX,
        "preferredTileHeight": TILE_PX,
    }
    if image.magnification is not None:
        metadata["magnification"] = float(image.magnification)
    return {
        "builderType": "uri",
        "providerClassName": image.provider,
        "uri": image.path.absolute().as_uri(),
        "args": [],
        "metadata": metadata,
    }


def _summary(image: NewImage, now: int) -> dict[str, Any]:
    classes = Counter(each.class_name or "Unclassified" for each in image.annotations)
    kinds = {"Root objects": 1}
    if image.annotations:
        kinds["Annotations"] = len(image.annotations)
    return {
        "timestamp": now,
        "imageType": IMAGE_TYPE,
        "server": {
            "width": image.width,
            "height": image.height,
            "sizeC": 3,
            "sizeZ": 1,
            "sizeT": 1,
        },
        "hierarchy": {
            "nObjects": sum(kinds.values()),
            "objectTypeCounts": kinds,
            "annotationClassificationCounts": {
                name: classes[name] for name in hash_order(list(classes))
            },
            "detectionClassificationCounts": {},
        },
    }


def _jpeg(image: Image) -> bytes:
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=90)
    return out.getvalue()


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=2, ensure_ascii=False).encode("utf-8")


def _compact(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
