"""Runs encoders on tiles: with OpenVINO in fp32 on a CPU, with torch on other devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.encoders.encoder import Encoder
from qupath_hccmil.scoring.devices import DeviceName, RuntimeName, resolve
from qupath_hccmil.scoring.network_batches import Batches, kept_rows
from qupath_hccmil.scoring.openvino_graph import openvino_graph
from qupath_hccmil.scoring.openvino_hints import cpu_hints
from qupath_hccmil.scoring.openvino_import import import_openvino
from qupath_hccmil.scoring.runtime import padded, readers_for
from qupath_hccmil.tiles.read_ahead import READERS, Chunk, TileVerdict

# Reading the weights of a large encoder for each tile alone would take longer than computing.
_CPU_BATCH = 8
# A GPU is idle for most of the time with fewer tiles, and large encoders need its memory.
_GPU_BATCH = 32

Features = NDArray[np.float32]
Done = Callable[[Features], None]


class EncoderRuntime(Protocol):
    """An encoder that is ready to run; see :class:`~qupath_hccmil.scoring.runtime.Runtime`."""

    name: str
    device: str
    batch: int
    readers: int

    def submit(self, rgb: NDArray[np.uint8], done: Done) -> None:
        """Encode up to `batch` tiles; `done` is called with (n, d), maybe from another thread."""
        ...

    def wait(self) -> None:
        """Wait until everything that was submitted is done."""
        ...


def load_encoder_runtime(
    encoder: Encoder,
    *,
    runtime: RuntimeName = "auto",
    device: DeviceName = "auto",
    half: bool = True,
    threads: int | None = None,
) -> EncoderRuntime:
    """Prepare an encoder for the best runtime on this machine, or for the requested one.

    Parameters
    ----------
    encoder : Encoder
    runtime, device : str
        See :class:`~qupath_hccmil.scoring.runtime.RuntimeOptions`.
    half : bool
        Compute in half precision on a GPU.
    threads : int, optional
        Threads that the network may use on a CPU; default: all.

    Raises
    ------
    ModelError
        The weights do not fit, or the device or the combination is not available here.
    PackageError
        timm is needed and not installed.
    """
    chosen, where = resolve(runtime, device)
    if chosen == "openvino":
        return _OpenVino(encoder, threads)
    return _Torch(encoder, where, half=half, threads=threads)


def encoder_precision(runtime: RuntimeName, device: DeviceName) -> str:
    """Numbers that encoders compute with: ``float32``, or ``float16`` on a GPU.

    Raises
    ------
    ModelError
        The device or the combination is not available here.
    """
    return "float32" if resolve(runtime, device)[1] == "cpu" else "float16"


def encode(
    chunks: Iterator[Chunk],
    runtimes: Sequence[EncoderRuntime],
    n_tiles: int,
    *,
    wanted: int | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> tuple[NDArray[np.int8], list[Features]]:
    """Run several encoders on tiles that are read once.

    Parameters
    ----------
    chunks : iterator of Chunk
        Chunks in order.
    runtimes : sequence of EncoderRuntime
        All for tiles of this size.
    n_tiles : int
        Number of tiles in all `chunks`.
    wanted : int, optional
        Stop after this many kept tiles.
    progress : callable
        Called with the number of tiles that are done since the last call.

    Returns
    -------
    verdicts : (n_tiles,) int8
        :class:`TileVerdict` of each tile.
    features : list of (k, d) float32
        Of each encoder, for the k tiles that were kept, in order.
    """
    verdicts = np.full(n_tiles, TileVerdict.NOT_READ, np.int8)
    collected = [_Collected() for _ in runtimes]
    batches = [
        Batches(runtime, each.store) for runtime, each in zip(runtimes, collected, strict=True)
    ]
    left = n_tiles if wanted is None else wanted
    try:
        for chunk in chunks:
            rows, rgb = kept_rows(chunk, left, verdicts)
            for each in batches:
                each.add(rows, rgb)
            left -= len(rows)
            progress(len(chunk.rows))
            if not left:
                break
        for each in batches:
            each.flush()
    finally:
        # after an interruption too: Python can't end while a network still calls it
        for runtime in runtimes:
            runtime.wait()
    return verdicts, [each.kept() for each in collected]


class _Collected:
    """Features of batches as they are done."""

    def __init__(self) -> None:
        self._batches: list[tuple[NDArray[np.int64], Features]] = []

    def store(self, rows: NDArray[np.int64], features: Features) -> None:
        self._batches.append((rows, features))

    def kept(self) -> Features:
        """Features in the order of the tiles; batches may have been done in another order."""
        self._batches.sort(key=lambda batch: int(batch[0][0]))
        if not self._batches:
            return np.empty((0, 0), np.float32)
        return np.concatenate([features for _, features in self._batches])


class _OpenVino:
    """OpenVINO in fp32 on the CPU, as tiles are scored there."""

    name = "openvino"
    device = "cpu"
    batch = _CPU_BATCH
    readers = READERS

    def __init__(self, encoder: Encoder, threads: int | None) -> None:
        openvino = import_openvino()
        side = encoder.geometry.tile_px
        files = openvino_graph(
            encoder.build, f"{encoder.sha256} {encoder.made_by}", (_CPU_BATCH, side, side, 3)
        )
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(*files), "CPU", cpu_hints("f32", threads))
        self._queue = openvino.AsyncInferQueue(compiled)
        self._queue.set_callback(_finish)

    def submit(self, rgb: NDArray[np.uint8], done: Done) -> None:
        self._queue.start_async([padded(rgb, self.batch)], (len(rgb), done))

    def wait(self) -> None:
        self._queue.wait_all()


def _finish(request: Any, about: tuple[int, Done]) -> None:
    n, done = about
    done(request.get_output_tensor(0).data[:n].astype(np.float32))


class _Torch:
    """Eager torch, in half precision on a GPU where that is asked for."""

    name = "torch"

    def __init__(
        self, encoder: Encoder, device: str, *, half: bool, threads: int | None = None
    ) -> None:
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        self.device = device
        self.batch = _CPU_BATCH if device == "cpu" else _GPU_BATCH
        self.readers = readers_for(device)
        self._half = half and device != "cpu"
        self._network = encoder.build().to(device)

    def submit(self, rgb: NDArray[np.uint8], done: Done) -> None:
        import torch

        tiles = torch.from_numpy(padded(rgb, self.batch)).to(self.device)
        with (
            torch.inference_mode(),
            torch.autocast(self.device, dtype=torch.float16, enabled=self._half),
        ):
            features = self._network(tiles)
        done(features[: len(rgb)].float().cpu().numpy())

    def wait(self) -> None:
        """Return at once, because :meth:`submit` returns only when it is done."""
