"""Folders of H&E images and nuclei masks: which belong together, and reading them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from qupath_hccmil.errors import DataError

SUFFIXES = (".png", ".tif", ".tiff", ".webp", ".jpg", ".jpeg", ".bmp")
# What Pillow and tifffile raise for files that are damaged or something else.
_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    tifffile.TiffFileError,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class ImagePair:
    """An image and its nuclei mask."""

    image: Path
    mask: Path

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.image.stem


def find_pairs(images: Path, masks: Path) -> tuple[list[ImagePair], list[str]]:
    """Pair the images of one folder with the masks of another by file name without suffix.

    Parameters
    ----------
    images, masks : Path
        Folders, not searched deeper.

    Returns
    -------
    pairs : list of ImagePair
        Sorted by name.
    unused : list of str
        One line for every image without a mask and every mask without an image.

    Raises
    ------
    DataError
        A folder doesn't exist, or there is no pair.
    """
    found_images, found_masks = _by_stem(images), _by_stem(masks)
    pairs = [
        ImagePair(found_images[stem], found_masks[stem])
        for stem in sorted(found_images.keys() & found_masks.keys())
    ]
    if not pairs:
        raise DataError(
            f"{images}: no image has a mask of the same name in {masks}; "
            f"give two folders of {', '.join(SUFFIXES)} files"
        )
    unused = [
        f"{found_images[stem]}: no mask" for stem in sorted(found_images.keys() - found_masks)
    ]
    unused += [
        f"{found_masks[stem]}: no image" for stem in sorted(found_masks.keys() - found_images)
    ]
    return pairs, unused


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image as RGB.

    Palette and grey images are converted, 16-bit ones scaled from their full range, and
    transparent pixels laid on white.

    Returns
    -------
    (h, w, 3) uint8

    Raises
    ------
    DataError
        The file can't be read as an image.
    """
    with _open(path) as image:
        if image.mode.startswith(("I", "F")):
            grey = np.asarray(image, dtype=np.float64)
            full = 65535.0 if grey.max() > 255 else 255.0
            return np.repeat((grey * 255 / full).round().astype(np.uint8)[..., None], 3, axis=2)
        if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return np.asarray(image.convert("RGB"))


def read_mask(path: Path) -> NDArray[np.int32]:
    """Read a mask: 0 is background, anything else nuclei.

    Instance labels of any integer type are kept; a colour mask counts as nuclei wherever it
    isn't black.

    Returns
    -------
    (h, w) int32

    Raises
    ------
    DataError
        The file can't be read as an image.
    """
    with _open(path) as image:
        if image.mode in ("RGB", "RGBA"):
            return (np.asarray(image)[..., :3].max(axis=2) > 0).astype(np.int32)
        if image.mode == "LA":
            image = image.convert("L")
        return np.asarray(image).astype(np.int32)


def read_pair(pair: ImagePair) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Read an image and its mask, which must be of one size.

    Raises
    ------
    DataError
        One can't be read, or the sizes differ.
    """
    image, mask = read_image(pair.image), read_mask(pair.mask)
    if image.shape[:2] != mask.shape:
        raise DataError(
            f"{pair.mask}: {mask.shape[1]}×{mask.shape[0]} px, but its image is "
            f"{image.shape[1]}×{image.shape[0]} px"
        )
    return image, mask


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            if path.stem in files:
                raise DataError(f"{path}: same name as {files[path.stem].name}; keep one")
            files[path.stem] = path
    return files


def _open(path: Path) -> Image.Image:
    try:
        image = _decode(path)
        image.load()
    except (
        OSError,
        ValueError,
        SyntaxError,
        tifffile.TiffFileError,
        Image.DecompressionBombError,
    ) as error:
        raise DataError(f"{path}: not a readable image ({error})") from error
    return image


def _decode(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        # Pillow knows no TIFF of 16 bits a colour.
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise
        pixels = tifffile.imread(path)
        if pixels.dtype != np.uint16 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
            raise
        return Image.fromarray((pixels // 257).astype(np.uint8))
