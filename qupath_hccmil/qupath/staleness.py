"""Whether tumour outlines are still those that were scored, and which are not."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from qupath_hccmil.errors import AnnotationError
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import Annotation, ImageState
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint, outline_fingerprints
from qupath_hccmil.qupath.selection import TUMOUR_CLASSES, tumour_annotations


@dataclass(frozen=True)
class ScoredOutline:
    """What a run of ours noted of an outline.

    Attributes
    ----------
    fingerprint : str
        Of :func:`~qupath_hccmil.qupath.fingerprint.outline_fingerprints`.
    background, blurred : int
        Its tiles that were left out for that reason.
    """

    fingerprint: str
    background: int
    blurred: int


@dataclass(frozen=True)
class OutlineChanges:
    """What became of the outlines since they were scored, by UUID.

    Attributes
    ----------
    edited : tuple of str
        In another shape or class.
    added : tuple of str
    deleted : tuple of str
        Or no longer of a tumour class.
    kept : tuple of str
        As they were.
    """

    edited: tuple[str, ...]
    added: tuple[str, ...]
    deleted: tuple[str, ...]
    kept: tuple[str, ...]


def is_stale(state: ImageState, classes: Sequence[str] = TUMOUR_CLASSES) -> bool:
    """Whether the tumour outlines are no longer those that were scored; False if never scored."""
    stored = state.results.metadata.get(names.META_FINGERPRINT)
    if stored is None:
        return False
    return annotation_fingerprint(_outlines(state, classes)) != stored


def outline_changes(
    state: ImageState, classes: Sequence[str] = TUMOUR_CLASSES
) -> OutlineChanges | None:
    """Which outlines were edited, added or deleted since they were scored.

    Returns
    -------
    OutlineChanges or None
        None where the image was never scored, or nothing was noted of its outlines.
    """
    then = scored_outlines(state)
    if not then:
        return None
    now = outline_fingerprints(_outlines(state, classes))
    return OutlineChanges(
        edited=tuple(key for key in now if key in then and then[key].fingerprint != now[key]),
        added=tuple(key for key in now if key not in then),
        deleted=tuple(key for key in then if key not in now),
        kept=tuple(key for key in now if key in then and then[key].fingerprint == now[key]),
    )


def scored_outlines(state: ImageState) -> dict[str, ScoredOutline]:
    """Outlines that the run looked at whose results are in the image; empty where it says none."""
    step = state.results.step
    try:
        noted = json.loads(step.parameters[names.STEP_OUTLINES]) if step else {}
        return {str(key): ScoredOutline(str(a), int(b), int(c)) for key, (a, b, c) in noted.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def contradicts_itself(state: ImageState) -> bool:
    """Whether the project's list tells another score than the image's data.

    It comes about where a QuPath that was open saved one of them after us.
    """
    listed = state.results.metadata.get(names.META_RISK)
    shown = state.results.root.get(names.SLIDE_RISK)
    if listed is None or shown is None:
        return listed is not shown
    try:
        return not math.isclose(float(listed), shown, rel_tol=1e-6)
    except ValueError:
        return True


def _outlines(state: ImageState, classes: Sequence[str]) -> list[Annotation]:
    try:
        return tumour_annotations(state, classes)
    except AnnotationError:
        return []
