"""What must be the same on every machine for results to be the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import qupath_hccmil
from qupath_hccmil.scoring.runtime import DeviceName, RuntimeName
from qupath_hccmil.scoring.scorer import ScorerSource
from qupath_hccmil.scoring.versions import release_versions

_HASH_DIGITS = 16


@lru_cache(maxsize=1)
def environment(model: Path | None, runtime: RuntimeName, device: DeviceName) -> dict[str, str]:
    """Facts of this process that scores follow from.

    Parameters
    ----------
    model : Path or None
        Folder of the risk model; None takes the shipped one.
    runtime, device : str

    Returns
    -------
    dict of str to str
        Versions of this package and of the libraries that change numbers, a hash of this
        package's code, the model's identity (hashes of its weights), the precision.

    Raises
    ------
    ModelError
        The model or the device cannot be used here.
    """
    models = ScorerSource(model, runtime=runtime, device=device)
    return {
        **release_versions(),
        "code": _code_hash(),
        "model": models.identity,
        "precision": models.precision,
    }


def difference(expected: Mapping[str, str], found: Mapping[str, str]) -> str:
    """What differs between two environments, in one line; empty where nothing does."""
    keys = [key for key in (*expected, *found) if expected.get(key) != found.get(key)]
    parts = [
        f"{key} {found.get(key, 'absent')}, not {expected.get(key, 'absent')}"
        for key in dict.fromkeys(keys)
    ]
    return "; ".join(parts)


def _code_hash() -> str:
    """Hash of the package's own code: a checkout may change without its version."""
    top = Path(qupath_hccmil.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(top.rglob("*.py")):
        digest.update(path.relative_to(top).as_posix().encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:_HASH_DIGITS]
