"""Finds the slides in a folder."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from qupath_hccmil.linked_folders import walk

SUFFIXES = frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".czi"}
)
# In subfolders, these are as often masks and fields of view as slides.
_AT_THE_TOP = frozenset({".tif", ".tiff"})


def slide_files(folder: Path) -> list[Path]:
    """Find files that are slides by their suffix, in a folder and its subfolders.

    Linked folders are included. TIFF files are used only in the folder itself, because in
    subfolders they are as often masks or fields of view. A file and links to it with the same name
    count once.
    """
    files: dict[tuple[str, str], Path] = {}
    for parent, names in walk(folder):
        for name in names:
            suffix = PurePath(name).suffix.lower()
            if suffix in SUFFIXES and (parent == folder or suffix not in _AT_THE_TOP):
                files.setdefault((name, os.path.realpath(parent / name)), parent / name)
    return sorted(files.values())


def without_suffix(name: str) -> str:
    """Name of a slide without the suffix of its file; other dots belong to the name."""
    path = PurePath(name)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name
