"""A fingerprint of tumour outlines, to notice that they were edited since they were scored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import shapely

from qupath_hccmil.qupath.data_types import Annotation

# Both engines read outlines alike, to the hundredth of a level-0 px that QuPath keeps.
_DECIMALS = 2


def annotation_fingerprint(annotations: Iterable[Annotation]) -> str:
    """SHA-256 over the UUID, class and outline of annotations, in any order; copies count each.

    An ellipse counts by its bounds: its polygon is an approximation that may differ by engine.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    lines = sorted(f"{each.id}\t{_line(each)}" for each in annotations)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def outline_fingerprint(annotation: Annotation) -> str:
    """Fingerprint of one outline, 16 hexadecimal digits: of its class and shape, not its UUID.

    It tells which outline was edited; :func:`annotation_fingerprint` tells that any was.
    """
    return hashlib.sha256(_line(annotation).encode()).hexdigest()[:16]


def _line(annotation: Annotation) -> str:
    geometry = annotation.geometry
    outline = "none"
    if geometry is not None:
        shape = shapely.envelope(geometry) if annotation.roi == "ellipse" else geometry
        # Where a ring starts and which way it runs carries no meaning.
        outline = shapely.to_wkt(shapely.normalize(shape), rounding_precision=_DECIMALS)
    return "\t".join((annotation.class_name or "", annotation.roi, outline))
