"""Data types that both engines share: plain dataclasses without QuPath or Java.

Coordinates are level-0 pixels of QuPath's server with y down, as QuPath shows them.
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
    """A server that wraps another one.

    Attributes
    ----------
    kind : str
        QuPath's ``builderType``: ``cropped``, ``rotated``, ``flipped``, ``pyramidize`` and others,
        together with its arguments if they are not understood.
    region : (x, y, width, height) of int or None
        For a crop: the region in level-0 px of the inner server.
    degrees : int
        For a rotation: clockwise angle.
    flip : str
        For a flip: ``HORIZONTAL``, ``VERTICAL`` or ``BOTH``.
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
        µm; None if the image is not calibrated.
    size_z, size_t : int
        Number of planes.
    views : tuple of ServerView
        Servers that wrap it, innermost first; `width` to `pixel_height` belong to the outermost.
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
        A number, which is also the name of its data folder. If the ID itself is the `problem`, it
        is ``?`` and the position in the list.
    name : str
    server : Server
    metadata : mapping of str to str
    problem : str
        Why the image cannot be used, if its entry in the project's list is damaged; otherwise
        empty.
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
        In level-0 px; None if the object has no ROI, or an odd one. A polygon is as it was drawn
        and may cross itself; :func:`~qupath_hccmil.slides.inside_outline.outline_area` handles
        this.
    roi : str
        QuPath's ROI type, lower case: polygon, geometry, rectangle, ellipse, line, polyline,
        points.
    parent : str or None
        UUID of the parent object; None directly under the root.
    index : int
        Number among the image's annotations, depth first in QuPath's order. It identifies an
        outline, since copies and repeated imports of an outline share its UUID.
    odd : str
        Why its region cannot be used, such as a corner that is not a number; such an annotation has
        no geometry and is never changed. Otherwise empty.
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
        NaN if a tile has no value; the tile then lacks the measurement.
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
        """Return the chosen tiles."""
        return TileObjects(
            self.bounds[chosen],
            [name for name, one in zip(self.class_names, chosen, strict=True) if one],
            {name: values[chosen] for name, values in self.measurements.items()},
        )


@dataclass(frozen=True)
class WorkflowStep:
    """A step in the image's history that reproduces the run."""

    name: str
    script: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageResults:
    """All results that one run writes into an image, or that are found in it.

    Writing replaces all our earlier results in the image, and nothing else.

    Attributes
    ----------
    annotations : mapping of int to mapping of str to float
        For each :attr:`Annotation.index`, the measurements of the annotation.
    tiles : mapping of int to TileObjects
        For each :attr:`Annotation.index`, the tiles of the annotation.
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
    """The present content of an image.

    Attributes
    ----------
    image_type : str
        QuPath's constant: ``BRIGHTFIELD_H_E``, ``UNSET``, ``FLUORESCENCE`` and others.
    annotations : list of Annotation
        Depth first, in QuPath's order.
    object_count : int
        Number of objects that are not ours, without annotations and root.
    results : ImageResults
        Our results; empty if the image was never scored.
    stamp : str
        Fingerprint of the data file when it was read; :meth:`Project.write` refuses to write if it
        has changed. Empty if there is no data file.
    read_only : str
        Why the data file is never written; empty if it may be written.
    notes : tuple of str
        Notes for the user, one line each.
    """

    entry: ImageEntry
    image_type: str
    annotations: list[Annotation]
    object_count: int
    results: ImageResults
    stamp: str
    read_only: str = ""
    notes: tuple[str, ...] = ()
