"""Take results from a folder into the project: one writer, by the transaction that ``score`` uses.

An image gets a result only if it is of this very image: of its slide, and of its outlines as they
are now. Others are named and left. What an image holds already is not written again, so a commit
that was killed is completed by the same command. Only the project's list is repaired then, from
which a QuPath that was open meanwhile removes our values when it saves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from qupath_hccmil.errors import DataError, HccMilError, one_line
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import ImageEntry, ImageState
from qupath_hccmil.qupath.project_folder import ImageChange, Project
from qupath_hccmil.qupath.run_record import listed_metadata
from qupath_hccmil.qupath.selection import choose_images, labels
from qupath_hccmil.qupath.staleness import incomplete, list_differs, recorded
from qupath_hccmil.results.fit import (
    in_terms_of,
    one_of,
    same_run,
    why_not_of_image,
    why_not_of_outlines,
)
from qupath_hccmil.results.result_file import ResultHead, read_head, read_results
from qupath_hccmil.results.results_folder import ResultsIndex

_log = logging.getLogger(__name__)

Status = Literal["taken", "would be taken", "up to date", "left", "no result", "failed"]

# The project's list is written once for a group of images. Their results are held in memory, so a
# group ends at this number of images, or at about this number of bytes.
GROUP_IMAGES = 512
GROUP_BYTES = 256 << 20
_TILE_BYTES = 100


@dataclass(frozen=True)
class CommitOutcome:
    """What became of one image.

    Attributes
    ----------
    tiles : int
        Of the result, each once.
    reason : str
        Why a result was left, or what failed.
    """

    image: str
    image_id: str
    status: Status
    risk: float | None = None
    group: str | None = None
    tiles: int = 0
    reason: str = ""


@dataclass(frozen=True)
class CommitOptions:
    """Which results are taken.

    Attributes
    ----------
    images : tuple of str
        Names or glob patterns; empty takes all.
    model : str
        Identity of the risk model; empty takes that of the results.
    force : bool
        Also where the image was scored later than the result.
    dry_run : bool
        Write nothing.
    wait : float
        Seconds to wait for another run that writes the project.
    """

    images: tuple[str, ...] = ()
    model: str = ""
    force: bool = False
    dry_run: bool = False
    wait: float = 0.0


Change = ImageChange | Mapping[str, str] | None
"""What is written of an image: all of its result, only our values in the list, or nothing."""


class LeftError(HccMilError):
    """A result is not taken; the message says why."""


def commit_results(
    project: Project, folder: Path, options: CommitOptions | None = None
) -> Iterator[CommitOutcome]:
    """Take the results of a project's images from a folder into the project.

    Parameters
    ----------
    project : Project
        Open.
    folder : Path
        That of ``score --results``.
    options : CommitOptions, optional

    Yields
    ------
    CommitOutcome
        One an image, in the project's order. Images whose result is left are as they were.

    Raises
    ------
    DataError
        There is no such folder.
    ProjectError
        No image is chosen.
    WriteError
        Another run is at work on the project, or it cannot be written.
    """
    options = CommitOptions() if options is None else options
    index = ResultsIndex(folder)
    entries = choose_images(project, options.images)
    called = labels(project.images)
    if not options.dry_run:
        project.begin(options.wait)
    group = _Group(project)
    for entry in entries:
        change, outcome = _prepared(project, entry, called[entry.id], index, options)
        group.add(change, outcome)
        if group.full:
            yield from group.write()
    yield from group.write()


def _prepared(
    project: Project, entry: ImageEntry, name: str, index: ResultsIndex, options: CommitOptions
) -> tuple[Change, CommitOutcome]:
    """What is to be written into an image, and what came of it if that is written."""
    try:
        heads, damaged = _heads(index, entry)
        if not heads and not damaged:
            return None, CommitOutcome(name, entry.id, "no result")
        # the image's data are read only where there is something to take
        state = project.read(entry)
        if state.read_only:
            raise DataError(f"{entry.name}: {state.read_only}")
        head = _fitting(heads, damaged, state, options)
        facts = (head.record.risk, head.record.group, head.record.tiles)
        if _is_there(head, state):
            listed = _of_list(state) if not options.dry_run else None
            return listed, CommitOutcome(name, entry.id, "up to date", *facts)
        _refuse_older(head, state, options)
        if options.dry_run:
            return None, CommitOutcome(name, entry.id, "would be taken", *facts)
        results = in_terms_of(read_results(head), head, state)
        change = ImageChange(entry, results, state.stamp)
        return change, CommitOutcome(name, entry.id, "taken", *facts)
    except LeftError as left:
        return None, CommitOutcome(name, entry.id, "left", reason=str(left))
    except Exception as error:
        # whatever it is: the other images are done
        _log.debug("%s", entry.name, exc_info=True)
        return None, CommitOutcome(name, entry.id, "failed", reason=one_line(error))


def _heads(index: ResultsIndex, entry: ImageEntry) -> tuple[list[ResultHead], list[str]]:
    """Results whose name is that of an image's, and what is wrong with those that are damaged."""
    heads, damaged = [], []
    for path in index.files_of(entry):
        try:
            heads.append(read_head(path))
        except DataError as error:
            damaged.append(str(error))
    return heads, damaged


def _fitting(
    heads: list[ResultHead], damaged: list[str], state: ImageState, options: CommitOptions
) -> ResultHead:
    """The one result that is taken.

    Raises
    ------
    LeftError
        None fits, or it is not clear which is meant.
    """
    fitting, reasons = [], list(damaged)
    for head in heads:
        why = why_not_of_image(head, state.entry) or why_not_of_outlines(head, state)
        if not why and options.model and head.depends_on.model != options.model:
            why = f"it is by another model ({head.record.model})"
        if why:
            reasons.append(f"{head.path.name}: {why}")
        else:
            fitting.append(head)
    if not fitting:
        raise LeftError("; ".join(reasons))
    chosen = one_of(fitting)
    if chosen is None:
        found = ", ".join(f"{each.path.name} (model {each.record.model})" for each in fitting)
        raise LeftError(
            f"{len(fitting)} results of different models or settings fit: {found}; choose with "
            "--model, or move the others to another folder"
        )
    return chosen


def _is_there(head: ResultHead, state: ImageState) -> bool:
    """Whether an image holds the result already, and all of it."""
    record = recorded(state)
    return record is not None and same_run(record, head.record) and not incomplete(state)


def _of_list(state: ImageState) -> Mapping[str, str] | None:
    """What the project's list should have of an image; None where it has that."""
    record = recorded(state)
    return listed_metadata(record) if record is not None and list_differs(state) else None


def _refuse_older(head: ResultHead, state: ImageState, options: CommitOptions) -> None:
    record = recorded(state)
    if record is not None and record.time > head.record.time and not options.force:
        raise LeftError(
            f"{head.path.name}: is of {head.record.time}, but the image was scored at "
            f"{record.time}; --force takes it all the same"
        )


@dataclass
class _Group:
    """Images that are written together, and those between them, in the project's order."""

    project: Project
    outcomes: list[tuple[Change, CommitOutcome]] = field(default_factory=list)
    bytes: int = 0
    classes_listed: bool = False

    @property
    def full(self) -> bool:
        return len(self.outcomes) >= GROUP_IMAGES or self.bytes >= GROUP_BYTES

    def add(self, change: Change, outcome: CommitOutcome) -> None:
        self.outcomes.append((change, outcome))
        if isinstance(change, ImageChange):
            self.bytes += outcome.tiles * _TILE_BYTES

    def write(self) -> Iterator[CommitOutcome]:
        """Write the group, and begin another; an image that can't be written costs only itself."""
        outcomes, self.outcomes, self.bytes = self.outcomes, [], 0
        changes = [change for change, _ in outcomes if isinstance(change, ImageChange)]
        listed = {
            outcome.image_id: change for change, outcome in outcomes if isinstance(change, Mapping)
        }
        failed = self._write(changes) if changes else {}
        failed |= self._write_list(listed) if listed else {}
        for _, outcome in outcomes:
            if outcome.image_id in failed:
                yield CommitOutcome(
                    outcome.image, outcome.image_id, "failed", reason=failed[outcome.image_id]
                )
            else:
                yield outcome

    def _write(self, changes: list[ImageChange]) -> dict[str, str]:
        """Write images; returns the IDs of those that can't be, and why.

        Of images that can't be written together, each half is tried, since every try writes the
        project's list.
        """
        self._list_classes()
        try:
            self.project.write_all(changes)
            return {}
        except HccMilError as error:
            if len(changes) == 1:
                return {changes[0].entry.id: one_line(error)}
        half = len(changes) // 2
        return self._write(changes[:half]) | self._write(changes[half:])

    def _write_list(self, listed: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """Repair the project's list; returns the IDs of images of which it can't be, and why."""
        self._list_classes()
        try:
            self.project.write_list(listed)
            return {}
        except HccMilError as error:
            return dict.fromkeys(listed, one_line(error))

    def _list_classes(self) -> None:
        if not self.classes_listed:
            self.project.add_classes(names.CLASS_COLOURS)
            self.classes_listed = True
