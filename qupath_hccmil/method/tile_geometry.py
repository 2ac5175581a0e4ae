"""The size of a tile: its side in µm on the slide and in pixels for the networks."""

from __future__ import annotations

from dataclasses import dataclass

from qupath_hccmil.method.published_numbers import TILE_PX, TILE_UM


@dataclass(frozen=True)
class TileGeometry:
    """A square tile.

    Attributes
    ----------
    tile_um : float
        Side on the slide, µm.
    tile_px : int
        Side as the networks see it, px.

    Notes
    -----
    Liu et al. 2021: 512 px at 0.25 µm/px, resized to 224 px.
    """

    tile_um: float = TILE_UM
    tile_px: int = TILE_PX

    @property
    def mpp(self) -> float:
        """Size of a pixel as the networks see it, µm."""
        return self.tile_um / self.tile_px
