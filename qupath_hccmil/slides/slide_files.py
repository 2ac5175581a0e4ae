"""Which files of a folder are slides."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from qupath_hccmil.linked_folders import walk

SUFFIXES = frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".czi"}
)
# Under a folder of slides these are as often masks and fields of view.
_AT_THE_TOP = frozenset({".tif", ".tiff"})


def slide_files(folder: Path) -> list[Path]:
    """Files of a folder that are slides by their suffix, with those of folders in it.

    Linked folders are entered too. TIFFs count at the top alone: below it they are as often masks
    or fields of view. A file and links to it of the same name are one.
    """
    files: dict[tuple[str, str], Path] = {}
    for parent, names in walk(folder):
        for name in names:
            suffix = PurePath(name).suffix.lower()
            if suffix in SUFFIXES and (parent == folder or suffix not in _AT_THE_TOP):
                files.setdefault((name, os.path.realpath(parent / name)), parent / name)
    return sorted(files.values())
