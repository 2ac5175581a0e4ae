"""Draws a scored slide: tile risks over the pixels, with outlines and a scale bar."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from qupath_hccmil.qupath import names

# The colours of the classes, as QuPath's window has them, with white at the threshold.
_LOW, _HIGH = (names.CLASS_COLOURS[each] for each in (names.CLASS_LOW, names.CLASS_HIGH))
_COLOURS = LinearSegmentedColormap.from_list("risk", [f"#{_LOW:06x}", "#ffffff", f"#{_HIGH:06x}"])

_SCALE_BARS_UM = (50, 100, 200, 500, 1000, 2000, 5000, 10000)


def draw_risk_map(
    path: Path,
    thumbnail: NDArray[np.uint8],
    *,
    width: int,
    mpp: float,
    bounds: NDArray[np.float64],
    tile_risk: NDArray[np.float64],
    outlines: Sequence[BaseGeometry],
    threshold: float,
    title: str,
    note: str,
) -> None:
    """Write a PNG that shows the slide next to the same view with its tile risks.

    Parameters
    ----------
    path : Path
        PNG to write.
    thumbnail : (h, w, 3) uint8
        The whole slide at low resolution, RGB.
    width : int
        Width of the slide, level-0 px.
    mpp : float
        µm per level-0 px.
    bounds : (n, 4) float64
        x, y, width, height of tiles, level-0 px.
    tile_risk : (n,) float64
        In [0, 1].
    outlines : sequence of shapely geometries
        Tumour outlines, level-0 px.
    threshold : float
        Risk above which a slide is in the high-risk group; the middle of the colour scale.
    title : str
    note : str
        Notice below the pictures, such as the research-use notice.
    """
    scale = thumbnail.shape[1] / width
    aspect = thumbnail.shape[0] / thumbnail.shape[1]
    panel = 6.0 if aspect <= 1.2 else 6.0 * 1.2 / aspect
    figure = Figure(figsize=(2 * panel + 1.4, panel * aspect + 0.9), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    plain, mapped = figure.subplots(1, 2)
    for axes in (plain, mapped):
        axes.imshow(thumbnail)
        axes.set_axis_off()
        for outline in outlines:
            _draw_outline(axes, outline, scale)
    tiles = PatchCollection(
        [Rectangle((x, y), w, h) for x, y, w, h in bounds * scale],
        cmap=_COLOURS,
        norm=TwoSlopeNorm(threshold, 0.0, 1.0),
        alpha=0.55,
        linewidths=0,
    )
    tiles.set_array(tile_risk)
    mapped.add_collection(tiles)
    bar = figure.colorbar(tiles, ax=mapped, fraction=0.035, pad=0.02)
    bar.set_label(f"tile risk (white: threshold {threshold:.4f})")
    _draw_scale_bar(plain, thumbnail, mpp / scale)
    # A name with dollar signs is not a formula.
    figure.suptitle(title, fontsize=11, parse_math=False)
    figure.supxlabel(note, fontsize=8, color="0.4")
    with warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; the name is also in the file name.
        warnings.filterwarnings("ignore", "Glyph ")
        figure.savefig(path, format="png")


def _draw_outline(axes, outline: BaseGeometry, scale: float) -> None:  # type: ignore[no-untyped-def]
    for polygon in getattr(outline, "geoms", [outline]):
        for ring in (polygon.exterior, *polygon.interiors):
            x, y = np.asarray(ring.coords).T[:2] * scale
            axes.plot(x, y, color="#111111", linewidth=1.2)


def _draw_scale_bar(axes, thumbnail: NDArray[np.uint8], um_per_px: float) -> None:  # type: ignore[no-untyped-def]
    longest = thumbnail.shape[1] * um_per_px / 4
    length_um = max((um for um in _SCALE_BARS_UM if um <= longest), default=_SCALE_BARS_UM[0])
    length = length_um / um_per_px
    x, y = 0.04 * thumbnail.shape[1], 0.96 * thumbnail.shape[0]
    axes.plot([x, x + length], [y, y], color="black", linewidth=3, solid_capstyle="butt")
    label = f"{length_um} µm" if length_um < 1000 else f"{length_um // 1000} mm"
    axes.text(x + length / 2, y - 0.012 * thumbnail.shape[0], label, ha="center", va="bottom")
