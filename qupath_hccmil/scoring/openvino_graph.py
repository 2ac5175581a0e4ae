"""Networks as OpenVINO graphs: converted once by ``torch.export`` and cached for later runs.

Conversion with ``torch.export`` takes several seconds, as does importing torch; reading a cached
graph takes almost no time and needs no torch. The key of a cached graph covers everything that
determines it, so that other weights, or another version of this program, torch or OpenVINO, give
another graph. It is the same on each processor, for which OpenVINO compiles it in a quarter of a
second.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
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
_MOST_KEPT = 8


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
    with tempfile.TemporaryDirectory() as folder:
        paths = (Path(folder, _GRAPH), Path(folder, _WEIGHTS))
        import_openvino().serialize(graph, *paths)
        return paths[0].read_bytes(), paths[1].read_bytes()


def _stored(place: Path) -> tuple[bytes, bytes] | None:
    """Read the files of a cached graph; None if they are missing or damaged."""
    try:
        files = (place / _GRAPH).read_bytes(), (place / _WEIGHTS).read_bytes()
        whole = (place / _DIGEST).read_bytes() == _digest(files)
    except OSError:
        return None
    return files if whole else None


def _keep(files: tuple[bytes, bytes], place: Path) -> None:
    """Cache a graph if the system allows it, and remove the oldest ones."""
    if _stored(place) == files:
        return
    with suppress(WriteError, OSError):
        with atomic_folder(place) as beside:
            for name, content in zip((_GRAPH, _WEIGHTS), files, strict=True):
                (beside / name).write_bytes(content)
            (beside / _DIGEST).write_bytes(_digest(files))
        others = [path for path in place.parent.iterdir() if len(path.name) == len(place.name)]
        for old in sorted(others, key=lambda path: path.stat().st_mtime)[:-_MOST_KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def _digest(files: tuple[bytes, bytes]) -> bytes:
    return " ".join(hashlib.sha256(content).hexdigest() for content in files).encode()
