"""Which tiles of a slide are encoded, and in which colours."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from qupath_hccmil.qupath.selection import TUMOUR_CLASSES
from qupath_hccmil.tiles.tile_plan import TileChoice

Stain = Literal["vahadane", "none"]


@dataclass(frozen=True)
class FeatureSettings(TileChoice):
    """Settings that affect features; all of them are written into the files.

    Attributes
    ----------
    annotation_classes : tuple of str
        Classes of tumour outlines, case-insensitive; derived classes are included.
    stain : {"vahadane", "none"}
        ``vahadane`` normalises each slide as `score` does it; ``none`` leaves its colours.
    mpp, min_inside, max_tiles, seed
        See :class:`~qupath_hccmil.tiles.tile_plan.TileChoice`.
    """

    annotation_classes: Annotated[tuple[str, ...], Field(min_length=1)] = TUMOUR_CLASSES
    stain: Stain = "vahadane"

    @property
    def facts(self) -> dict[str, Any]:
        """What determines features, apart from the outlines; as plain data."""
        facts = asdict(self)
        # What the classes select are outlines, which are known by their fingerprint.
        del facts["annotation_classes"]
        if self.max_tiles is None:
            del facts["seed"]
        return facts
