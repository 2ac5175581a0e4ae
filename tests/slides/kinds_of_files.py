"""Small files of every kind that readers show in different ways."""

from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms

from tests.drawn_slides import texture

PIXELS = texture(210, 180)
GREY = PIXELS[..., 0]
ALPHA = np.tile(np.linspace(0, 255, 210).astype(np.uint8), (180, 1))
RGBA = np.dstack([PIXELS, ALPHA])
TILE = {"tile": (64, 64)}


def tiff(path: Path, pixels: np.ndarray = PIXELS, **how: object) -> Path:
    tifffile.imwrite(path, pixels, **{"photometric": "rgb", **how})
    return path


def oriented(path: Path, orientation: int, pixels: np.ndarray = PIXELS, **how: object) -> Path:
    return tiff(path, pixels, extratags=[(274, "H", 1, orientation, True)], **how)


def pages(path: Path, *pixels: np.ndarray, **how: object) -> Path:
    with tifffile.TiffWriter(path) as file:
        for page in pixels:
            file.write(page, photometric="rgb", metadata=None, **how)
    return path


def ome(path: Path, *images: np.ndarray, levels: int = 1, **how: object) -> Path:
    """Write an OME-TIFF with sub-resolutions as QuPath exports it."""
    with tifffile.TiffWriter(path, ome=True) as file:
        for image in images:
            file.write(image, photometric="rgb", subifds=levels - 1, **TILE,
                       metadata={"axes": "YXS"}, **how)  # fmt: skip
            for level in range(1, levels):
                step = 2**level
                smaller = np.ascontiguousarray(image[::step, ::step])
                file.write(smaller, photometric="rgb", subfiletype=1, **TILE, **how)
    return path


def image(path: Path, pixels: np.ndarray = PIXELS, mode: str | None = None, **how: object) -> Path:
    picture = Image.fromarray(pixels)
    (picture if mode is None else picture.convert(mode)).save(path, **how)
    return path


def palette(path: Path, **how: object) -> Path:
    Image.fromarray(PIXELS).quantize(32).save(path, **how)
    return path


def png_of_16_bits(path: Path) -> Path:
    path.write_bytes(imagecodecs.png_encode(PIXELS.astype(np.uint16) * 257))
    return path


def profile(*, swapped: bool) -> bytes:
    """Return the profile of sRGB, or one that calls its red blue."""
    found = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    if swapped:
        at = {bytes(found[k : k + 4]): k + 4 for k in range(132, 132 + 12 * found[131], 12)}
        red, blue = at[b"rXYZ"], at[b"bXYZ"]
        found[red : red + 8], found[blue : blue + 8] = found[blue : blue + 8], found[red : red + 8]
    return bytes(found)
