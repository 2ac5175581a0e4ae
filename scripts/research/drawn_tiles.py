"""Tiles of drawn slides, with their exact nuclei and planted atypia, for the simulated cohort."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from open_data import STAINS
from PIL import Image
from shapely import union_all
from shapely.geometry import box

from qupath_hccmil.demo.cells import draw_mask, place_cells
from qupath_hccmil.demo.paint import Painter
from qupath_hccmil.demo.tissue_plan import TissuePlan, plan_tissue
from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.nuclei.training_crops import area_share
from qupath_hccmil.stain.reference import default_reference
from qupath_hccmil.stain.vahadane import Normalizer, StainFit, fit

# Seeds of the drawn slides; the demo's own slide is that of seed 0.
DRAWN = {"training": tuple(range(11, 19)), "choosing": (19,), "test": (20, 21)}
DEMO_SEED = 0
MPP = 0.25
# As `demo.drawn` draws its slides. Its module isn't imported, since it also writes files.
WIDTH, HEIGHT = 10752, 8704
# Stains are fitted on every eighth tile.
_FITTED_ON = 8


@dataclass(frozen=True)
class DrawnTiles:
    """The tumour tiles of a drawn slide.

    Attributes
    ----------
    rgb : (n, s, s, 3) uint8
        Stain-normalised.
    masks : (n, s, s) bool
        Nuclei.
    atypia : (n,) float64
        Share of each tile's area with planted atypia.
    """

    rgb: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    atypia: NDArray[np.float64]


def drawn_tiles(data: Path, seed: int) -> DrawnTiles:
    """Draw the tiles of a slide that lie at least half in a tumour outline."""
    plan = plan_tissue(WIDTH, HEIGHT, seed=seed, mpp=MPP)
    cells = place_cells(plan, seed)
    painter, corners = Painter(plan, cells, seed), list(_corners(plan))
    size, side = _side(), TileGeometry().tile_px
    rgb = np.stack([_painted(painter, corner) for corner in corners])
    masks = [
        area_share(draw_mask(cells.nuclei, (x, y, size, size)), (side, side)) > 0.5
        for x, y in corners
    ]
    planted = union_all(plan.atypical_regions)
    shares = [box(x, y, x + size, y + size).intersection(planted).area for x, y in corners]
    normalizer = Normalizer(_stains(data, seed) or fit(rgb[::_FITTED_ON]), default_reference())
    return DrawnTiles(normalizer.transform(rgb), np.stack(masks), np.array(shares) / size**2)


def fit_drawn(seed: int) -> StainFit:
    """Fit the stains of a drawn slide, for a machine that can't."""
    plan = plan_tissue(WIDTH, HEIGHT, seed=seed, mpp=MPP)
    painter = Painter(plan, place_cells(plan, seed), seed)
    return fit(
        np.stack([_painted(painter, corner) for corner in list(_corners(plan))[::_FITTED_ON]])
    )


def _stains(data: Path, seed: int) -> StainFit | None:
    stored = data / STAINS
    if not stored.exists():
        return None
    content = json.loads(stored.read_text(encoding="utf-8")).get("drawn", {})
    return StainFit.from_dict(content[str(seed)]) if str(seed) in content else None


def _side() -> int:
    """Side of a tile, level-0 px."""
    return round(TileGeometry().tile_um / MPP)


def _corners(plan: TissuePlan) -> Iterator[tuple[int, int]]:
    tumour, size = union_all(plan.tumours), _side()
    for y in range(0, HEIGHT - size + 1, size):
        for x in range(0, WIDTH - size + 1, size):
            tile = box(x, y, x + size, y + size)
            if tumour.intersection(tile).area >= 0.5 * tile.area:
                yield x, y


def _painted(painter: Painter, corner: tuple[int, int]) -> NDArray[np.uint8]:
    size, side = _side(), TileGeometry().tile_px
    image = Image.fromarray(painter.paint(*corner, size, size))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
