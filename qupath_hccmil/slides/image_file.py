"""An ordinary image (PNG, JPEG, TIFF) as a slide of one level, read through Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from qupath_hccmil.errors import SlideError
from qupath_hccmil.slides.slide import PyramidSlide

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_EIGHT_BIT = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")


class ImageFile(PyramidSlide):
    """An ordinary image, decoded once and kept in memory as RGB.

    It has no pixel size: QuPath takes none from such files either, but keeps the one that the user
    sets. A JPEG's EXIF orientation is ignored, as QuPath ignores it.

    Parameters
    ----------
    path : Path
    series : int
        Page of a TIFF with several.
    """

    levels = (1.0,)
    mpp = None

    def __init__(self, path: Path, *, series: int = 0) -> None:
        self.path = path
        self._image = _decode(path, series)
        self.width, self.height = self._image.size

    def close(self) -> None:
        """Let go of the pixels."""
        self._image.close()

    def _block(
        self,
        level: int,
        left: int,
        top: int,
        width: int,
        height: int,
    ) -> Image.Image:
        box = (left, top, left + width, top + height)
        if left >= 0 and top >= 0 and box[2] <= self.width and box[3] <= self.height:
            return self._image.crop(box)
        inside = (max(left, 0), max(top, 0), min(box[2], self.width), min(box[3], self.height))
        white = Image.new("RGB", (width, height), "white")
        if inside[0] < inside[2] and inside[1] < inside[3]:
            white.paste(self._image.crop(inside), (inside[0] - left, inside[1] - top))
        return white


def _decode(path: Path, series: int) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow warns of images over 89 megapixels, which are ordinary here, and refuses
            # those over 179, which belong into a pyramid.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # Of a TIFF that is cut short, a slide's too, it shows what is left: counting the pages
            # tells, by this warning.
            warnings.filterwarnings("error", "Corrupt EXIF data|Truncated File Read", UserWarning)
            with Image.open(path) as image:
                if series >= getattr(image, "n_frames", 1):
                    raise SlideError(f"{path}: no series {series} in this image")
                image.seek(series)
                return _to_rgb(image, path)
    except Image.DecompressionBombError as error:
        raise SlideError(
            f"{path}: too large for an image without tiles: convert it to a pyramidal TIFF "
            f"(QuPath: Export images > OME TIFF); {error}"
        ) from error
    except UnidentifiedImageError as error:
        raise SlideError(
            f"{path}: not an image that OpenSlide or Pillow can read, or truncated"
        ) from error
    except (OSError, ValueError, SyntaxError, UserWarning) as error:
        raise SlideError(f"{path}: damaged or truncated image: {error}") from error


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode in _SIXTEEN_BIT:
        high_bytes = (np.asarray(image) >> 8).astype(np.uint8)
        return Image.fromarray(high_bytes).convert("RGB")
    if image.mode not in _EIGHT_BIT:
        raise SlideError(
            f"{path}: pixels of type {image.mode} are not colours: convert the image to 8-bit RGB"
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image.convert("RGB")
