"""Whether tumour outlines are still those that were scored."""

from __future__ import annotations

from collections.abc import Sequence

from qupath_hccmil.errors import AnnotationError
from qupath_hccmil.project import names
from qupath_hccmil.project.fingerprint import annotation_fingerprint
from qupath_hccmil.project.model import ImageState
from qupath_hccmil.project.selection import TUMOUR_CLASSES, tumour_annotations


def is_stale(state: ImageState, classes: Sequence[str] = TUMOUR_CLASSES) -> bool:
    """Whether the tumour outlines are no longer those that were scored; False if never scored."""
    stored = state.results.metadata.get(names.META_FINGERPRINT)
    if stored is None:
        return False
    try:
        return annotation_fingerprint(tumour_annotations(state, classes)) != stored
    except AnnotationError:
        return True
