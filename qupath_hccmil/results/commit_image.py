"""One image of a commit: which result it gets, and its new files next to the old ones.

The image's data are read once: what is decided on is what is replaced. Nothing here needs the
project's list or lock, so other processes do it for the one that writes the project.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from qupath_hccmil.errors import DataError, HccMilError, one_line
from qupath_hccmil.qupath.data_types import ImageState
from qupath_hccmil.qupath.image_data import Image, ImageFiles, OpenFile
from qupath_hccmil.qupath.run_record import listed_metadata
from qupath_hccmil.qupath.staleness import incomplete, list_differs, recorded
from qupath_hccmil.qupath.writing.transaction import Prepared
from qupath_hccmil.results.fit import (
    in_terms_of,
    one_of,
    same_run,
    why_not_of_image,
    why_not_of_outlines,
)
from qupath_hccmil.results.result_file import ResultHead, read_head, read_results

_log = logging.getLogger(__name__)

Status = Literal["taken", "would be taken", "up to date", "left", "no result", "failed"]


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
    workers : int or None
        Processes that prepare images; 1 is this one. None chooses by the cores and the number of
        images. More than one start by `spawn`, so a script needs ``if __name__ == "__main__":``.
    """

    images: tuple[str, ...] = ()
    model: str = ""
    force: bool = False
    dry_run: bool = False
    wait: float = 0.0
    workers: int | None = 1


@dataclass(frozen=True)
class ImageTask:
    """An image of which a folder has results.

    Attributes
    ----------
    files : ImageFiles
    name : str
        What to call the image.
    results : tuple of Path
        Files whose name says that they are of the image.
    """

    files: ImageFiles
    name: str
    results: tuple[Path, ...]


@dataclass(frozen=True)
class Visited:
    """What came of an image if its new files, where there are any, are put in place."""

    outcome: CommitOutcome
    prepared: Prepared = field(default=Prepared())


class LeftError(HccMilError):
    """A result is not taken; the message says why."""


def visit(
    task: ImageTask, besides: Sequence[Path], open_file: OpenFile, options: CommitOptions
) -> Visited:
    """Find the result that an image gets, and write its new files next to the old ones.

    Parameters
    ----------
    task : ImageTask
    besides : sequence of Path
        Where the new files are written; nothing is written in a dry run.
    open_file : callable
        How the project's engine reads a data file.
    options : CommitOptions

    Returns
    -------
    Visited
        Whatever is wrong with the image or its results is in the outcome.

    Raises
    ------
    OSError
        The disk refuses the new files.
    """
    name, identity = task.name, task.files.entry.id
    try:
        heads, damaged = _heads(task.results)
        image = Image(task.files, open_file)
        state = image.state
        if state.read_only:
            raise DataError(f"{state.entry.name}: {state.read_only}")
        head = _fitting(heads, damaged, state, options)
        facts = (head.record.risk, head.record.group, head.record.tiles)
        if _is_there(head, state):
            outcome = CommitOutcome(name, identity, "up to date", *facts)
            return Visited(outcome, Prepared(metadata=_of_list(state)))
        _refuse_older(head, state, options)
        if options.dry_run:
            return Visited(CommitOutcome(name, identity, "would be taken", *facts))
        results = in_terms_of(read_results(head), head, state)
        stamps = image.write_beside(results, besides)
        outcome = CommitOutcome(name, identity, "taken", *facts)
        return Visited(outcome, Prepared(stamps, results.metadata))
    except LeftError as left:
        return Visited(CommitOutcome(name, identity, "left", reason=str(left)))
    except OSError:
        # of the disk, which is for all images; what cannot be read is an error of ours
        raise
    except Exception as error:
        # whatever it is: the other images are done
        return Visited(failed(task, error))


def failed(task: ImageTask, error: Exception) -> CommitOutcome:
    """What came of an image of which something is wrong."""
    _log.debug("%s", task.files.entry.name, exc_info=error)
    identity = task.files.entry.id
    return CommitOutcome(task.name, identity, "failed", reason=one_line(error))


def _heads(results: Sequence[Path]) -> tuple[list[ResultHead], list[str]]:
    """Results whose name is that of an image's, and what is wrong with those that are damaged."""
    heads, damaged = [], []
    for path in results:
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
