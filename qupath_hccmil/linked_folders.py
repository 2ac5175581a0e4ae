"""All files under a folder, in linked folders too: slides often are on another disk than it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Give a folder and all under it, links followed, each real folder once.

    Parameters
    ----------
    folder : Path
        Where it is no folder, or may not be read, nothing is given.

    Yields
    ------
    folder : Path
        Where a folder can be reached through a link and without, the path without it.
    names : list of str
        Of the files in it, sorted; links to files among them.
    """
    seen: set[str] = set()
    # links wait until all that is reached without them is known
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
