"""Slides that OpenSlide reads: scanner formats and tiled TIFF."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import openslide
import tifffile
from PIL import Image

from qupath_hccmil.errors import SlideError
from qupath_hccmil.slides.jpeg_tiles import jpeg_tiles
from qupath_hccmil.slides.slide import PyramidSlide
from qupath_hccmil.slides.tiff_file import compression, first_page

_BOUNDS = tuple(f"openslide.bounds-{name}" for name in ("x", "y", "width", "height"))
_COLOUR = re.compile("#?[0-9A-Fa-f]{6}")
# Properties that name a scanner, or else its model: those of Aperio, Hamamatsu, Ventana, Leica and
# 3DHISTECH, and of TIFF in general.
_SCANNERS = (
    "aperio.ScanScope ID", "hamamatsu.NDP.S/N", "ventana.UnitNumber", "leica.device-model",
    "mirax.GENERAL.SLIDE_SCANNER_SERIAL", "hamamatsu.Product", "tiff.Model", "tiff.Make",
)  # fmt: skip
_MPP = (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)


class OpenSlideFile(PyramidSlide):
    """A slide read with OpenSlide, in the coordinates of QuPath's OpenSlide server.

    All threads share one handle: OpenSlide locks only its tile cache, and a shared cache decodes
    each tile of the file once. The pixel size is the one that OpenSlide states, which for a plain
    tiled TIFF comes from its resolution tags.

    Parameters
    ----------
    path : Path
    crop_to_bounds : bool
        Start at the scanned area if the format states one (MIRAX), as QuPath does unless its
        server has the argument ``--no-crop``.
    """

    def __init__(self, path: Path, *, crop_to_bounds: bool = True) -> None:
        try:
            self._file = openslide.OpenSlide(path)
        except openslide.OpenSlideUnsupportedFormatError as error:
            raise SlideError(f"{path}: is not a slide that OpenSlide can read") from error
        except openslide.OpenSlideError as error:
            raise SlideError(_reason(path, str(error))) from error
        properties = self._file.properties
        bounds = _bounds(properties) if crop_to_bounds else None
        self._left, self._top, self.width, self.height = bounds or (0, 0, *self._file.dimensions)
        self.path = path
        self._background = _background(properties)
        self._unknown_alpha = _has_unknown_alpha(path)
        self.levels = tuple(self._file.level_downsamples)
        self.mpp = _mpp(properties)
        self.magnification = _magnification(properties)
        self.scanner = _scanner(properties)
        vendor = properties.get(openslide.PROPERTY_NAME_VENDOR, "")
        self._direct = jpeg_tiles(path, vendor, self._file.level_dimensions)

    def close(self) -> None:
        """Close the file."""
        if self._direct is not None:
            self._direct.close()
        self._file.close()

    def _block(self, level: int, left: int, top: int, width: int, height: int) -> Image.Image:
        downsample = self.levels[level]
        # For fractional downsamples, OpenSlide shifts pixels by fractions of a pixel.
        if self._direct is not None and downsample == round(downsample):
            pixels = self._direct.read(level, left, top, width, height)
            if pixels is not None:
                return Image.fromarray(pixels)
        corner = (self._left + round(left * downsample), self._top + round(top * downsample))
        try:
            rgba = self._file.read_region(corner, level, (width, height))
        except openslide.OpenSlideError as error:
            raise SlideError(
                f"{self.path}: damaged or truncated slide: cannot read level {level} at "
                f"({corner[0]}, {corner[1]}): {error}"
            ) from error
        alpha = rgba.getchannel("A")
        if alpha.getextrema() == (255, 255):
            return rgba.convert("RGB")
        self._require_known_alpha()
        block = Image.new("RGB", rgba.size, "white")
        block.paste(self._background, self._on_slide(level, left, top, width, height))
        block.paste(rgba, mask=alpha)
        return block

    def _require_known_alpha(self) -> None:
        """Refuse a TIFF that does not say whether its colours are premultiplied by alpha."""
        if self._unknown_alpha:
            raise SlideError(
                f"{self.path}: is partly transparent, and its kind of transparency is not stated; "
                "remove its alpha channel and add the slide to the project again"
            )

    def _on_slide(
        self, level: int, left: int, top: int, width: int, height: int
    ) -> tuple[int, int, int, int]:
        """Part of a block that lies on the slide, as left, top, right, bottom."""
        right, bottom = (math.ceil(s / self.levels[level]) for s in (self.width, self.height))
        x, y = (min(max(-corner, 0), side) for corner, side in ((left, width), (top, height)))
        x1, y1 = min(max(right - left, x), width), min(max(bottom - top, y), height)
        return x, y, x1, y1


def _reason(path: Path, error: str) -> str:
    """Say why OpenSlide cannot open a file; one with an unknown compression is not damaged."""
    page = first_page(path) if "ompression" in error else None
    if page is None:
        return f"{path}: damaged or truncated slide: {error}"
    return (
        f"{path}: OpenSlide cannot decode {compression(page)}; convert it to a pyramidal TIFF "
        "(QuPath: Export images > OME TIFF)"
    )


def _has_unknown_alpha(path: Path) -> bool:
    page = first_page(path)
    return page is not None and tifffile.EXTRASAMPLE.UNSPECIFIED in page.extrasamples


def _background(properties: Mapping[str, str]) -> str:
    """Colour of transparent pixels: black if the file states none, as in QuPath."""
    stated = properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "")
    return f"#{stated.lstrip('#')}" if _COLOUR.fullmatch(stated) else "black"


def _bounds(properties: Mapping[str, str]) -> tuple[int, int, int, int] | None:
    try:
        x, y, width, height = (int(properties[name]) for name in _BOUNDS)
    except (KeyError, ValueError):
        return None
    return x, y, width, height


def _magnification(properties: Mapping[str, str]) -> float | None:
    try:
        value = float(properties[openslide.PROPERTY_NAME_OBJECTIVE_POWER])
    except (KeyError, ValueError):
        return None
    return value if math.isfinite(value) and value > 0 else None


def _scanner(properties: Mapping[str, str]) -> str:
    named = (properties.get(name, "").strip() for name in _SCANNERS)
    return next((name for name in named if name), "")


def _mpp(properties: Mapping[str, str]) -> tuple[float, float] | None:
    try:
        x, y = (float(properties[name]) for name in _MPP)
    except (KeyError, ValueError):
        return None
    return (x, y) if all(math.isfinite(value) and value > 0 for value in (x, y)) else None
