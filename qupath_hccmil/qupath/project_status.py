"""Content and state of a project, for ``project info`` and ``project check``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qupath_hccmil.errors import HccMilError
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_folders import without_image
from qupath_hccmil.qupath.data_types import ImageEntry
from qupath_hccmil.qupath.project_folder import Project
from qupath_hccmil.qupath.slide_location import locate_slide
from qupath_hccmil.qupath.staleness import (
    incomplete,
    is_scored,
    is_stale,
    list_differs,
    outline_changes,
    recorded,
)


@dataclass(frozen=True)
class ImageStatus:
    """The status of one image.

    Attributes
    ----------
    id : str
        The entry ID in the project.
    slide : Path or None
        Current path of its slide.
    classes : dict of str to int
        Number of annotations by class.
    objects : int
        Number of objects that are neither annotations nor ours.
    scored : bool
    stale : bool
        Whether a tumour outline was edited, added or deleted since it was scored.
    precision : str or None
        What the nuclei network ran in: ``f32`` or ``bf16``; None where it was not recorded.
    edited, added : list of str
        Names of these outlines, or their UUIDs; empty if the record has no outlines.
    deleted : int
        Number of scored outlines that no longer exist.
    problems : list of str
        One line each; empty for a sound image.
    notes : list of str
        Notes for the user that are not problems, one line each.
    """

    id: str
    name: str
    slide: Path | None = None
    image_type: str | None = None
    classes: dict[str, int] = field(default_factory=dict)
    objects: int = 0
    scored: bool = False
    stale: bool = False
    edited: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    deleted: int = 0
    tiles: int = 0
    risk: float | None = None
    group: str | None = None
    model: str | None = None
    surrogate: bool = False
    precision: str | None = None
    time: str | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def project_notes(project: Project) -> list[str]:
    """Notes for the user on the project as a whole that are not problems."""
    return without_image(project.path, project.images)


def image_statuses(
    project: Project,
    entries: Sequence[ImageEntry],
    *,
    classes: Sequence[str] = (),
    slides: Path | None = None,
) -> Iterator[ImageStatus]:
    """Yield the status of some images of a project, in order; problems are reported, not raised."""
    for entry in entries:
        yield _status(project, entry, classes, slides)


def _status(
    project: Project, entry: ImageEntry, classes: Sequence[str], slides: Path | None
) -> ImageStatus:
    if entry.problem:
        return ImageStatus(entry.id, entry.name, problems=[f"{entry.name}: {entry.problem}"])
    problems: list[str] = []
    slide = None
    try:
        slide = locate_slide(entry, project.path, project.previous_uri, slides)
    except HccMilError as error:
        problems.append(str(error))
    try:
        state = project.read(entry)
    except HccMilError as error:
        return ImageStatus(entry.id, entry.name, slide, problems=[*problems, str(error)])
    if state.read_only:
        problems.append(f"{entry.name}: {state.read_only}")
    record = recorded(state)
    if list_differs(state):
        problems.append(
            f"{entry.name}: the project's list differs from the image, as happens when QuPath was "
            "open while it was scored; the image is right, and the next `score --resume` repairs "
            "the list"
        )
    problems += [
        f"{entry.name}: {each.label}: only {each.found} of {each.recorded} tiles of the last run "
        "are left (cell detection removes tiles, and a tile with another class is yours); score "
        "--resume scores the outline again"
        for each in incomplete(state)
    ]
    labels = {each.index: each.name or each.id for each in state.annotations}
    changes = outline_changes(state, classes)
    counts = Counter(annotation.class_name or "unclassified" for annotation in state.annotations)
    return ImageStatus(
        id=entry.id,
        name=entry.name,
        slide=slide,
        image_type=state.image_type,
        classes=dict(sorted(counts.items())),
        objects=state.object_count,
        scored=is_scored(state),
        stale=is_stale(state, classes),
        edited=[labels[key] for key in changes.edited] if changes else [],
        added=[labels[key] for key in changes.added] if changes else [],
        deleted=len(changes.deleted) if changes else 0,
        tiles=sum(len(tiles) for tiles in state.results.tiles.values()),
        risk=state.results.root.get(names.SLIDE_RISK),
        group=None if record is None else record.group,
        model=None if record is None else record.model,
        surrogate=False if record is None else record.surrogate,
        precision=None if record is None else record.settings.get("precision"),
        time=None if record is None else record.time,
        problems=problems,
        notes=[f"{entry.name}: {note}" for note in state.notes],
    )
