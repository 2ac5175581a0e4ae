"""Makes a new ``data.qpdata``, as QuPath writes it for an H&E image with annotations."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shapely.geometry.base import BaseGeometry

from qupath_hccmil.qupath.names import CLASS_COLOURS, DEFAULT_CLASSES
from qupath_hccmil.qupath.native.javaclasses import ClassBook
from qupath_hccmil.qupath.native.javanodes import (
    END,
    JavaEnum,
    JavaObject,
    JavaString,
    Part,
    block,
    encode,
)
from qupath_hccmil.qupath.native.javastream import serialise
from qupath_hccmil.qupath.native.pathobjects import OBJECT_ID
from qupath_hccmil.qupath.native.rois import geometry_node

DATA_VERSION = 3
IMAGE_TYPE = "BRIGHTFIELD_H_E"

# QuPath's own colours for its standard classes

OTHER_COLOUR = 0x404040

# QuPath's default stains for the image type
_STAINS = json.dumps(
    {
        "Name": "H&E default",
        "Stain 1": "Hematoxylin",
        "Values 1": "0.6511078257574492 0.7011930431234068 0.29049426072255424",
        "Stain 2": "Eosin",
        "Values 2": "0.21589893562087106 0.8011960501132093 0.5580972485873467",
        "Background": " 255 255 255",
    },
    separators=(", ", " : "),
)


@dataclass(frozen=True)
class NewAnnotation:
    """An annotation of a new project.

    Attributes
    ----------
    geometry : shapely Polygon or MultiPolygon
        Level-0 px.
    class_name : str or None
        ``Tumor: Positive`` makes a derived class.
    name : str or None
    locked : bool
    """

    geometry: BaseGeometry
    class_name: str | None = None
    name: str | None = None
    locked: bool = False


def colour_of(class_name: str) -> int:
    """Return the packed RGB of a class in a new project."""
    known = {**DEFAULT_CLASSES, **CLASS_COLOURS}
    return known.get(class_name, OTHER_COLOUR)


def new_data(
    server: Mapping[str, Any],
    annotations: Sequence[NewAnnotation],
    *,
    qupath_version: str,
    entry_path: str,
    data_path: str,
) -> bytes:
    """Return the bytes of a ``data.qpdata``.

    Parameters
    ----------
    server : mapping
        Server builder as the project has it.
    annotations : sequence of NewAnnotation
        Annotations, all directly below the root.
    qupath_version : str
        QuPath version that the file states.
    entry_path : str
        ``<project.qpproj>::<entry id>``, by which QuPath identifies the entry.
    data_path : str
        Path where the file will be.
    """
    builder = _Builder(entry_path)
    head = {
        "dataVersion": DATA_VERSION,
        "qupathVersion": qupath_version,
        "server": server,
        "id": data_path,
    }
    version = encode(f"Data file version {DATA_VERSION}")
    hierarchy = builder.book.object(
        "qupath.lib.objects.hierarchy.PathObjectHierarchy", builder.root(annotations), None
    )
    return serialise(
        [
            block(struct.pack(">H", len(version)) + version),
            JavaString.of(json.dumps(head, ensure_ascii=False, separators=(",", ":"))),
            builder.locale(),
            JavaEnum(
                builder.book.get("qupath.lib.images.ImageData$ImageType"),
                JavaString.of(IMAGE_TYPE),
            ),
            builder.book.object(
                "qupath.lib.color.ColorDeconvolutionStains",
                block(struct.pack(">i", 1)),
                JavaString.of(_STAINS),
                END,
            ),
            builder.book.object(
                "qupath.lib.plugins.workflow.Workflow", block(struct.pack(">ii", 1, 0)), END
            ),
            hierarchy,
            builder.properties(),
            JavaString.of("EOF"),
        ]
    )


class _Builder:
    """Makes nodes that share the same objects as in Java."""

    def __init__(self, entry_path: str) -> None:
        self.book = ClassBook()
        self._entry = entry_path
        self._key = JavaString.of(OBJECT_ID)
        self._one = self.book.integer(1)
        self._flags = {value: self.book.boolean(value) for value in (False, True)}
        self._classes: dict[str, JavaObject] = {}
        self._number = 0

    def locale(self) -> JavaObject:
        """Return the locale ``en``."""
        empty, english = JavaString.of(""), JavaString.of("en")
        # hash code not known, then country, extensions, language, script, variant
        unknown = struct.pack(">i", -1)
        return self.book.object(
            "java.util.Locale", unknown, empty, empty, english, empty, empty, END
        )

    def properties(self) -> JavaObject:
        """Return the image's properties, with the entry that the data belong to."""
        key, value = JavaString.of("PROJECT_ENTRY_ID"), JavaString.of(self._entry)
        return self.book.hash_map({str(key): (key, value)})

    def root(self, annotations: Sequence[NewAnnotation]) -> JavaObject:
        """Return the root object."""
        parts = self._head(None)
        children = [self._annotation(each) for each in annotations]
        size = block(struct.pack(">i", len(children)))
        return self.book.object("qupath.lib.objects.PathRootObject", *parts, size, *children, END)

    def _annotation(self, annotation: NewAnnotation) -> JavaObject:
        return self.book.object(
            "qupath.lib.objects.PathAnnotationObject",
            *self._head(annotation.name),
            block(struct.pack(">i", 0)),
            self._flags[annotation.locked],
            self._path_class(annotation.class_name),
            geometry_node(self.book, annotation.geometry),
            block(struct.pack(">d", float("nan"))),
            END,
        )

    def _head(self, name: str | None) -> list[Part]:
        """Return name, colour, metadata with the UUID, measurements."""
        identity = uuid.uuid5(uuid.NAMESPACE_URL, f"{self._entry}/{self._number}")
        self._number += 1
        metadata = self.book.object(
            "qupath.lib.objects.MetadataMap",
            self._one,
            self.book.array([self._key]),
            self.book.array([JavaString.of(str(identity))]),
            END,
        )
        return [JavaString.of(name) if name is not None else None, None, metadata, None]

    def _path_class(self, name: str | None) -> JavaObject | None:
        if not name:
            return None
        if name not in self._classes:
            parent, _, last = name.rpartition(":")
            colour = colour_of(name) | 0xFF000000
            self._classes[name] = self.book.object(
                "qupath.lib.objects.classes.PathClass",
                self.book.integer(colour - (1 << 32)),
                JavaString.of(last.strip()),
                self._path_class(parent.strip()),
            )
        return self._classes[name]
