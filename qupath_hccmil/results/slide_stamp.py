"""What tells that a slide's file is another than before, without reading its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SlideStamp:
    """Size and time of a slide's files.

    Attributes
    ----------
    files : int
    bytes : int
        Of all files together.
    modified : int
        Seconds since 1970, of the file that was changed last. A fraction of a second is left out:
        file systems and copies keep it differently.
    """

    files: int
    bytes: int
    modified: int


def slide_stamp(path: Path) -> SlideStamp:
    """Stamp of a slide: of its file, and of the files next to it that hold its pixels.

    Raises
    ------
    OSError
        A file is not there or cannot be read.
    """
    found = [each.stat() for each in _files(path)]
    return SlideStamp(
        len(found),
        sum(each.st_size for each in found),
        int(max(each.st_mtime for each in found)),
    )


def _files(path: Path) -> Iterator[Path]:
    yield path
    suffix = path.suffix.lower()
    if suffix == ".mrxs":
        # the file itself is a thumbnail; the pixels are in a folder of its name
        yield from _inside(path.with_suffix(""))
    elif suffix == ".vsi":
        yield from _inside(path.with_name(f"_{path.stem}_"))
    elif suffix == ".dcm":
        yield from (each for each in _inside(path.parent) if each != path and _is_dicom(each))


def _inside(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file())


def _is_dicom(path: Path) -> bool:
    return path.suffix.lower() == ".dcm"
