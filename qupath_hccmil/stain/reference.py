"""The reference to whose stains every slide is normalised."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from qupath_hccmil.errors import ModelError
from qupath_hccmil.stain.colour import Pixels
from qupath_hccmil.stain.vahadane import StainFit, fit


def fit_reference(images: Iterable[Pixels]) -> StainFit:
    """Fit a reference to the pooled pixels of images of any sizes.

    Parameters
    ----------
    images : iterable of (height, width, 3) uint8
        RGB.

    Raises
    ------
    SlideError
        See :func:`qupath_hccmil.stain.vahadane.fit`.
    """
    return fit(np.concatenate([image.reshape(-1, 3) for image in images]))


def default_reference() -> StainFit:
    """Return the reference that ships with the package.

    It was fitted to OpenSlide's CMU-1-Small-Region (Aperio, H&E, CC0), level-0 px 640–1153 ×
    2070–2967: epithelium and connective tissue without the keratin, pigment and ink elsewhere on
    that slide, reduced to 224 px per 128 µm.
    """
    text = (files(__package__) / "reference.json").read_text(encoding="utf-8")
    return StainFit.from_dict(json.loads(text))


def stored_reference(content: Mapping[str, Any] | None, path: Path) -> StainFit:
    """Return the reference in the config of a model folder.

    Raises
    ------
    ModelError
        There is none, or it is not valid; the message names `path`.
    """
    try:
        return StainFit.from_dict(content or {})
    except ValueError as error:
        raise ModelError(f"{path}: stain_reference: {error}") from error
