"""The parts of an image in a project: its entry in the list, and the files in its folder."""

from __future__ import annotations

import io
import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from qupath_hccmil.qupath.native.javaclasses import hash_order
from qupath_hccmil.qupath.native.newdata import IMAGE_TYPE, colour_of, new_data
from qupath_hccmil.qupath.new_image import NewImage

TILE_PX = 256
VERSIONS = ("0.5.1", "0.6.0", "0.7.0")

# packed ARGB as QuPath names the channels of an RGB image
_CHANNELS = {"Red": -65536, "Green": -16711936, "Blue": -16776961}


@dataclass(frozen=True)
class ImageFiles:
    """An image as it is stored in a project.

    Attributes
    ----------
    entry : dict
        Its entry in the project's list, as JSON values.
    files : dict of str to bytes
        Content of each file, by its path in the project's folder.
    classes : dict of str to int
        Packed RGB of the classes of its annotations.
    """

    entry: dict[str, Any]
    files: dict[str, bytes]
    classes: dict[str, int]


def image_files(
    image: NewImage, number: int, *, project: Path, qupath_version: str, now: int
) -> ImageFiles:
    """Make the entry and the files of an image.

    Parameters
    ----------
    image : NewImage
    number : int
        Entry ID.
    project : Path
        The ``.qpproj``, absolute.
    qupath_version : {"0.5.1", "0.6.0", "0.7.0"}
        QuPath version of the files.
    now : int
        Present time, milliseconds since 1970.
    """
    server = _server(image)
    home = f"data/{number}"
    files = {
        f"{home}/server.json": as_json(server),
        f"{home}/data.qpdata": new_data(
            server,
            image.annotations,
            qupath_version=qupath_version,
            entry_path=f"{project}::{number}",
            data_path=str(project.parent / home / "data.qpdata"),
        ),
        f"{home}/summary.json": _compact(_summary(image, now)),
    }
    if image.thumbnail is not None:
        files[f"{home}/thumbnail.jpg"] = _jpeg(image.thumbnail)
    named = (each.class_name for each in image.annotations)
    classes = {name: colour_of(name) for name in named if name}
    return ImageFiles(_entry(image, server, number, qupath_version), files, classes)


def _entry(image: NewImage, server: Mapping[str, Any], number: int, version: str) -> dict[str, Any]:
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
    width, height = image.mpp if isinstance(image.mpp, tuple) else (image.mpp, image.mpp)
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
            "pixelWidth": _length(width),
            "pixelHeight": _length(height),
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
        "args": list(image.args),
        "metadata": metadata,
    }


def _length(mpp: float | None) -> dict[str, Any]:
    return {"value": 1.0, "unit": "px"} if mpp is None else {"value": mpp, "unit": "µm"}


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


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=90)
    return out.getvalue()


def as_json(content: Any) -> bytes:
    """Bytes of a JSON file in QuPath's layout."""
    return json.dumps(content, indent=2, ensure_ascii=False).encode("utf-8")


def _compact(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
