"""How OpenVINO uses the processor."""

from __future__ import annotations

from qupath_hccmil.scoring.precision import NetworkPrecision


def cpu_hints(precision: NetworkPrecision, threads: int | None = None) -> dict[str, object]:
    """Hints for compiling a network.

    Parameters
    ----------
    precision : {"f32", "bf16"}
        Always given: OpenVINO's own choice may be another than is recorded.
    threads : int, optional
        Default: as many as the CPU has.
    """
    hints: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": precision,
        # Streams share nothing, so a reader that occupies a core delays only one of them.
        "PERFORMANCE_HINT": "THROUGHPUT",
        # Each process would tie its threads to the same first cores, whoever else is there: two
        # workers of one thread were no faster than one.
        "ENABLE_CPU_PINNING": False,
    }
    if threads is not None:
        hints["INFERENCE_NUM_THREADS"] = threads
    return hints
