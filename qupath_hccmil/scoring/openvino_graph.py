"""Networks as OpenVINO graphs: converted once by ``torch.export`` and cached for later runs.

Conversion with ``torch.export`` takes several seconds; reading a cached graph takes almost no time.
The key of a cached graph covers everything that determines it, so that other weights, or another
version of this program, torch or OpenVINO, give another graph.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs
import torch
from torch import nn

import qupath_hccmil
from qupath_hccmil.atomic_files import atomic_folder
from qupath_hccmil.errors import WriteError
from qupath_hccmil.scoring.openvino_import import import_openvino

_GRAPH, _WEIGHTS, _DIGEST = "graph.xml", "graph.bin", "sha256"
_MOST_KEPT = 8
# Types of plain settings of a network, such as a stride.
_PLAIN = (bool, int, float, str, tuple, list)
CACHE_VARIABLE = "HCCMIL_CACHE"
"""Environment variable with a folder for converted networks, instead of the user's cache folder."""


def openvino_graph(network: nn.Module, shape: tuple[int, ...]) -> Any:
    """Return the OpenVINO graph of a network for inputs of one shape.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode, with one uint8 tensor as input.
    shape : tuple of int
        Shape of the input.

    Returns
    -------
    openvino.Model
        Identical whether it was converted now or read from the cache.
    """
    place = _cache() / _key(network, shape)
    files = _stored(place)
    if files is None:
        files = _files(converted(network, torch.zeros(shape, dtype=torch.uint8)))
        _keep(files, place)
    # Always read from the bytes of the files: OpenVINO arranges a newly converted graph
    # differently, which changes the last bits of scores.
    return import_openvino().Core().read_model(*files)


def converted(network: nn.Module, example: torch.Tensor) -> Any:
    """Convert a network for inputs with the example's shape and type, without warnings.

    Returns
    -------
    openvino.Model
    """
    with torch.no_grad(), warnings.catch_warnings():
        # Deprecation warnings of torch and OpenVINO about their own code are not for users.
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (example,), strict=False)
        return import_openvino().convert_model(program)


def _cache() -> Path:
    chosen = os.environ.get(CACHE_VARIABLE)
    kept = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("qupath-hccmil", False))
    return kept / "openvino"


def _key(network: nn.Module, shape: tuple[int, ...]) -> str:
    """SHA-256 of everything that determines a graph: weights, this program, and the libraries."""
    import torchvision

    versions = (torch.__version__, torchvision.__version__, import_openvino().__version__)
    digest = hashlib.sha256(repr((shape, versions)).encode())
    package = Path(qupath_hccmil.__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    for name, module in network.named_modules():
        digest.update(f"{name} {type(module).__qualname__}".encode())
        held = {**vars(module), **module._parameters, **module._buffers}
        for key, value in sorted(held.items()):
            if isinstance(value, torch.Tensor):
                digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
                digest.update(value.detach().cpu().contiguous().numpy().tobytes())
            elif isinstance(value, _PLAIN):
                digest.update(f"{key} {value!r}".encode())
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
