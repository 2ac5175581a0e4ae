"""Take results from a folder into the project: one writer, by the transaction that ``score`` uses.

An image gets a result only if it is of this very image: of its slide, and of its outlines as they
are now. Others are named and left. What an image holds already is not written again, so a commit
that was killed is completed by the same command. Only the project's list is repaired then, from
which a QuPath that was open meanwhile removes our values when it saves.

The images are read, decided on and prepared in other processes where there are many
(:mod:`~qupath_hccmil.results.commit_workers`), which write new files next to the old ones. The
transaction that puts them in place, with backups and the project's list, is done here alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qupath_hccmil.errors import HccMilError, one_line
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.data_types import ImageEntry
from qupath_hccmil.qupath.project_folder import Project
from qupath_hccmil.qupath.selection import choose_images, labels
from qupath_hccmil.qupath.writing.durable_files import there
from qupath_hccmil.qupath.writing.transaction import Prepared
from qupath_hccmil.results.commit_image import (
    CommitOptions,
    CommitOutcome,
    ImageTask,
    Visited,
    failed,
    visit,
)
from qupath_hccmil.results.commit_workers import Visitors, WorkersError, chosen_workers
from qupath_hccmil.results.results_folder import ResultsIndex

__all__ = ["GROUP_IMAGES", "CommitOptions", "CommitOutcome", "commit_results"]

# The project's list is written once for a group of images.
GROUP_IMAGES = 512


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
    WorkersError
        A process that prepares images was killed; the images of which nothing was yielded are as
        they were.
    """
    options = CommitOptions() if options is None else options
    index = ResultsIndex(folder)
    chosen = choose_images(project, options.images)
    if not options.dry_run:
        project.begin(options.wait)
    called = labels(project.images)
    found = {entry.id: tuple(index.files_of(entry)) for entry in chosen}
    workers = chosen_workers(options.workers, sum(map(bool, found.values())), project.engine)
    with Visitors(workers, project.open_file, options) as visitors:
        group = _Group(project, visitors, options)
        for entry in chosen:
            group.add(entry, called[entry.id], found[entry.id])
            if group.full:
                yield from group.write()
        yield from group.write()


@dataclass
class _Group:
    """Images that are written together, and those between them, in the project's order.

    Attributes
    ----------
    outcomes : dict of str to CommitOutcome or None
        By the ID of the image; None where it is not known yet.
    """

    project: Project
    visitors: Visitors
    options: CommitOptions
    outcomes: dict[str, CommitOutcome | None] = field(default_factory=dict)
    tasks: list[ImageTask] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.outcomes) >= GROUP_IMAGES

    def add(self, entry: ImageEntry, name: str, results: tuple[Path, ...]) -> None:
        if not results:
            self.outcomes[entry.id] = CommitOutcome(name, entry.id, "no result")
            return
        try:
            files = self.project.files_of(entry)
        except HccMilError as error:
            outcome = CommitOutcome(name, entry.id, "failed", reason=one_line(error))
            self.outcomes[entry.id] = outcome
            return
        task = ImageTask(files, name, results)
        if there(files.data):
            self.outcomes[entry.id] = None
            self.tasks.append(task)
        else:
            # its folder, where new files would be written, may be missing too
            self.outcomes[entry.id] = visit(task, (), self.project.open_file, self.options).outcome

    def write(self) -> Iterator[CommitOutcome]:
        """Write the group, and begin another; an image that can't be written costs only itself."""
        outcomes, self.outcomes = self.outcomes, {}
        tasks, self.tasks = self.tasks, []
        if tasks:
            found = self._seen(tasks) if self.options.dry_run else self._write(tasks)
            outcomes |= {outcome.image_id: outcome for outcome in found}
        for outcome in outcomes.values():
            assert outcome is not None, "every task has an outcome"
            yield outcome

    def _seen(self, tasks: Sequence[ImageTask]) -> list[CommitOutcome]:
        """What would come of images."""
        nowhere: list[Sequence[Path]] = [()] * len(tasks)
        with contextlib.closing(self.visitors.visit(tasks, nowhere)) as visited:
            return [each.outcome for each in visited]

    def _write(self, tasks: Sequence[ImageTask]) -> list[CommitOutcome]:
        """Write images.

        Of images that can't be written together, each half is tried, since every try writes the
        project's list.
        """
        visited: list[Visited] = []

        def prepare(besides: Sequence[Sequence[Path]]) -> Generator[Prepared, None, None]:
            with contextlib.closing(self.visitors.visit(tasks, besides)) as found:
                for each in found:
                    visited.append(each)
                    yield each.prepared

        try:
            files = [task.files for task in tasks]
            self.project.write_prepared(files, prepare, names.CLASS_COLOURS)
            return [each.outcome for each in visited]
        except WorkersError:
            raise
        except HccMilError as error:
            if len(tasks) == 1:
                return [failed(tasks[0], error)]
        half = len(tasks) // 2
        return self._write(tasks[:half]) + self._write(tasks[half:])
