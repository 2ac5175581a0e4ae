"""The precision that the networks compute in.

The nuclei network may compute in bfloat16, which moves a slide's risk by less than 0.005 and a
tile's by less than 0.02; the tile network always computes in float32, since its bfloat16 moves the
risk by more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qupath_hccmil.errors import ModelError
from qupath_hccmil.scoring.openvino_import import import_openvino

PrecisionName = Literal["auto", "f32", "bf16"]
NetworkPrecision = Literal["f32", "bf16"]

TILE_PRECISION: NetworkPrecision = "f32"
"""Precision of the tile network."""


@dataclass(frozen=True)
class ChosenPrecision:
    """The precision of the nuclei network, and why."""

    nuclei: NetworkPrecision
    why: str


def choose_precision(asked: PrecisionName, runtime: str, device: str) -> ChosenPrecision:
    """Choose the precision of the nuclei network.

    ``auto`` takes bf16 where it is faster: with OpenVINO on a processor with instructions for it
    (measured with AVX512-BF16: 2.0 times as fast; with AMX: 2.3 times), and on a GPU with it.
    Where a processor has no such instructions bf16 is computed in f32 and rounded, which is slower.

    Parameters
    ----------
    asked : {"auto", "f32", "bf16"}
    runtime, device : str
        See :func:`~qupath_hccmil.scoring.devices.resolve`.

    Raises
    ------
    ModelError
        bf16 was asked for, and nothing here computes in it.
    """
    if asked == "f32":
        return ChosenPrecision("f32", "as was asked")
    able, why = _has_bf16(runtime, device)
    if asked == "bf16":
        if not able:
            raise ModelError(f"--precision bf16: {why}; use --precision auto or f32")
        return ChosenPrecision("bf16", "as was asked")
    return ChosenPrecision("bf16" if able else "f32", why)


def _has_bf16(runtime: str, device: str) -> tuple[bool, str]:
    if runtime == "openvino":
        able = "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return able, f"this processor has {'' if able else 'no '}instructions for bf16"
    if device == "cuda":
        import torch

        # Older GPUs have no instructions for it.
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        return able, f"this GPU has {'' if able else 'no '}instructions for bf16"
    return False, f"torch computes in f32 on {device}"
