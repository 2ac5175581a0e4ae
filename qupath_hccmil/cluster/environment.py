"""What must be the same on every machine for results to be the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import qupath_hccmil
from qupath_hccmil.model_store.model_folder import default_model_dir
from qupath_hccmil.scoring.runtime import RuntimeOptions
from qupath_hccmil.scoring.scorer import ScorerSource
from qupath_hccmil.scoring.versions import release_versions

_HASH_DIGITS = 16


def environment(model: Path | None, options: RuntimeOptions) -> dict[str, str]:
    """Facts of this process that scores follow from.

    Parameters
    ----------
    model : Path or None
        Folder of the risk model; None takes the shipped one.
    options : RuntimeOptions

    Returns
    -------
    dict of str to str
        Those of :func:`without_precision`, and the precision of the nuclei network.

    Raises
    ------
    ModelError
        The model, the device or the precision cannot be used here.
    """
    return {**without_precision(model), "precision": options.nuclei_precision()}


def without_precision(model: Path | None) -> dict[str, str]:
    """Facts of this process that scores follow from, wherever the networks are run.

    Returns
    -------
    dict of str to str
        Versions of this package and of the libraries that change numbers, a hash of this
        package's code, the model's identity (hashes of its weights).

    Raises
    ------
    ModelError
        The model cannot be used.
    """
    return {
        **release_versions(),
        "code": _code_hash(),
        "model": _model_identity(model, _stamps(model or default_model_dir("mil"))),
    }


@lru_cache(maxsize=4)
def _model_identity(
    model: Path | None,
    stamps: tuple[tuple[str, int, int], ...],  # noqa: ARG001 - a changed model is read again
) -> str:
    return ScorerSource(model).identity


def _stamps(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells that a model's files are others than before."""
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
