"""All files below a folder, linked folders included: slides are often on another disk."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder and all folders below it, following links, each real folder once.

    Parameters
    ----------
    folder : Path
        If it is not a folder or may not be read, nothing is yielded.

    Yields
    ------
    folder : Path
        If a folder can be reached both with and without a link, the path without it.
    names : list of str
        Names of the files in it, sorted, including links to files.
    """
    seen: set[str] = set()
    # Links wait until everything that can be reached without them is known.
    waiting, linked = deque([folder]), deque[Path]()
    while waiting or linked:
        path = waiting.popleft() if waiting else linked.popleft()
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        names = []
        for child in _children(path):
            if child.is_dir(follow_symlinks=False):
                waiting.append(Path(child.path))
            elif child.is_file(follow_symlinks=False) or os.path.isfile(child):
                names.append(child.name)
            elif os.path.isdir(child):
                linked.append(Path(child.path))
        yield path, names


def _children(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda child: child.name)
    except OSError:
        return []
