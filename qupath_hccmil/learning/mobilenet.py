"""torchvision's MobileNetV2 and its weights, even beside a torch that torchvision doesn't fit.

pip on Linux gives a torchvision built for CUDA. Beside a CPU build of torch, a common pair,
its extension can't be loaded, and ``import torchvision`` then stops at "operator torchvision::nms
does not exist", since two of its functions describe operators that nobody declared. Declared they
need not exist: MobileNetV2 uses no compiled operator of torchvision.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from qupath_hccmil.errors import ModelError

_MISSING = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# A Library takes its declarations back when it is collected, so it lives as long as the module.
_declared: list[torch.library.Library] = []


def torchvision_models() -> ModuleType:
    """Return ``torchvision.models``; torchvision's own operators are used where they load."""
    try:
        import torchvision.models
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        # What was imported halfway must be imported again.
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for schema in _MISSING:
            library.define(schema)
        _declared.append(library)
        import torchvision.models
    models: ModuleType = torchvision.models
    return models


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a MobileNetV2 from a safetensors file.

    Raises
    ------
    ModelError
        The file can't be read as safetensors.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors ({error})") from error
