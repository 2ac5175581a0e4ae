"""Networks as OpenVINO graphs: converted once by ``torch.export`` and cached for later runs.

Conversion with ``torch.export`` takes several seconds, as does importing torch; reading a cached
graph takes almost no time and needs no torch. The key of a cached graph covers everything that
determines it, so that other weights, or another version of this program, torch or OpenVINO, give
another graph. It is the same on each processor, for which OpenVINO compiles it in a quarter of a
second.

A graph is as large as its network, which may be gigabytes for an encoder. So all that is kept takes
at most 2 GiB, unless one graph alone is larger, and at most a tenth of the disk that is free.
Where that is too little, the graphs that were used longest ago are removed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qupath_hccmil
from qupath_hccmil.atomic_files import atomic_folder
from qupath_hccmil.cache_folder import cache_folder
from qupath_hccmil.errors import WriteError
from qupath_hccmil.scoring.openvino_import import import_openvino

if TYPE_CHECKING:
    from torch import Tensor, nn

_GRAPH, _WEIGHTS, _DIGEST = "graph.xml", "graph.bin", "sha256"
_MOST_BYTES = 2 * 1024**3
_SHARE_OF_FREE = 0.1
_LEFTOVER_S = 24 * 3600.0
"""Age from which a folder that is not finished is one that a killed run left behind."""


def openvino_graph(
    build: Callable[[], nn.Module], identity: str, shape: tuple[int, ...]
) -> tuple[bytes, bytes]:
    """Return the OpenVINO graph of a network for inputs of one shape.

    Parameters
    ----------
    build : callable
        Makes the network, in evaluation mode, with one uint8 tensor as input. Called only where
        no graph of this network is kept; torch is imported only then.
    identity : str
        All that the network follows from next to this program and its libraries: another network
        has another one.
    shape : tuple of int
        Shape of the input.

    Returns
    -------
    (bytes, bytes)
        Files for ``Core.read_model``: nodes and weights. Identical whether the network was
        converted now or before.

    Raises
    ------
    WriteError
        There is no room for temporary files; OpenVINO gives a graph as files only.
    """
    place = _cache() / _key(identity, shape)
    files = _stored(place)
    if files is None:
        import torch

        # Always by way of the bytes of files: OpenVINO arranges a newly converted graph
        # differently, which changes the last bits of scores.
        files = _files(converted(build(), torch.zeros(shape, dtype=torch.uint8)))
        _keep(files, place)
    return files


def converted(network: nn.Module, example: Tensor) -> Any:
    """Convert a network for inputs with the example's shape and type, without warnings.

    Returns
    -------
    openvino.Model
    """
    import torch

    with torch.no_grad(), warnings.catch_warnings():
        # Deprecation warnings of torch and OpenVINO about their own code are not for users.
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (example,), strict=False)
        return import_openvino().convert_model(program)


def _cache() -> Path:
    return cache_folder() / "openvino"


def _key(identity: str, shape: tuple[int, ...]) -> str:
    """SHA-256 of everything that determines a graph: the network, this program, the libraries."""
    versions = [version(name) for name in ("torch", "torchvision", "openvino")]
    digest = hashlib.sha256(repr((identity, shape, versions)).encode())
    package = Path(qupath_hccmil.__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(graph: Any) -> tuple[bytes, bytes]:
    """Content of the two files of a graph: its nodes and its weights."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            paths = (Path(folder, _GRAPH), Path(folder, _WEIGHTS))
            import_openvino().serialize(graph, *paths)
            return paths[0].read_bytes(), paths[1].read_bytes()
    except (OSError, RuntimeError) as error:
        # OpenVINO says of a full disk that there was an error of its stream.
        raise WriteError(
            f"{tempfile.gettempdir()}: the converted network cannot be written there "
            f"({error}); make room, or set TMPDIR to another folder"
        ) from error


def _stored(place: Path) -> tuple[bytes, bytes] | None:
    """Read the files of a cached graph and note its use; None if they are missing or damaged."""
    try:
        files = (place / _GRAPH).read_bytes(), (place / _WEIGHTS).read_bytes()
        whole = (place / _DIGEST).read_bytes() == _digest(files)
    except OSError:
        return None
    with suppress(OSError):  # a cache of another user can be read only
        os.utime(place)
    return files if whole else None


def _keep(files: tuple[bytes, bytes], place: Path) -> None:
    """Cache a graph if the system allows it and there is room, and remove those used long ago."""
    if _stored(place) == files:
        return
    with suppress(WriteError, OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        if not _has_room(sum(map(len, files)), place):
            return
        with atomic_folder(place) as beside:
            for name, content in zip((_GRAPH, _WEIGHTS), files, strict=True):
                (beside / name).write_bytes(content)
            (beside / _DIGEST).write_bytes(_digest(files))


def _has_room(size: int, place: Path) -> bool:
    """Remove graphs until one of `size` bytes may be added; False if it is too large in any case.

    Another process may have read what is removed: it has it in its memory.
    """
    kept = []
    for path in place.parent.iterdir():
        with suppress(OSError):  # another process removes graphs as well
            used = path.stat().st_mtime
            if len(path.name) == len(place.name):
                kept.append((used, _size(path), path))
            elif path.name.startswith(".") and used < time.time() - _LEFTOVER_S:
                shutil.rmtree(path, ignore_errors=True)
    total = sum(of for _, of, _ in kept)
    share = int(_SHARE_OF_FREE * (shutil.disk_usage(place.parent).free + total))
    if size > share:
        return False
    for _, of, path in sorted(kept):
        if total + size <= max(size, min(_MOST_BYTES, share)):
            break
        shutil.rmtree(path, ignore_errors=True)
        total -= of
    return True


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _digest(files: tuple[bytes, bytes]) -> bytes:
    return " ".join(hashlib.sha256(content).hexdigest() for content in files).encode()
