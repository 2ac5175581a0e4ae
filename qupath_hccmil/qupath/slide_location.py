"""Finds a slide: as stored, relative to a moved project, or by name in a folder of slides."""

from __future__ import annotations

import ntpath
import os
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from qupath_hccmil.errors import SlideError, SlideMissingError
from qupath_hccmil.linked_folders import walk
from qupath_hccmil.qupath.data_types import ImageEntry

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # at least two letters, because C: is a drive
_OMERO_IMAGE = re.compile(
    r"(?:[?&]show=image-|[?&]images=|/img_detail/|/webgateway/\w+/|^omero:iid=|Image:)(\d+)"
)
_DRIVE = re.compile(r"/?[A-Za-z]:([/\\]|$)")


def locate_slide(
    entry: ImageEntry,
    project_path: Path,
    previous_uri: str | None = None,
    slides_dir: Path | None = None,
) -> Path:
    """Find the file of a slide, in the order in which QuPath looks, then in a folder of slides.

    Parameters
    ----------
    entry : ImageEntry
        The image; its stored URI is tried first. A relative one starts at the project's folder.
    project_path : Path
        Current path of the project's ``.qpproj``.
    previous_uri : str, optional
        Location of the project when QuPath saved it (``uri`` in the ``.qpproj``). A slide that was
        moved together with its project is found relative to it.
    slides_dir : Path, optional
        Folder in which to look for a file with the slide's name, including subfolders and linked
        folders.

    Returns
    -------
    Path
        An existing file.

    Raises
    ------
    SlideMissingError
        The slide is in none of these places, or is not a file on a disk.
    SlideError
        `slides_dir` is not a folder or has several files with the name, or the image has no file of
        its own.
    """
    if not entry.server.uri:
        raise SlideError(
            f"{entry.name}: QuPath composes this image from several files "
            f"({entry.server.builder}); score the original slides"
        )
    stored = path_of_uri(entry.server.uri)
    if stored is None:
        return _copy_of_remote(entry, slides_dir)
    for candidate in _places(stored, project_path, previous_uri):
        if os.path.isfile(candidate):
            return candidate
    if slides_dir is not None:
        return _named_in_folder(entry.name, stored.name, slides_dir)
    raise SlideMissingError(
        f"{entry.name}: the slide is not at {stored}; "
        "put it back, or give the folder that it is in with --slides DIR"
    )


def path_of_uri(uri: str) -> PurePath | None:
    """Path for a URI of QuPath; None if it is not a file (``https:`` and others).

    Parameters
    ----------
    uri : str
        ``file:/data/a.svs``, ``file:///data/a%20b.svs``, ``file:/C:/a.svs``,
        ``file:////server/share/a.svs``, ``file://server/share/a.svs``, or a plain path.

    Returns
    -------
    PurePosixPath or PureWindowsPath or None
        For the system that the slide was on, whatever the present system is.

    Examples
    --------
    >>> path_of_uri("file:/C:/slides/a%20b.svs")
    PureWindowsPath('C:/slides/a b.svs')
    """
    if uri[:5].lower() == "file:":
        path = unquote(re.split("[?#]", uri[5:])[0])
        # an empty authority, or one that names this machine, is not part of the path
        path = re.sub(r"^//(localhost)?(?=/(?!/))", "", path)
    elif _SCHEME.match(uri):
        return None
    else:
        path = uri
    if _DRIVE.match(path):
        return PureWindowsPath(path.lstrip("/"))
    if path.startswith(("//", "\\\\")):
        return PureWindowsPath("//" + path.lstrip("/\\"))
    return PureWindowsPath(path) if "\\" in path and "/" not in path else PurePosixPath(path)


def _copy_of_remote(entry: ImageEntry, folder: Path | None) -> Path:
    """Find the downloaded file of an image on a server."""
    names = _remote_names(entry)
    if folder is not None:
        files = _files_in(folder)
        name = next((name for name in names if _same(name) in files), names[0])
        return _named_in_folder(entry.name, name, folder)
    uri = entry.server.uri
    number = _OMERO_IMAGE.search(uri)
    command = f" (omero download Image:{number[1]} DIR)" if number else ""
    where = "OMERO" if number or "omero" in entry.server.provider.lower() else "there"
    raise SlideMissingError(
        f"{entry.name}: the slide is on a server ({uri}), but scoring needs a local file; "
        f"download the original file from {where}{command}, keep its name {names[0]}, and give "
        "the folder that it is in with --slides DIR"
    )


def _remote_names(entry: ImageEntry) -> list[str]:
    """Names that a copy of an image on a server may have, most likely first."""
    in_uri = PurePosixPath(unquote(re.split("[?#]", entry.server.uri)[0])).name
    # OMERO numbers the images of one file: a.svs [0].
    names = [re.sub(r" \[[^\]]*\]$", "", entry.name), entry.name]
    return [in_uri, *names] if PurePosixPath(in_uri).suffix else names


def _places(stored: PurePath, project: Path, previous_uri: str | None) -> Iterator[Path]:
    """Yield the paths where the slide may be without help from the user."""
    if not (stored.drive or stored.root):
        # an escape such as %20 is part of a path, but not of a URI
        for parts in (stored.parts, type(stored)(unquote(str(stored))).parts):
            yield Path(os.path.normpath(project.absolute().parent.joinpath(*parts)))
        return
    # On other systems a Windows path is relative and must not lead into the working folder.
    if Path(stored).root:
        yield Path(stored)
    moved = _moved_with_project(stored, project, previous_uri)
    if moved is not None:
        yield moved


def _moved_with_project(stored: PurePath, now: Path, previous_uri: str | None) -> Path | None:
    """Path of the slide if it kept its position relative to the project."""
    previous = path_of_uri(previous_uri) if previous_uri else None
    if previous is None or type(previous) is not type(stored):
        return None
    flavour = ntpath if isinstance(stored, PureWindowsPath) else posixpath
    try:
        relative = flavour.relpath(str(stored), str(previous.parent))
    except ValueError:  # another drive
        return None
    parts = relative.split(flavour.sep)
    return Path(os.path.normpath(now.absolute().parent.joinpath(*parts)))


def _named_in_folder(image: str, name: str, folder: Path) -> Path:
    named = _files_in(folder).get(_same(name), ())
    # a file and links to it count once
    found = list({os.path.realpath(path): path for path in reversed(named)}.values())[::-1]
    if not found:
        raise SlideMissingError(
            f"{image}: there is no file {name} in {folder} or its subfolders; "
            "put it there, or give another folder with --slides DIR"
        )
    if len(found) > 1:
        raise SlideError(
            f"{image}: there are {len(found)} files named {name} in {folder}, such as {found[0]} "
            f"and {found[1]}; give the folder of the right one with --slides DIR"
        )
    return found[0]


def _files_in(folder: Path) -> Mapping[str, tuple[Path, ...]]:
    if not folder.is_dir():
        raise SlideError(
            f"{folder}: is not a folder; give the folder of the slides with --slides DIR"
        )
    return _files_by_name(folder.resolve())


# A batch looks for hundreds of slides in one folder, which may be on a slow network drive.
@lru_cache(maxsize=4)
def _files_by_name(folder: Path) -> Mapping[str, tuple[Path, ...]]:
    """Files in a folder and its subfolders by name, in a stable order."""
    files: dict[str, tuple[Path, ...]] = {}
    for parent, names in walk(folder):
        for name in names:
            files[_same(name)] = (*files.get(_same(name), ()), parent / name)
    return files


def _same(name: str) -> str:
    """Normalise a name, because macOS decomposes accents and other systems compose them."""
    return unicodedata.normalize("NFC", name)
