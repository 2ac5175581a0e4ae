"""The size of a tile, in µm and in the model's pixels: the only place that states it."""

from __future__ import annotations

from dataclasses import dataclass


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

    tile_um: float = 128.0
    tile_px: int = 224

    @property
    def mpp(self) -> float:
        """µm of a pixel that the networks see."""
        return self.tile_um / self.tile_px
