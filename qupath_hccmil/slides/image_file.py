"""An ordinary image (PNG, JPEG, TIFF) as a slide of one level, read through Pillow."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from PIL import Image, ImageCms, TiffImagePlugin, UnidentifiedImageError

from qupath_hccmil.errors import SlideError
from qupath_hccmil.slides.slide import PyramidSlide

_ORIENTATION = 274
# none, CCITT (2 to 4), LZW, JPEG (6 and 7), deflate (8 and 32946) and PackBits
_TIFF_6 = {*range(1, 9), 32773, 32946}
_FLIP_X, _FLIP_Y = Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM
# Undoes what Pillow does to a TIFF with that orientation.
_TURNED_BACK = {
    2: _FLIP_X,
    3: Image.Transpose.ROTATE_180,
    4: _FLIP_Y,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
# Grey levels by which two descriptions of sRGB may differ.
_ROUNDING = 2
_FORMATS = ("PNG", "JPEG", "BMP")
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_EIGHT_BIT = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")


class ImageFile(PyramidSlide):
    """An ordinary image, decoded once and kept in memory as RGB.

    It has no pixel size: QuPath does not read one from such files either, but keeps the one that
    the user sets. Orientation tags of EXIF or TIFF are ignored, as in QuPath. Only the first page
    of a TIFF is used.

    Parameters
    ----------
    path : Path
    like : {"", "bioformats", "imagej"}
        Accept only images that this reader shows as RGB, and show the same pixels. Without it,
        16 bits become 8, grey and palettes become RGB, and transparent pixels become white.
    """

    levels = (1.0,)
    mpp = None

    def __init__(self, path: Path, *, like: Literal["", "bioformats", "imagej"] = "") -> None:
        self.path = path
        self._image = _decode(path, like)
        self.width, self.height = self._image.size

    def close(self) -> None:
        """Release the pixels."""
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


def _decode(path: Path, like: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow warns about images over 89 megapixels, which are ordinary here, and refuses
            # those over 179, which belong into a pyramid.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # For a truncated TIFF (a slide too) Pillow shows what is left, but counting the pages
            # gives this warning.
            warnings.filterwarnings("error", "Corrupt EXIF data|Truncated File Read", UserWarning)
            with Image.open(path) as image:
                getattr(image, "n_frames", 1)
                if like:
                    _require_rgb(image, path, like)
                turned = _TURNED_BACK.get(_orientation(image))
                rgb = _to_rgb(image, path)
                return rgb if turned is None else rgb.transpose(turned)
    except Image.DecompressionBombError as error:
        raise SlideError(
            f"{path}: is too large for an image without tiles; convert it to a pyramidal TIFF "
            f"(QuPath: Export images > OME TIFF): {error}"
        ) from error
    except UnidentifiedImageError as error:
        raise SlideError(
            f"{path}: is not an image that OpenSlide or Pillow can read, or is truncated"
        ) from error
    except (OSError, ValueError, SyntaxError, UserWarning) as error:
        raise SlideError(f"{path}: damaged or truncated image: {error}") from error


def pillow_decodes(page: tifffile.TiffPage) -> bool:
    """Whether Pillow decodes the compression of a TIFF page, whichever build of it is used."""
    return int(page.compression) in _TIFF_6


def _orientation(image: Image.Image) -> int:
    """Orientation by which Pillow turns a TIFF when it decodes it; it turns no other file."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1
    return int(image.tag_v2.get(_ORIENTATION, 1))


def _require_rgb(image: Image.Image, path: Path, like: str) -> None:
    """Refuse images that Bio-Formats or ImageJ do not show as RGB, or may not."""
    kind = f"{image.format}, {image.mode}"
    sixteen = any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    shown = image.mode in ("RGB", "RGBA") and "transparency" not in image.info
    if like == "imagej":
        shown |= image.mode == "P" and "transparency" in image.info
    if image.format not in _FORMATS or sixteen or not shown:
        raise SlideError(
            f"{path}: QuPath may not show it as an RGB image ({kind}"
            f"{', 16 bits' if sixteen else ''}); convert it to an 8-bit RGB PNG and add that"
        )
    if (
        like == "bioformats"
        and image.mode == "RGBA"
        and image.getchannel("A").getextrema() != (255, 255)
    ):
        raise SlideError(
            f"{path}: is partly transparent, and it is not certain what QuPath shows there; remove "
            "its alpha channel and add the image again"
        )
    profile = image.info.get("icc_profile")
    if like == "bioformats" and image.format == "JPEG" and profile and _recolours(profile):
        raise SlideError(
            f"{path}: has a colour profile that Bio-Formats applies; convert the image to sRGB and "
            "add that to the project"
        )


def _is_opaque(image: Image.Image) -> bool:
    return image.mode != "RGBA" or image.getchannel("A").getextrema() == (255, 255)


def _recolours(profile: bytes) -> bool:
    """Whether a colour profile changes colours compared with sRGB."""
    levels = np.arange(0, 256, 51, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    try:
        given = ImageCms.ImageCmsProfile(BytesIO(profile))
        shown = ImageCms.profileToProfile(
            Image.fromarray(colours), given, ImageCms.createProfile("sRGB")
        )
    except (OSError, ImageCms.PyCMSError):
        return True
    return shown is None or bool((abs(np.asarray(shown, int) - colours) > _ROUNDING).any())


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode in _SIXTEEN_BIT:
        high_bytes = (np.asarray(image) >> 8).astype(np.uint8)
        return Image.fromarray(high_bytes).convert("RGB")
    if image.mode not in _EIGHT_BIT:
        raise SlideError(
            f"{path}: pixels of type {image.mode} are not colours; convert the image to 8-bit RGB"
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image.convert("RGB")
