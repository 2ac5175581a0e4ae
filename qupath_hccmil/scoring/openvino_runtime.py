"""The networks with OpenVINO on the CPU, about twice as fast as torch there (DESIGN §6)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.errors import ModelError
from qupath_hccmil.scoring.networks import Networks
from qupath_hccmil.scoring.openvino_graph import openvino_graph
from qupath_hccmil.scoring.openvino_hints import cpu_hints
from qupath_hccmil.scoring.openvino_import import import_openvino
from qupath_hccmil.scoring.openvino_precision import kept_in_f32, with_tile_network_in_f32
from qupath_hccmil.scoring.precision import NetworkPrecision
from qupath_hccmil.scoring.runtime import Done, TileOutputs, padded
from qupath_hccmil.tiles.read_ahead import READERS

# What a layer computes of one tile fits into a core's cache, where the next layer finds it: a tenth
# faster than eight tiles at a time.
_BATCH = 1
# Waiting for each stream, so that it begins its next tile at once, without waiting for Python.
_WAITING = 8


class OpenVinoRuntime:
    """Runs batches in OpenVINO's streams.

    Parameters
    ----------
    networks : Networks
    precision : {"f32", "bf16"}
        Of the nuclei network.
    threads : int, optional
        Default: as many as the CPU has.

    Raises
    ------
    ModelError
        The weights do not fit, or OpenVINO cannot run the two networks in two precisions.
    """

    name = "openvino"
    device = "cpu"
    batch = _BATCH
    readers = READERS

    def __init__(
        self, networks: Networks, precision: NetworkPrecision, threads: int | None = None
    ) -> None:
        self.precision = precision
        openvino = import_openvino()
        core = openvino.Core()
        shape = (_BATCH, networks.tile_px, networks.tile_px, 3)
        files = openvino_graph(
            lambda: networks.build_for_openvino(precision),
            f"{networks.identity} {precision}",
            shape,
        )
        if precision == "bf16":
            files = with_tile_network_in_f32(files)
        hints = cpu_hints(precision, threads)
        compiled = core.compile_model(core.read_model(*files), "CPU", hints)
        if precision == "bf16" and not kept_in_f32(compiled, files):
            raise ModelError(
                f"OpenVINO {openvino.__version__.split('-')[0]} does not run the tile network in "
                "f32 next to a nuclei network in bf16; use --precision f32"
            )
        streams = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._queue = openvino.AsyncInferQueue(compiled, _WAITING * streams)
        self._queue.set_callback(_finish)

    def submit(self, rgb: NDArray[np.uint8], done: Done) -> None:
        """Start a batch as soon as a stream is free."""
        self._queue.start_async([padded(rgb, self.batch)], (len(rgb), done))

    def wait(self) -> None:
        """Wait until everything that was submitted is done."""
        self._queue.wait_all()


def _finish(request: Any, about: tuple[int, Done]) -> None:
    n, done = about
    logits, nuclei = (request.get_output_tensor(i).data[:n].astype(np.float64) for i in (0, 1))
    done(TileOutputs(logits, nuclei))
