"""What must be the same on every machine for results to be the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import qupath_hccmil
from qupath_hccmil.scoring.versions import release_versions

_HASH_DIGITS = 16

Stamps = tuple[tuple[str, int, int], ...]


def code_facts() -> dict[str, str]:
    """Versions of this package and of the libraries that change numbers, a hash of its code."""
    return {**release_versions(), "code": _code_hash()}


def stamps(folder: Path) -> Stamps:
    """What tells that the files of a model or an encoder are others than before.

    It is read before each slide, so that the weights themselves need not be.
    """
    try:
        found = [(each.name, each.stat()) for each in sorted(folder.iterdir())]
    except OSError:
        # the model says itself what is wrong
        return ()
    return tuple((name, status.st_mtime_ns, status.st_size) for name, status in found)


def difference(expected: Mapping[str, str], found: Mapping[str, str]) -> str:
    """What differs between two environments, in one line; empty where nothing does."""
    keys = [key for key in (*expected, *found) if expected.get(key) != found.get(key)]
    parts = [
        f"{key} {found.get(key, 'absent')}, not {expected.get(key, 'absent')}"
        for key in dict.fromkeys(keys)
    ]
    return "; ".join(parts)


@lru_cache(maxsize=1)
def _code_hash() -> str:
    """Hash of the package's own code: a checkout may change without its version."""
    top = Path(qupath_hccmil.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(top.rglob("*.py")):
        digest.update(path.relative_to(top).as_posix().encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:_HASH_DIGITS]
