"""Folders of H&E images and nuclei masks: pairing and reading them."""

from __future__ import annotations

import logging
import re
import struct
import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from qupath_hccmil.errors import DataError

SUFFIXES = (".png", ".tif", ".tiff", ".webp", ".jpg", ".jpeg", ".bmp")
_TIFF = (".tif", ".tiff")
# Errors that Pillow, tifffile and its codecs raise for files that are damaged or not images.
_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    LookupError,
    TypeError,
    RuntimeError,
    MemoryError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
# Suffix that annotation programs append to the name of an image for its mask.
_OF_MASK = re.compile(r"[-_. ](mask|label)s?$", re.IGNORECASE)
_LARGEST_LABEL = np.iinfo(np.int32).max
# The same limit as in Pillow: a larger size means a damaged header.
_MOST_PIXELS = 179_000_000
# Its message about a damaged file is in our line; without a handler it would also be printed.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class ImagePair:
    """An image and its nuclei mask."""

    image: Path
    mask: Path

    @property
    def name(self) -> str:
        """File name of the image without suffix."""
        return image_name(self.image)


def image_name(path: Path) -> str:
    """File name of an image without suffix, independent of how the system encodes accents."""
    name = path.stem if path.suffix.lower() in SUFFIXES else path.name
    return unicodedata.normalize("NFC", name)


def find_pairs(images: Path, masks: Path) -> tuple[list[ImagePair], list[str]]:
    """Pair the images of one folder with the masks of another by file name without suffix.

    The name of a mask may end in ``_mask`` or ``_label`` (or a plural). Hidden files are ignored.

    Parameters
    ----------
    images, masks : Path
        Folders, without their subfolders.

    Returns
    -------
    pairs : list of ImagePair
        Sorted by name.
    unused : list of str
        One line for everything else in the folders, with the reason.

    Raises
    ------
    DataError
        A folder does not exist, both are the same, or there is no pair.
    """
    found_images, unused = _by_stem(images)
    found_masks, unusable_masks = _by_stem(masks)
    if images.samefile(masks):
        raise DataError(f"{images}: given for both images and masks; put masks into another folder")
    for stem in sorted(found_masks.keys() - found_images):
        name = _OF_MASK.sub("", stem)
        if name in found_images and name not in found_masks:
            found_masks[name] = found_masks.pop(stem)
    pairs = [
        ImagePair(found_images[stem], found_masks[stem])
        for stem in sorted(found_images.keys() & found_masks.keys())
    ]
    if not pairs:
        raise DataError(
            f"{images}: no image has a mask of the same name in {masks}; "
            f"give two folders with {', '.join(SUFFIXES)} files"
        )
    unused += unusable_masks
    unused += [
        f"{found_images[stem]}: has no mask" for stem in sorted(found_images.keys() - found_masks)
    ]
    unused += [
        f"{found_masks[stem]}: has no image" for stem in sorted(found_masks.keys() - found_images)
    ]
    return pairs, unused


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image as RGB, rotated according to its EXIF data.

    Palette, CMYK and grey images are converted, and transparent pixels become white. Values of more
    than 8 bits are scaled from the narrowest range that contains them: 8, 12 or 16 bits, or 1 for
    floats.

    Returns
    -------
    (h, w, 3) uint8

    Raises
    ------
    DataError
        The file can't be read as an image.
    """
    image = _open(path)
    if isinstance(image, np.ndarray):
        colour = _to_bytes(image[..., :3] if image.shape[2] >= 3 else image[..., :1], path)
        colour = np.broadcast_to(colour, (*colour.shape[:2], 3))
        if image.shape[2] != 4:
            return np.ascontiguousarray(colour)
        image = Image.fromarray(np.dstack([colour, _to_bytes(image[..., 3:], path)]))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image from its header, before any rotation by EXIF data.

    Raises
    ------
    DataError
        The file can't be read as an image.
    """
    try:
        if path.suffix.lower() in _TIFF:
            with tifffile.TiffFile(path) as file:
                page = file.pages.first
                return page.imagewidth, page.imagelength
        with Image.open(path) as image:
            return image.size
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def read_mask(path: Path) -> NDArray[np.int32]:
    """Read a mask: 0, black and transparent are background, everything else is nuclei.

    Instance labels of any type are kept. A palette without black has its background at index 0. In
    files with lossy compression, pixels brighter than half of white are nuclei.

    Returns
    -------
    (h, w) int32

    Raises
    ------
    DataError
        The file cannot be read as an image, or has fractions or negative numbers.
    """
    image = _open(path)
    if isinstance(image, np.ndarray):
        return _labels(image[..., :3].max(axis=2), path)
    if _is_lossy(image, path):
        return (np.asarray(image.convert("L")) > 127).astype(np.int32)
    if image.mode == "P":
        labels = _of_palette(image)
    elif image.mode in ("1", "L"):
        labels = np.asarray(image).astype(np.int32)
    else:
        labels = (np.asarray(image.convert("RGB")).max(axis=2) > 0).astype(np.int32)
    if image.has_transparency_data:
        labels[np.asarray(image.convert("RGBA"))[..., 3] == 0] = 0
    return labels


def read_pair(pair: ImagePair) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Read an image and its mask, which must have the same size.

    Raises
    ------
    DataError
        One of them cannot be read, or the sizes differ.
    """
    image, mask = read_image(pair.image), read_mask(pair.mask)
    if image.shape[:2] != mask.shape:
        raise DataError(
            f"{pair.mask}: {mask.shape[1]}×{mask.shape[0]} px, but its image is "
            f"{image.shape[1]}×{image.shape[0]} px"
        )
    return image, mask


def _by_stem(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return image files by name, and a line for everything else."""
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder")
    files: dict[str, list[Path]] = {}
    unused = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            unused.append(f"{path}: is a folder; subfolders are not searched")
        elif path.suffix.lower() in SUFFIXES:
            files.setdefault(image_name(path), []).append(path)
        else:
            unused.append(f"{path}: is not one of {', '.join(SUFFIXES)}")
    for same in files.values():
        if len(same) > 1:
            names = " and ".join(path.name for path in same)
            unused.append(f"{same[0].parent}: {names} have the same name; keep one")
    return {stem: same[0] for stem, same in files.items() if len(same) == 1}, unused


def _open(path: Path) -> Image.Image | NDArray[np.generic]:
    """Decode a file: an image with up to 8 bits, or values ``(h, w, channels)`` with more bits."""
    try:
        deep = _deep_tiff(path) if path.suffix.lower() in _TIFF else None
        if deep is not None:
            return deep
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            # These are not copied with the image, and say whether the compression is lossy.
            image.format, image.info = opened.format, opened.info
        if image.mode.startswith(("I", "F")):
            return np.asarray(image)[..., None]
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    return image


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"{path}: not a readable image ({reason})")


def _deep_tiff(path: Path) -> NDArray[np.generic] | None:
    """First page of a TIFF with more than 8 bits, which Pillow reads only partly or wrongly."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        if page.bitspersample <= 8:
            return None
        kinds = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
        if page.photometric not in kinds or page.ndim not in (2, 3):
            raise ValueError(f"{page.photometric.name} of {page.bitspersample} bits, {page.axes}")
        if page.imagewidth * page.imagelength > _MOST_PIXELS:
            raise ValueError(f"{page.imagewidth}×{page.imagelength} px")
        values = page.asarray()
    if values.ndim == 2:
        return values[..., None]
    return values if page.axes.endswith("S") else np.moveaxis(values, 0, 2)


def _to_bytes(values: NDArray[np.generic], path: Path) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    ranges = (1.0, 255.0, 4095.0, 65535.0) if values.dtype.kind == "f" else (255.0, 4095.0, 65535.0)
    # Not the other way round: NaN fails both comparisons.
    full = next((full for full in ranges if low >= 0 and high <= full), None)
    if full is None:
        raise DataError(
            f"{path}: has values from {low:g} to {high:g}; save it with 8 or 16 bits per channel"
        )
    return np.rint(values.astype(np.float32) * np.float32(255 / full)).astype(np.uint8)


def _labels(values: NDArray[np.generic], path: Path) -> NDArray[np.int32]:
    low, high = float(values.min()), float(values.max())
    # Not the other way round: NaN fails both comparisons.
    if not (low >= 0 and high < np.inf) or (values.dtype.kind == "f" and (values % 1).any()):
        raise DataError(
            f"{path}: the mask has values from {low:g} to {high:g}; it must have whole numbers, "
            "with 0 for background"
        )
    if high > _LARGEST_LABEL:
        # Labels that are too large are renumbered, background first.
        return np.searchsorted(np.union1d([0], values), values).astype(np.int32)
    return values.astype(np.int32)


def _of_palette(image: Image.Image) -> NDArray[np.int32]:
    index = np.asarray(image).astype(np.int32)
    palette = np.asarray(image.convert("RGB")).max(axis=2)
    black = palette == 0
    return np.where(black, 0, index + 1) if black.any() else index


def _is_lossy(image: Image.Image, path: Path) -> bool:
    if image.format == "WEBP":
        with path.open("rb") as file:
            return file.read(16)[12:] == b"VP8 "
    return image.format == "JPEG" or image.info.get("compression") == "jpeg"
