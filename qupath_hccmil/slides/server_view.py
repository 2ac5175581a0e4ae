"""A slide as QuPath shows it through a cropped, rotated or flipped server."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qupath_hccmil.slides.slide import Box, Slide


class SlideView(Slide):
    """A part of a slide, rotated clockwise and then mirrored; closing it closes the slide.

    Views can be nested like QuPath's servers: a rotated crop is a view of a view.

    Parameters
    ----------
    slide : Slide
    region : (x, y, width, height) of int, optional
        The part to show, in level-0 px of `slide`; the whole slide by default.
    degrees : int
        Clockwise rotation after the crop: 0, 90, 180 or 270 (QuPath's ``ROTATE_90`` and so on).
    flip : {"", "HORIZONTAL", "VERTICAL", "BOTH"}
        Mirroring after the rotation, as QuPath names it: ``HORIZONTAL`` swaps left and right.
    """

    def __init__(
        self,
        slide: Slide,
        region: tuple[int, int, int, int] | None = None,
        degrees: int = 0,
        flip: str = "",
    ) -> None:
        if degrees not in (0, 90, 180, 270):
            raise ValueError(f"degrees is {degrees}, but must be 0, 90, 180 or 270")
        if flip not in ("", "HORIZONTAL", "VERTICAL", "BOTH"):
            raise ValueError(f"flip is {flip}, but must be HORIZONTAL, VERTICAL or BOTH")
        self._mirror_x = flip in ("HORIZONTAL", "BOTH")
        self._mirror_y = flip in ("VERTICAL", "BOTH")
        self._slide = slide
        self._region = region or (0, 0, slide.width, slide.height)
        self._turns = degrees // 90
        self.path = slide.path
        self.levels = slide.levels
        lying = self._turns % 2 == 1
        width, height = self._region[2:]
        self.width, self.height = (height, width) if lying else (width, height)
        self.mpp = slide.mpp[::-1] if slide.mpp and lying else slide.mpp

    def close(self) -> None:
        """Close the underlying slide."""
        self._slide.close()

    def _resample(self, box: Box, size: tuple[int, int], downsample: float) -> NDArray[np.uint8]:
        in_slide = size[::-1] if self._turns % 2 else size
        pixels = self._slide._resample(self._in_slide(box), in_slide, downsample)
        turned = np.rot90(pixels, -self._turns)
        rows, columns = -1 if self._mirror_y else 1, -1 if self._mirror_x else 1
        return np.ascontiguousarray(turned[::rows, ::columns])

    def _in_slide(self, box: Box) -> Box:
        """Rectangle of the slide that corresponds to a rectangle of the view."""
        x, y, width, height = box
        x = self.width - x - width if self._mirror_x else x
        y = self.height - y - height if self._mirror_y else y
        left, top, region_width, region_height = self._region
        boxes = (
            (x, y, width, height),
            (y, region_height - x - width, height, width),
            (region_width - x - width, region_height - y - height, width, height),
            (region_width - y - height, x, height, width),
        )
        x, y, width, height = boxes[self._turns]
        return left + x, top + y, width, height
