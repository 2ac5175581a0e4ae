"""The data that both engines speak: plain dataclasses, no QuPath, no Java.

Coordinates are level-0 pixels of QuPath's server, y down, as QuPath shows them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

EngineName = Literal["paquo", "native"]


@dataclass(frozen=True)
class ServerView:
    """One server around another.

    Attributes
    ----------
    kind : str
        QuPath's ``builderType``: ``cropped``, ``rotated``, ``flipped``, ``pyramidize`` and others;
        with what it does, where that is not understood.
    region : (x, y, width, height) of int or None
        Of a crop, level-0 px of what it is cut from.
    degrees : int
        Clockwise, of a rotation.
    flip : str
        ``HORIZONTAL``, ``VERTICAL`` or ``BOTH``, of a flip.
    """

    kind: str
    region: tuple[int, int, int, int] | None = None
    degrees: int = 0
    flip: str = ""


@dataclass(frozen=True)
class Server:
    """How QuPath opens the pixels of an image.

    Attributes
    ----------
    builder : str
        QuPath's ``builderType`` of the innermost server: ``uri`` for a plain file.
    provider : str
        The class that opens the file, e.g. ``...openslide.OpenslideServerBuilder``.
    uri : str
        The file, as stored.
    args : tuple of str
        Arguments to the provider, e.g. ``--series, 0``.
    width, height : int
        Level-0 px of the server.
    pixel_width, pixel_height : float or None
        µm; None where the image is not calibrated.
    size_z, size_t : int
        Number of planes.
    views : tuple of ServerView
        Servers around it, the innermost first; `width` to `pixel_height` are of the outermost.
    """

    builder: str
    provider: str
    uri: str
    args: tuple[str, ...] = ()
    width: int = 0
    height: int = 0
    pixel_width: float | None = None
    pixel_height: float | None = None
    size_z: int = 1
    size_t: int = 1
    is_rgb: bool = True
    views: tuple[ServerView, ...] = ()


@dataclass(frozen=True)
class ImageEntry:
    """One image of a project.

    Attributes
    ----------
    id : str
        A number, which names the folder of its data. That of an image whose `problem` is its ID
        is ``?`` and its place in the list.
    name : str
    server : Server
    metadata : mapping of str to str
    problem : str
        Why the image cannot be used, where the project's list says of it what it should not;
        empty for others.
    """

    id: str
    name: str
    server: Server
    metadata: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Annotation:
    """One annotation object.

    Attributes
    ----------
    id : str
        QuPath's object UUID.
    class_name : str or None
        Full name; a derived class reads ``Tumor: Positive``.
    geometry : shapely geometry or None
        Level-0 px; None where the object has no ROI, or an odd one. A polygon is as it was drawn
        and may cross itself: :func:`~qupath_hccmil.slides.inside_outline.outline_area` knows what
        is inside.
    roi : str
        QuPath's ROI type, lower case: polygon, geometry, rectangle, ellipse, line, polyline,
        points.
    parent : str or None
        UUID of the parent object; None directly under the root.
    index : int
        Place among the image's annotations, depth first in QuPath's order. It is what tells
        outlines apart: copies and repeated imports of an outline have its UUID.
    odd : str
        What of its region cannot be used, such as a corner that is no number; such an annotation
        has no geometry and is left alone. Empty for others.
    """

    id: str
    class_name: str | None
    name: str | None
    geometry: BaseGeometry | None
    roi: str
    locked: bool = False
    z: int = 0
    t: int = 0
    c: int = -1
    parent: str | None = None
    measurements: Mapping[str, float] = field(default_factory=dict)
    index: int = 0
    odd: str = ""


@dataclass(frozen=True)
class TileObjects:
    """Rectangular tiles of one annotation, as columns.

    Attributes
    ----------
    bounds : (n, 4) float64
        x, y, width, height in level-0 px.
    class_names : sequence of str, length n
        QuPath class of each tile.
    measurements : mapping of str to (n,) float64
        NaN where a tile has no value: the measurement is then absent from that tile.
    """

    bounds: NDArray[np.float64]
    class_names: Sequence[str]
    measurements: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.bounds)

    def measured(self, name: str) -> NDArray[np.float64]:
        """(n,) values of a measurement, NaN where a tile has none."""
        values = self.measurements.get(name)
        return np.full(len(self), np.nan) if values is None else np.asarray(values, np.float64)

    def rows(self, chosen: NDArray[np.bool_]) -> TileObjects:
        """Those of the tiles that are chosen."""
        return TileObjects(
            self.bounds[chosen],
            [name for name, one in zip(self.class_names, chosen, strict=True) if one],
            {name: values[chosen] for name, values in self.measurements.items()},
        )


@dataclass(frozen=True)
class WorkflowStep:
    """A step of the image's history that reproduces the run."""

    name: str
    script: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageResults:
    """All that one run writes into one image, or all that is found of it there.

    Writing replaces every earlier result of ours in the image, and nothing else.

    Attributes
    ----------
    annotations : mapping of int to mapping of str to float
        :attr:`Annotation.index` to the annotation's measurements.
    tiles : mapping of int to TileObjects
        :attr:`Annotation.index` to the annotation's tiles.
    root : mapping of str to float
        Measurements of the root object.
    metadata : mapping of str to str
        Metadata of the project entry.
    step : WorkflowStep or None
    """

    annotations: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    tiles: Mapping[int, TileObjects] = field(default_factory=dict)
    root: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    step: WorkflowStep | None = None

    def __bool__(self) -> bool:
        return bool(self.annotations or self.tiles or self.root or self.metadata or self.step)


@dataclass(frozen=True)
class ImageState:
    """What an image holds now.

    Attributes
    ----------
    image_type : str
        QuPath's constant: ``BRIGHTFIELD_H_E``, ``UNSET``, ``FLUORESCENCE`` and others.
    annotations : list of Annotation
        Depth first, in QuPath's order.
    object_count : int
        All objects that are not ours, annotations and root excluded.
    results : ImageResults
        Ours; empty where the image was never scored.
    stamp : str
        Fingerprint of the data file at reading; :meth:`Project.write` refuses when it changed.
        The empty string stands for no data file.
    read_only : str
        Why the data file is never written; empty where it may be.
    notes : tuple of str
        What a careful user wants to know of it: one line each.
    """

    entry: ImageEntry
    image_type: str
    annotations: list[Annotation]
    object_count: int
    results: ImageResults
    stamp: str
    read_only: str = ""
    notes: tuple[str, ...] = ()
