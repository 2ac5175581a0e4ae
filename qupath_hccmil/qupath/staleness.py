"""Whether results belong to the present outlines, and whether they are complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qupath_hccmil.errors import AnnotationError
from qupath_hccmil.qupath.data_types import Annotation, ImageState
from qupath_hccmil.qupath.fingerprint import annotation_fingerprint, outline_fingerprint
from qupath_hccmil.qupath.outline_matching import Outline, match_outlines
from qupath_hccmil.qupath.run_record import OutlineRecord, RunRecord, listed_metadata
from qupath_hccmil.qupath.selection import TUMOUR_CLASSES, tumour_annotations


@dataclass(frozen=True)
class OutlineChanges:
    """How the outlines changed since they were scored.

    Attributes
    ----------
    edited, added : tuple of int
        :attr:`Annotation.index`; edited ones have another shape or class.
    deleted : tuple of OutlineRecord
        Or no longer of a tumour class.
    unchanged : dict of int to OutlineRecord
        :attr:`Annotation.index` to what was recorded of the outline, for those that are as they
        were.
    """

    edited: tuple[int, ...]
    added: tuple[int, ...]
    deleted: tuple[OutlineRecord, ...]
    unchanged: dict[int, OutlineRecord]


def recorded(state: ImageState) -> RunRecord | None:
    """Record of the run that made the results in an image; None if there is none."""
    return RunRecord.of_step(state.results.step)


def is_scored(state: ImageState) -> bool:
    """Whether the image's data have results of ours."""
    return bool(state.results.root or state.results.step)


def is_stale(state: ImageState, classes: Sequence[str] = ()) -> bool:
    """Whether an image must be scored again; False if it was never scored.

    Parameters
    ----------
    state : ImageState
    classes : sequence of str
        Classes of tumour outlines; empty takes those that the run looked for.

    Returns
    -------
    bool
        True if the tumour outlines are no longer those that were scored, if results are missing, or
        if the image was scored by a version of this program without records.
    """
    record = recorded(state)
    if record is None:
        return is_scored(state)
    outlines = outlines_of(state, classes or record.annotation_classes)
    return annotation_fingerprint(outlines) != record.fingerprint or bool(incomplete(state))


def outline_changes(state: ImageState, classes: Sequence[str] = ()) -> OutlineChanges | None:
    """Which outlines were edited, added or deleted since they were scored.

    Parameters
    ----------
    state : ImageState
    classes : sequence of str
        Classes of tumour outlines; empty takes those that the run looked for.

    Returns
    -------
    OutlineChanges or None
        None if there is no record of a run.
    """
    record = recorded(state)
    if record is None:
        return None
    present = outlines_of(state, classes or record.annotation_classes)
    match = match_outlines(
        [Outline(each.id, each.fingerprint) for each in record.outlines],
        [Outline(each.id, outline_fingerprint(each)) for each in present],
    )
    return OutlineChanges(
        edited=tuple(present[now].index for now in match.edited),
        added=tuple(present[now].index for now in match.added),
        deleted=tuple(record.outlines[then] for then in match.deleted),
        unchanged={
            present[now].index: record.outlines[then] for now, then in match.unchanged.items()
        },
    )


@dataclass(frozen=True)
class Incomplete:
    """Results of an outline that are incomplete, or not as they were written.

    Attributes
    ----------
    label : str
        Name of the outline, or its UUID.
    recorded : int
        Number of tiles that the run wrote.
    found : int
        Number of these tiles that are still in the image.
    """

    label: str
    recorded: int
    found: int


def incomplete(state: ImageState) -> list[Incomplete]:
    """Find outlines that are unchanged since they were scored but have incomplete results.

    QuPath's *Cell detection* removes the objects in an outline, and a tile whose class somebody
    changed is no longer ours.
    """
    changes = outline_changes(state)
    if changes is None:
        return []
    labels = {each.index: each.name or each.id for each in state.annotations}
    found = []
    for index, outline in changes.unchanged.items():
        tiles = len(state.results.tiles.get(index, ()))
        measured = index in state.results.annotations
        if tiles != outline.tiles or measured != (outline.tiles + outline.left > 0):
            found.append(Incomplete(labels[index], outline.tiles, tiles))
    return found


def list_differs(state: ImageState) -> bool:
    """Whether the project's list differs from the image's data, which are right.

    This happens if a QuPath that was open saved its own list after a run of ours.
    """
    record = recorded(state)
    return dict(state.results.metadata) != ({} if record is None else listed_metadata(record))


def outlines_of(state: ImageState, classes: Sequence[str] = TUMOUR_CLASSES) -> list[Annotation]:
    """Tumour outlines; an empty list if there are none."""
    try:
        return tumour_annotations(state, classes)
    except AnnotationError:
        return []
