"""A figure of the highest and lowest tiles, for a paper: two panels, a scale bar and a caption."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from math import ceil
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

SHEET_TILES = 50
"""Tiles of a panel: more are too small to be read in print."""

_WIDTH_IN = 180 / 25.4  # two columns of a journal
_MARGIN_IN = 0.08
_COLUMNS = 10
_GAP = 0.06  # of a tile
_HEAD_IN, _LINE_IN, _SPACE_IN = 0.30, 0.135, 0.16
_BARS_UM = (10, 20, 50, 100, 200, 500, 1000)
_CAPTION_CHARS = 140
# text of the PDF stays text, which a journal can set and search
_STYLE: dict[Any, Any] = {"pdf.fonttype": 42, "font.family": "sans-serif"}


@dataclass(frozen=True, eq=False)
class Panel:
    """Tiles of one side, the most extreme first.

    Attributes
    ----------
    title : str
    colour : str
        ``#rrggbb`` of the line under the title.
    pictures : sequence of (h, w, 3) uint8
        All of one size.
    """

    title: str
    colour: str
    pictures: Sequence[NDArray[np.uint8]]


def draw_contact_sheet(panels: Sequence[Panel], side_um: float, caption: str) -> dict[str, bytes]:
    """Draw panels one below the other.

    Parameters
    ----------
    panels : sequence of Panel
        At most :data:`SHEET_TILES` pictures of each are shown.
    side_um : float
        Side of a tile, µm.
    caption : str
        Below the panels; the scale bar's length is added.

    Returns
    -------
    dict of str to bytes
        ``png`` (300 dpi) and ``pdf``.
    """
    shown = [panel.pictures[:SHEET_TILES] for panel in panels]
    columns = max(1, min(_COLUMNS, max(len(pictures) for pictures in shown)))
    cell = min((_WIDTH_IN - 2 * _MARGIN_IN) / (columns - _GAP), 1.2)
    rows = [ceil(len(pictures) / columns) for pictures in shown]
    bar_um = max(um for um in _BARS_UM if um <= max(side_um / 2, _BARS_UM[0]))
    said = f"{caption} Scale bar, in the first tile of each panel: {bar_um} µm."
    lines = textwrap.wrap(said, _CAPTION_CHARS, break_on_hyphens=False)
    below = (len(lines) + 1) * _LINE_IN
    height = _MARGIN_IN + sum(_HEAD_IN + n * cell + _SPACE_IN for n in rows) + below
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, height), dpi=300)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, _WIDTH_IN), ylim=(height, 0))
        axes.set_axis_off()
        top = _MARGIN_IN
        for panel, pictures, n in zip(panels, shown, rows, strict=True):
            _draw_head(axes, panel, top)
            top += _HEAD_IN
            for place, picture in enumerate(pictures):
                row, column = divmod(place, columns)
                left = _MARGIN_IN + column * cell
                _draw_tile(axes, picture, left, top + row * cell, cell * (1 - _GAP))
            if pictures:
                _draw_bar(axes, top, cell * (1 - _GAP), bar_um / side_um)
            top += n * cell + _SPACE_IN
        for number, line in enumerate(lines):
            # A name with dollars is not mathematics.
            axes.text(
                _MARGIN_IN, top + number * _LINE_IN, line, fontsize=7, va="top", color="#333333",
                parse_math=False,
            )  # fmt: skip
        return {kind: _saved(figure, kind) for kind in ("png", "pdf")}


def _draw_head(axes: Any, panel: Panel, top: float) -> None:
    axes.text(
        _MARGIN_IN, top + 0.04, panel.title, fontsize=9, fontweight="bold", va="top", color="black",
        parse_math=False,
    )  # fmt: skip
    width = _WIDTH_IN - 2 * _MARGIN_IN
    axes.add_patch(
        Rectangle((_MARGIN_IN, top + 0.215), width, 0.025, color=panel.colour, linewidth=0)
    )


def _draw_tile(axes: Any, picture: NDArray[np.uint8], left: float, top: float, side: float) -> None:
    axes.imshow(picture, extent=(left, left + side, top + side, top), aspect="auto")


def _draw_bar(axes: Any, top: float, side: float, share: float) -> None:
    """Draw a black bar on white, which is seen on any tissue."""
    length, thick, margin = share * side, 0.035, 0.05
    left, bottom = _MARGIN_IN + margin, top + side - margin
    axes.add_patch(
        Rectangle(
            (left - 0.015, bottom - thick - 0.015), length + 0.03, thick + 0.03,
            facecolor="white", linewidth=0, zorder=5,
        )
    )  # fmt: skip
    axes.add_patch(
        Rectangle((left, bottom - thick), length, thick, facecolor="black", linewidth=0, zorder=6)
    )


def _saved(figure: Figure, kind: str) -> bytes:
    out = BytesIO()
    metadata: dict[str, None] = {"CreationDate": None} if kind == "pdf" else {}
    # a PDF holds the crops' own pixels; a PNG shows them smaller, so they are averaged
    for image in figure.axes[0].images:
        image.set_interpolation("none" if kind == "pdf" else "lanczos")
    with warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; the tables say it too.
        warnings.filterwarnings("ignore", "Glyph ")
        figure.savefig(out, format=kind, metadata=metadata)
    return out.getvalue()
