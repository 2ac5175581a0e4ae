"""One transaction over the files of an image: all of them, or none.

The order, and why a pathologist who opens QuPath after a crash at any place sees nothing wrong:

1. Every new file is written beside the old one, flushed, read again and compared; the old files
   are copied into the run's backup, flushed and compared. *Nothing that QuPath reads was touched.*
2. The journal says *ready* (:mod:`~qupath_hccmil.qupath.writing.journal`).
3. Where the project's list has metadata of an earlier run of ours for the image, they are taken
   out. *The image is as it was; the list says nothing of a score.*
4. ``data.qpdata`` is renamed over the old one. **This one rename is the moment at which the image
   changes**: its outlines, tiles, measurements and history are all in that file. *The image is
   complete; the list says nothing of a score.*
5. ``summary.json`` follows: object counts, which QuPath itself writes after the data and does not
   trust.
6. The new metadata go into the list. *Complete.*

So the list may for a moment say less than the image shows, but never anything else: what an
earlier run found never stands beside what a later one did. The next command of ours, one that only
reads too, completes what was interrupted (:mod:`~qupath_hccmil.qupath.writing.crash_recovery`).

From step 3 on, only renames and deletions are left, which need no space on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qupath_hccmil.errors import ConflictError
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


@dataclass(frozen=True)
class Replacement:
    """One file of a transaction.

    Attributes
    ----------
    path : Path
        Inside the project's folder; need not exist.
    write : callable or None
        Writes the whole new file to the path it is given (in the same folder). None deletes
        the file.
    expected : str
        :func:`stamp` of the file that the new one was made from; "" where there was none.
    verify : callable or None
        Reads the finished file again and raises a `HccMilError` if it is not what was meant.
    """

    path: Path
    write: Write | None
    expected: str
    verify: Write | None = None

    @classmethod
    def of_bytes(
        cls, path: Path, content: bytes, expected: str, verify: Write | None = None
    ) -> Replacement:
        """Replace with bytes that are already there."""

        def write(beside: Path) -> None:
            beside.write_bytes(content)

        return cls(path, write, expected, verify)


class Transaction:
    """Replaces files of a project; see the module for the order.

    Parameters
    ----------
    folder : Path
        The project's folder, links resolved.
    home : Path
        The run's folder among the backups.
    manifest : mapping
        Of the run so far.

    Attributes
    ----------
    manifest : mapping
        Of the run, with this transaction when it is done.
    touched : bool
        Whether a file of the project may be another than before.
    """

    def __init__(self, folder: Path, home: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.home = home
        self.manifest = manifest
        self.touched = False
        self._journal = Journal(home, [])
        self._seen: dict[str, Signature] = {}
        self._merged = False

    def run(self, files: Sequence[Replacement], listed: ListChange | None) -> None:
        """Replace files, and our metadata in the list.

        Raises
        ------
        ConflictError
            A file is not the expected one any more; nothing was changed.
        OSError
            The disk refused. Nothing was changed, unless :attr:`touched` is still set: then the
            next run completes it or takes it back.
        """
        self._journal = Journal(
            self.home,
            [self._planned(file) for file in files],
            None if listed is None else self._planned_list(listed),
            _missing_folders([file.path.resolve().parent for file in files], self.folder),
        )
        try:
            self._prepare(files, listed)
            if self._journal.steps or self._journal.listed:
                self._commit()
        except BaseException:
            self._undo()
            raise
        self.touched = False
        # it is done; what cannot be deleted now is swept away later
        with contextlib.suppress(OSError):
            discard(self.folder, self._journal, self.manifest)

    def _planned(self, file: Replacement) -> Step:
        path = path_inside(self.folder, file.path).relative_to(self.folder)
        _require_writable(self.folder / path)
        return Step(path.as_posix(), _beside(file.path.name), file.expected, file.write is None)

    def _planned_list(self, change: ListChange) -> ListStep:
        path = path_inside(self.folder, change.path).relative_to(self.folder)
        _require_writable(self.folder / path)
        return ListStep(path.as_posix(), _beside(path.name), _beside(path.name))

    def _prepare(self, files: Sequence[Replacement], listed: ListChange | None) -> None:
        """Write all that is new beside the old, and keep copies of the old."""
        journal = self._journal
        for folder in (self.home.parent, self.home):
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)
        journal.note(Phase.PREPARING)
        for name in journal.created:
            (self.folder / name).mkdir(exist_ok=True)
            sync_folder((self.folder / name).parent)
        for file, step in zip(files, journal.steps, strict=True):
            self._write_beside(file, step)
        steps = [step for step in journal.steps if self._keep_old(step)]
        if journal.listed is not None and listed is not None:
            images = {step.image for step in steps}
            if not self._prepare_list(journal.listed, listed, images):
                journal.listed = None
        journal.steps = steps

    def _write_beside(self, file: Replacement, step: Step) -> None:
        target = self.folder / step.path
        beside = target.with_name(step.beside)
        if file.write is None:
            return
        file.write(beside)
        sync_file(beside)
        if there(target):
            same_rights(target, beside)
        if file.verify is not None:
            file.verify(beside)
        step.after = stamp_of(beside)

    def _keep_old(self, step: Step) -> bool:
        """Copy what will be replaced; False where the new file equals the old one."""
        target = self.folder / step.path
        if step.before == step.after:
            self._expect(step)
            target.with_name(step.beside).unlink(missing_ok=True)
            return False
        if step.before:
            step.old = self._kept(step.path, step.before)
        return True

    def _kept(self, path: str, before: str) -> str:
        """Keep a copy of a file as it is; where in the run's folder."""
        target = self.folder / path
        known = self.manifest["files"].get(path)
        # what the run found is its backup; what it wrote itself is only kept to undo
        old = path if known is None or known["before"] == before else f"{UNDO}/{path}"
        kept = self.home / old
        if stamp(kept) != before:
            if not there(target) or copy_file(target, kept) != before:
                raise conflict(target)
            sync_folder(kept.parent)
        return old

    def _prepare_list(self, step: ListStep, change: ListChange, images: set[str]) -> bool:
        """Write the list's next states beside it; False where it does not change."""
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
        step.old = self._kept(step.path, step.before)
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
        write_json(self.home / NEXT_MANIFEST, self._next_manifest())
        journal.note(Phase.READY)
        # as late as can be: a viewer may have saved while we wrote
        for step in journal.steps:
            self._expect(step)
        self.touched = True
        if listed is not None and listed.interim:
            without: dict[str, dict[str, str]] = {entry: {} for entry in listed.contradicting}
            self._settle(listed, without, listed.interim_beside, listed.interim)
        for step in journal.steps:
            self._replace(step)
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
        # the content was compared a moment ago; this is one look at the folder
        if signature(target) != self._seen[step.path]:
            raise conflict(target)
        if not step.deletes:
            move(target.with_name(step.beside), target)
        else:
            target.unlink()
            sync_folder(target.parent)

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
        """Take back what was done; OSError where the disk does not even allow that."""
        if self.touched:
            self._journal.turn_back()
            put_back(self.folder, self._journal)
            self.touched = False
        # what cannot be deleted now is swept away by the next run
        with contextlib.suppress(OSError):
            self._journal.turn_back()
            if self.manifest["files"]:
                # the new one may have been in place already
                write_json(self.home / MANIFEST, self.manifest)
            discard(self.folder, self._journal, self.manifest)


Signature = tuple[int, int, int, int] | None


def signature(path: Path) -> Signature:
    """What changes when a file is replaced or written; None for no file. Its content isn't read."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    return there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns


def conflict(path: Path) -> ConflictError:
    """A file is no longer the one that was read."""
    return ConflictError(
        f"{path}: was changed by another program since it was read (is QuPath open?); "
        "nothing was written: close it and run again"
    )


def _beside(name: str) -> str:
    return f".{name}.{uuid.uuid4().hex[:8]}.hccmil-tmp"


def _require_writable(path: Path) -> None:
    # a rename would replace a file that its owner has protected
    effective = os.access in os.supports_effective_ids
    if there(path) and not os.access(path, os.W_OK, effective_ids=effective):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def _missing_folders(folders: Sequence[Path], top: Path) -> list[str]:
    """Folders to make in a project, parents first."""
    missing = {
        each
        for folder in folders
        for each in (folder, *folder.parents)
        if top in each.parents and not there(each)
    }
    ordered = sorted(missing, key=lambda each: len(each.parts))
    return [each.relative_to(top).as_posix() for each in ordered]
