"""The pixel size to use: the user's, then QuPath's, then the file's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from qupath_hccmil.errors import ResolutionError

MIN_MPP, MAX_MPP = 0.1, 2.0
"""Range of µm/px of slide scanners; a calibration outside it is a mistake."""

Source = Literal["override", "qupath", "file"]

_NAMES: dict[Source, str] = {
    "override": "--mpp",
    "qupath": "QuPath's calibration",
    "file": "the slide file",
}


@dataclass(frozen=True)
class Resolution:
    """Size of a level-0 pixel in x and y, µm, and where it comes from.

    The two sizes may differ; tiles are then square in µm, but not in px.
    """

    mpp_x: float
    mpp_y: float
    source: Source

    @property
    def mpp(self) -> float:
        """Geometric mean of both axes, µm/px: the side of a square pixel of the same area."""
        return math.sqrt(self.mpp_x * self.mpp_y)


def resolve_mpp(
    override: float | None,
    project: tuple[float | None, float | None] | None,
    slide: tuple[float, float] | None,
    *,
    name: str = "image",
) -> Resolution:
    """Choose the pixel size.

    The first one that is present is used, and it is an error if it is out of range: a wrong
    calibration in QuPath should be corrected, not ignored.

    Parameters
    ----------
    override : float or None
        µm/px given on the command line, for both axes.
    project : (float or None, float or None) or None
        QuPath's pixel width and height, µm; None or NaN if not calibrated.
    slide : (float, float) or None
        Pixel width and height as the file states them, µm.
    name : str
        Name of the image in QuPath, for the message.

    Raises
    ------
    ResolutionError
        No pixel size is present, or the first one is outside 0.1–2.0 µm/px.
    """
    candidates: dict[Source, tuple[float | None, float | None] | None] = {
        "override": None if override is None else (override, override),
        "qupath": project,
        "file": slide,
    }
    for source, mpp in candidates.items():
        x, y = mpp or (None, None)
        if x is not None and y is not None and not (math.isnan(x) or math.isnan(y)):
            return _checked(Resolution(x, y, source), name)
    raise ResolutionError(
        f"{name}: neither QuPath nor the slide file gives a pixel size; give it with --mpp, such "
        "as --mpp 0.25 (µm/px), or set it in QuPath's Image tab"
    )


def check_mpp(mpp: float, name: str) -> None:
    """Refuse an impossible pixel size that a user gave for images outside a QuPath project.

    Parameters
    ----------
    mpp : float
        µm/px.
    name : str
        What the pixel size was given for, for the message.

    Raises
    ------
    ResolutionError
        It is outside 0.1–2.0 µm/px, or not a number.
    """
    if not MIN_MPP <= mpp <= MAX_MPP:
        raise ResolutionError(
            f"{name}: --mpp is {mpp:g} µm/px, which is outside {MIN_MPP:g}–{MAX_MPP:g}; give the "
            "pixel size of the images (0.25 for a 40× scan), or resample them to one within this "
            "range"
        )


def _checked(found: Resolution, name: str) -> Resolution:
    for value in (found.mpp_x, found.mpp_y):
        if not MIN_MPP <= value <= MAX_MPP:
            raise ResolutionError(
                f"{name}: the pixel size of {value:g} µm/px from {_NAMES[found.source]} is "
                f"outside {MIN_MPP:g}–{MAX_MPP:g}; give the right one, such as --mpp 0.25, or set "
                "it in QuPath's Image tab"
            )
    return found
