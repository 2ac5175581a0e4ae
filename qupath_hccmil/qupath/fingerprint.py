"""A fingerprint of tumour outlines, to notice that they were edited since they were scored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import shapely

from qupath_hccmil.qupath.data_types import Annotation

# Both engines read outlines alike to this many decimals of a level-0 px; an edit moves them more.
_DECIMALS = 1


def annotation_fingerprint(annotations: Iterable[Annotation]) -> str:
    """SHA-256 over the id, class and outline of annotations, in any order.

    An ellipse counts by its bounds: its polygon is an approximation that may differ by engine.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    lines = sorted(_line(annotation) for annotation in annotations)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def outline_fingerprints(annotations: Iterable[Annotation]) -> dict[str, str]:
    """Fingerprint of each outline by itself: annotation UUID to 16 hexadecimal digits.

    They tell which outline was edited; :func:`annotation_fingerprint` tells that any was.
    """
    return {
        annotation.id: hashlib.sha256(_line(annotation).encode()).hexdigest()[:16]
        for annotation in annotations
    }


def _line(annotation: Annotation) -> str:
    geometry = annotation.geometry
    outline = "none"
    if geometry is not None:
        shape = shapely.envelope(geometry) if annotation.roi == "ellipse" else geometry
        # Where a ring starts and which way it runs carries no meaning.
        outline = shapely.to_wkt(shapely.normalize(shape), rounding_precision=_DECIMALS)
    return "\t".join((annotation.id, annotation.class_name or "", annotation.roi, outline))
