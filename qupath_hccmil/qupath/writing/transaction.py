"""One transaction over the files of an image: all of them are changed, or none.

The order ensures that a pathologist who opens QuPath after a crash never sees anything wrong:

1. Every new file is written next to the old one, flushed, read again and compared; the old files
   are copied into the run's backup, flushed and compared. *No file of QuPath has been changed.*
   Other processes may write the new files (:meth:`Transaction.run_prepared`); only this one flushes
   them, reads them once more and does all that follows.
2. The journal says *ready* (:mod:`~qupath_hccmil.qupath.writing.journal`).
3. If the project's list has metadata of an earlier run of ours for the image, they are removed.
   *The image is unchanged; the list has no score.*
4. ``data.qpdata`` is renamed over the old one. **With this one rename the image changes**: its
   outlines, tiles, measurements and history are all in that file. *The image is complete; the list
   has no score.*
5. ``summary.json`` follows, with object counts, which QuPath itself writes after the data and does
   not rely on. Both renames are flushed before the next step.
6. The new metadata are added to the list. *Everything is complete.*

So the list may lack values for a moment but never has wrong ones: results of an earlier run are
never shown together with those of a later one. Our next command, even one that only reads,
completes an interrupted transaction (:mod:`~qupath_hccmil.qupath.writing.crash_recovery`).

From step 3 on, only renames and deletions are left, which need no space on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from qupath_hccmil.errors import ConflictError, WriteError
from qupath_hccmil.held_files import remove, when_free
from qupath_hccmil.qupath.qpproj import with_our_metadata
from qupath_hccmil.qupath.writing.backups import MANIFEST, NEXT_MANIFEST, with_files
from qupath_hccmil.qupath.writing.durable_files import (
    copy_file,
    move,
    path_inside,
    same_rights,
    stamp,
    stamp_bytes,
    stamp_of,
    sync_file,
    sync_folder,
    there,
    write_json,
)
from qupath_hccmil.qupath.writing.journal import UNDO, Journal, ListStep, Phase, Step
from qupath_hccmil.qupath.writing.project_list import (
    ListChange,
    our_metadata,
    settle,
    write_list,
)
from qupath_hccmil.qupath.writing.rollback import discard, put_back

Write = Callable[[Path], None]

# Many flushes one after the other cost hardly more than one.
_FLUSHED_TOGETHER = 64


@dataclass(frozen=True)
class Replacement:
    """One file of a transaction.

    Attributes
    ----------
    path : Path
        Path in the project's folder; the file need not exist.
    write : callable or None
        Writes the whole new file to the given path (in the same folder). None deletes the file.
    expected : str
        :func:`stamp` of the file that the new one was made from; "" if there was none.
    verify : callable or None
        Reads the new file again and raises a `HccMilError` if it is not as intended.
    """

    path: Path
    write: Write | None
    expected: str
    verify: Write | None = None

    @classmethod
    def of_bytes(
        cls, path: Path, content: bytes, expected: str, verify: Write | None = None
    ) -> Replacement:
        """Replace a file by given bytes."""

        def write(beside: Path) -> None:
            beside.write_bytes(content)

        return cls(path, write, expected, verify)


class Stamps(NamedTuple):
    """Stamps of a file before and after it is replaced; "" for no file."""

    before: str
    after: str


@dataclass(frozen=True)
class Prepared:
    """An image whose new files were written next to the old ones, and compared.

    Attributes
    ----------
    stamps : tuple of Stamps
        Of each of its files; empty if none of them changes.
    metadata : mapping of str to str, or None
        Ours for the project's list; None leaves those that are there.
    """

    stamps: tuple[Stamps, ...] = ()
    metadata: Mapping[str, str] | None = None


Prepare = Callable[[Sequence[Sequence[Path]]], Generator[Prepared, None, None]]
"""Is given where the new files of each image are to be written; yields the images in this order.

Nothing is written any more once it has been closed.
"""


class Transaction:
    """Replaces files of a project; see the module for the order.

    Parameters
    ----------
    folder : Path
        The project's folder, with links resolved.
    home : Path
        Folder of the run in the backups.
    manifest : mapping
        Manifest of the run so far.

    Attributes
    ----------
    manifest : mapping
        Manifest of the run, including this transaction when it is done.
    touched : bool
        Whether a file of the project may have changed.
    """

    def __init__(self, folder: Path, home: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.home = home
        self.manifest = manifest
        self.touched = False
        self._journal = Journal(home, [])
        self._seen: dict[str, Signature] = {}
        self._to_sync: dict[Path, None] = {}
        self._merged = False

    def run(self, files: Sequence[Replacement], listed: ListChange | None) -> None:
        """Replace files, and our metadata in the list.

        Raises
        ------
        ConflictError
            A file is no longer the expected one; nothing was changed.
        OSError
            The disk refused. Nothing was changed, unless :attr:`touched` is still set; then the
            next run completes or undoes the transaction.
        """
        self._journal = Journal(
            self.home,
            [self._planned(file.path, file.expected, file.write is None) for file in files],
            None if listed is None else self._planned_list(listed.path),
            _missing_folders([file.path.resolve().parent for file in files], self.folder),
        )

        def prepare() -> ListChange | None:
            self._write_beside([*zip(files, self._journal.steps, strict=True)])
            self._journal.steps = [step for step in self._journal.steps if self._keep_old(step)]
            return listed

        self._run(prepare)

    def run_prepared(
        self, images: Mapping[str, Sequence[Path]], listed: Path, prepare: Prepare
    ) -> None:
        """Replace files of images that are prepared elsewhere, and our metadata in the list.

        Parameters
        ----------
        images : mapping of str to sequence of Path
            For each entry ID, or whatever else, the files that may be replaced.
        listed : Path
            The project's list.
        prepare : callable
            See :data:`Prepare`.

        Raises
        ------
        ConflictError, OSError
            As :meth:`run`.
        WriteError
            A new file is not as it was prepared; nothing was changed.
        """
        planned = [[self._planned(path) for path in files] for files in images.values()]
        folders = [path.resolve().parent for files in images.values() for path in files]
        self._journal = Journal(
            self.home,
            [step for steps in planned for step in steps],
            self._planned_list(listed),
            _missing_folders(folders, self.folder),
        )

        def take() -> ListChange | None:
            besides = [[self._beside(step) for step in steps] for steps in planned]
            metadata = {}
            written: list[Step] = []
            kept: list[Step] = []
            # closed at the first error: nobody must write what is about to be removed
            with contextlib.closing(prepare(besides)) as prepared:
                for image, steps, found in zip(images, planned, prepared, strict=True):
                    written += self._changed(steps, found.stamps)
                    if found.metadata is not None:
                        metadata[image] = found.metadata
                    # the disk is at work while others prepare the next images
                    if len(written) >= _FLUSHED_TOGETHER:
                        kept += self._flushed(written)
                        written = []
            self._journal.steps = kept + self._flushed(written)
            return ListChange(listed, metadata) if metadata else None

        self._run(take)

    def _run(self, prepare: Callable[[], ListChange | None]) -> None:
        """Do a transaction whose new files are prepared by a function, which drops other steps."""
        journal = self._journal
        try:
            self._note_plan()
            listed = prepare()
            images = {step.image for step in journal.steps}
            if journal.listed is not None and (
                listed is None or not self._prepare_list(journal.listed, listed, images)
            ):
                journal.listed = None
            if journal.steps or journal.listed:
                self._commit()
        except BaseException:
            self._undo()
            raise
        self.touched = False
        # The transaction is done; files that cannot be deleted now are deleted later.
        with contextlib.suppress(OSError):
            discard(self.folder, self._journal, self.manifest)

    def _planned(self, given: Path, expected: str = "", deletes: bool = False) -> Step:
        path = path_inside(self.folder, given).relative_to(self.folder)
        _require_writable(self.folder / path)
        return Step(path.as_posix(), _beside(given.name), expected, deletes)

    def _planned_list(self, given: Path) -> ListStep:
        path = path_inside(self.folder, given).relative_to(self.folder)
        _require_writable(self.folder / path)
        return ListStep(path.as_posix(), _beside(path.name), _beside(path.name))

    def _note_plan(self) -> None:
        """Put the journal on the disk, and make the folders that are missing."""
        for folder in (self.home.parent, self.home):
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)
        self._journal.note(Phase.PREPARING)
        for name in self._journal.created:
            (self.folder / name).mkdir(exist_ok=True)
            sync_folder((self.folder / name).parent)

    def _changed(self, steps: Sequence[Step], stamps: Sequence[Stamps]) -> list[Step]:
        """Return the steps of an image that change a file, and remove what the others left."""
        if not stamps:
            for step in steps:
                remove(self._beside(step), missing_ok=True)
            return []
        for step, (before, after) in zip(steps, stamps, strict=True):
            step.before, step.after = before, after
        return list(steps)

    def _flushed(self, steps: Sequence[Step]) -> list[Step]:
        """Flush new files that were prepared, make sure of them, and keep copies of the old ones.

        Raises
        ------
        WriteError
            A file is not as it was prepared.
        """
        for step in steps:
            sync_file(self._beside(step))
        for step in steps:
            target, beside = self.folder / step.path, self._beside(step)
            if there(target):
                same_rights(target, beside)
            if stamp_of(beside) != step.after:
                raise WriteError(
                    f"{target}: could not be read back as it was written; the old file is unchanged"
                )
        return [step for step in steps if self._keep_old(step)]

    def _write_beside(self, planned: Sequence[tuple[Replacement, Step]]) -> None:
        """Write the new files, flush them, and read them again.

        All are written before the first is flushed: many flushes one after the other cost hardly
        more than one.
        """
        written = [(file, step) for file, step in planned if file.write is not None]
        for file, step in written:
            assert file.write is not None
            file.write(self._beside(step))
        for _, step in written:
            sync_file(self._beside(step))
        for file, step in written:
            target, beside = self.folder / step.path, self._beside(step)
            if there(target):
                same_rights(target, beside)
            if file.verify is not None:
                file.verify(beside)
            step.after = stamp_of(beside)

    def _beside(self, step: Step) -> Path:
        return (self.folder / step.path).with_name(step.beside)

    def _keep_old(self, step: Step) -> bool:
        """Copy the file that will be replaced; False if the new file equals the old one."""
        if step.before == step.after:
            self._expect(step)
            remove(self._beside(step), missing_ok=True)
            return False
        if step.before:
            step.old = self._backed_up(step.path, step.before)
        return True

    def _backed_up(self, path: str, before: str) -> str:
        """Keep a copy of a file; returns its path in the run's folder."""
        target = self.folder / path
        known = self.manifest["files"].get(path)
        # Files from before the run are its backup; its own files are kept only for undoing.
        old = path if known is None or known["before"] == before else f"{UNDO}/{path}"
        kept = self.home / old
        if stamp(kept) != before:
            if not there(target) or copy_file(target, kept) != before:
                raise conflict(target)
            self._to_sync[kept.parent] = None
        return old

    def _sync_folders(self) -> None:
        """Flush the renames and new names of many files, each folder once."""
        for folder in self._to_sync:
            sync_folder(folder)
        self._to_sync = {}

    def _prepare_list(self, step: ListStep, change: ListChange, images: set[str]) -> bool:
        """Write the next states of the list next to it; False if it does not change."""
        path = self.folder / step.path
        content = path.read_bytes()
        known = our_metadata(path)
        step.before = stamp_bytes(content)
        step.new_metadata = {entry: dict(ours) for entry, ours in change.metadata.items()}
        step.old_metadata = {entry: known.get(entry, {}) for entry in change.metadata}
        after = change.content
        if after is None or step.before != change.made_from:
            after = with_our_metadata(content, step.new_metadata)
        step.after = stamp_bytes(after)
        if after == content:
            return False
        step.old = self._backed_up(step.path, step.before)
        step.contradicting = [
            entry
            for entry, ours in step.old_metadata.items()
            if ours and ours != step.new_metadata[entry] and f"data/{entry}" in images
        ]
        if step.contradicting:
            without = with_our_metadata(content, {entry: {} for entry in step.contradicting})
            step.interim = stamp_bytes(without)
            write_list(path.with_name(step.interim_beside), without, path)
        write_list(path.with_name(step.after_beside), after, path)
        return True

    def _commit(self) -> None:
        journal, listed = self._journal, self._journal.listed
        self._sync_folders()
        write_json(self.home / NEXT_MANIFEST, self._next_manifest())
        journal.note(Phase.READY)
        # as late as possible, because a viewer may have saved while we wrote
        for step in journal.steps:
            self._expect(step)
        self.touched = True
        if listed is not None and listed.interim:
            without: dict[str, dict[str, str]] = {entry: {} for entry in listed.contradicting}
            self._settle(listed, without, listed.interim_beside, listed.interim)
        for step in journal.steps:
            when_free(partial(self._replace, step))
        # the list must not have scores of images that a power cut would take back
        self._sync_folders()
        if listed is not None:
            listed.after = self._settle(
                listed, listed.new_metadata, listed.after_beside, listed.after
            )
        manifest = self._next_manifest()
        if self._merged:
            write_json(self.home / NEXT_MANIFEST, manifest)
        move(self.home / NEXT_MANIFEST, self.home / MANIFEST)
        self.manifest = manifest

    def _settle(
        self, listed: ListStep, metadata: dict[str, dict[str, str]], beside: str, planned: str
    ) -> str:
        path = self.folder / listed.path
        known = frozenset({listed.before, listed.interim} - {""})
        ended = settle(path, metadata, path.with_name(beside), known, planned)
        self._merged = self._merged or ended != planned
        return ended

    def _replace(self, step: Step) -> None:
        target = self.folder / step.path
        # the content was compared a moment ago; this only checks the folder entry, and does so
        # before each try: what holds the file may be QuPath, which is saving it
        if signature(target) != self._seen[step.path]:
            raise conflict(target)
        if not step.deletes:
            os.replace(self._beside(step), target)
        else:
            target.unlink()
        self._to_sync[target.parent] = None

    def _expect(self, step: Step) -> None:
        path = self.folder / step.path
        self._seen[step.path] = signature(path)
        if stamp(path) != step.before:
            raise conflict(path)

    def _next_manifest(self) -> dict[str, Any]:
        journal = self._journal
        replaced = {step.path: (step.before, step.after) for step in journal.steps}
        merged: set[str] = set()
        if journal.listed is not None:
            replaced[journal.listed.path] = (journal.listed.before, journal.listed.after)
            merged = {journal.listed.path} if self._merged else set()
        return with_files(self.manifest, replaced, merged)

    def _undo(self) -> None:
        """Undo the changes; OSError if the disk does not even allow this."""
        if self.touched:
            self._journal.turn_back()
            put_back(self.folder, self._journal)
            self.touched = False
        # files that cannot be deleted now are deleted by the next run
        with contextlib.suppress(OSError):
            self._journal.turn_back()
            if self.manifest["files"]:
                # the new manifest may already have been in place
                write_json(self.home / MANIFEST, self.manifest)
            discard(self.folder, self._journal, self.manifest)


Signature = tuple[int, int, int, int] | None


def signature(path: Path) -> Signature:
    """Values that change when a file is replaced or written; None if there is no file."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    return there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns


def conflict(path: Path) -> ConflictError:
    """Make the error for a file that is no longer the one that was read."""
    return ConflictError(
        f"{path}: was changed by another program since it was read (is QuPath open?); "
        "nothing was written: close it and run again"
    )


def _beside(name: str) -> str:
    return f".{name}.{uuid.uuid4().hex[:8]}.hccmil-tmp"


def _require_writable(path: Path) -> None:
    # a rename would replace a file that its owner has write-protected
    effective = os.access in os.supports_effective_ids
    if there(path) and not os.access(path, os.W_OK, effective_ids=effective):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _missing_folders(folders: Sequence[Path], top: Path) -> list[str]:
    """Folders that must be created in a project, parents first."""
    missing = {
        each
        for folder in folders
        for each in (folder, *folder.parents)
        if top in each.parents and not there(each)
    }
    ordered = sorted(missing, key=lambda each: len(each.parts))
    return [each.relative_to(top).as_posix() for each in ordered]
