"""Draws an H&E-like slide of a liver tumour with exactly known nuclei, tumour and atypia."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import Polygon

from qupath_hccmil.demo.cells import Nuclei, draw_mask, place_cells
from qupath_hccmil.demo.paint import Painter
from qupath_hccmil.demo.pyramid import write_pyramid
from qupath_hccmil.demo.tissue_plan import plan_tissue
from qupath_hccmil.errors import DataError

DEMO_WIDTH, DEMO_HEIGHT = 10752, 8704
"""Default size, px: about 180 tiles of 128 µm lie inside the tumour outlines."""

SMALLEST_UM = 250
"""Smallest side of a slide, µm; a smaller one has no room for a tumour."""


@dataclass(frozen=True, eq=False)
class DrawnSlide:
    """A drawn slide and its ground truth.

    Attributes
    ----------
    path : Path
        Pyramidal TIFF.
    width, height : int
        Level-0 px.
    mpp : float
        µm per px.
    tumours : list of Polygon
        Outlines of the tumour nodules, level-0 px, largest first.
    atypia : list of Polygon
        Outlines of the areas of atypia, level-0 px, largest first; none on the smallest slides.
    nuclei : Nuclei
        Every nucleus, level-0 px.
    """

    path: Path
    width: int
    height: int
    mpp: float
    tumours: list[Polygon]
    atypia: list[Polygon]
    nuclei: Nuclei


def draw_slide(
    path: str | Path,
    *,
    width: int = DEMO_WIDTH,
    height: int = DEMO_HEIGHT,
    seed: int = 0,
    mpp: float = 0.25,
) -> DrawnSlide:
    """Draw a slide; the same arguments give the same file.

    Anatomy: an irregular piece of liver with single-cell plates and fat; an encapsulated tumour of
    trabeculae two to three cells thick, with septa, lymphocyte nests and islands of atypia
    (larger, crowded, pleomorphic, hyperchromatic nuclei); and a satellite nodule. The drawing is
    meant for checks and for showing the tool; it has no medical meaning.

    Parameters
    ----------
    path : str or Path
        File to write, ``.tif`` or ``.tiff``; replaced if present.
    width, height : int
        Level-0 px, at least 250 µm.
    seed : int
        Seed of everything random, not negative.
    mpp : float
        µm per px, 0.1 to 2.

    Raises
    ------
    DataError
        A parameter is out of its range.
    """
    path = Path(path)
    _check(path, width, height, seed, mpp)
    plan = plan_tissue(width, height, seed=seed, mpp=mpp)
    cells = place_cells(plan, seed)
    write_pyramid(path, width, height, mpp, Painter(plan, cells, seed).paint)
    return DrawnSlide(path, width, height, mpp, plan.tumours, plan.atypical_regions, cells.nuclei)


def nuclei_mask(drawn: DrawnSlide, box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Find the pixels of ``box = (x, y, width, height)``, level-0 px, that belong to a nucleus.

    Returns
    -------
    (height, width) bool
    """
    return draw_mask(drawn.nuclei, box)


def _check(path: Path, width: int, height: int, seed: int, mpp: float) -> None:
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise DataError(f"{path}: a drawn slide is a TIFF file; give a name that ends in .tif")
    if seed < 0:
        raise DataError(f"seed {seed} of a drawn slide is negative; give 0 or more")
    if not 0.1 <= mpp <= 2:
        raise DataError(f"pixel size {mpp} of a drawn slide must be between 0.1 and 2 µm/px")
    if min(width, height) * mpp < SMALLEST_UM:
        raise DataError(
            f"a drawn slide of {width} x {height} px at {mpp} µm/px is too small; it must be at"
            f" least {SMALLEST_UM} µm wide and high"
        )
