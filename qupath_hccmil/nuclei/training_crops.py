"""Training images of the nuclei network: sources, their pixel size, groups, and random crops."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qupath_hccmil.errors import DataError
from qupath_hccmil.model_store.model_folder import file_sha256
from qupath_hccmil.nuclei.augment import augment
from qupath_hccmil.nuclei.image_mask_folders import find_pairs, image_name, read_pair
from qupath_hccmil.plain_words import count_of
from qupath_hccmil.stain.colour import luminosity_percentile, standardise_luminosity

# Median equivalent diameter of nuclei in mixed tissue: 23.5 px at 0.25 µm/px in 40× slides.
NUCLEUS_UM = 6.0
# Finest resolution at which images are kept, which limits memory; the model's is 0.571.
FINEST_MPP = 0.18
SCALE_JITTER = (0.7, 1.5)


@dataclass(frozen=True)
class Source:
    """A folder of images and a folder of masks with the same pixel size.

    Attributes
    ----------
    images, masks : Path
        Paired by file name.
    mpp : float or None
        µm/px. None if it is unknown or mixed: each image is then scaled so that its median nucleus
        measures `NUCLEUS_UM`.
    groups : mapping of str to str
        For each image name its group (organ, slide, patient). The images of a group are never split
        between training and validation. Without groups, every image is its own group.
    weight : float
        How often crops are drawn from this source, relative to the other sources.
    name : str
        See `Sample.source`.
    """

    images: Path
    masks: Path
    mpp: float | None
    groups: Mapping[str, str] = field(default_factory=dict)
    weight: float = 1.0
    name: str = ""


@dataclass(frozen=True)
class Sample:
    """One image in memory.

    Attributes
    ----------
    rgb : (h, w, 3) uint8
        Luminosity-standardised.
    mask : (h, w) bool
    mpp : float
        µm/px.
    weight : float
        Relative chance of being drawn.
    source : str
        Who outlined its nuclei. Annotators draw the border of a nucleus differently, which a
        training on several sources can take into account.
    pixels : str
        SHA-256 of the image's file, by which a training knows that an image is still the same. It
        is that of the file, because standardised pixels may differ between machines.
    """

    name: str
    group: str
    rgb: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    mpp: float
    weight: float
    source: str = ""
    pixels: str = ""


def read_groups(path: Path, image_column: str, group_column: str) -> dict[str, str]:
    """Read a table of image names, with or without suffix, and their groups.

    Returns
    -------
    dict of str to str
        For each image name without suffix, as in `ImagePair.name`, its group.

    Raises
    ------
    DataError
        The file or one of the columns is missing, a row lacks a value, or an image is of two
        groups.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such table of groups")
    groups: dict[str, str] = {}
    try:
        # Spreadsheets write a byte order mark before the name of the first column.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            for column in (image_column, group_column):
                if column not in columns:
                    raise DataError(
                        f"{path}: has no column {column!r}; its columns: {', '.join(columns)}"
                    )
            for row in reader:
                # Spaces around a name would make two groups of one, on both sides of a split.
                image, group = ((row[c] or "").strip() for c in (image_column, group_column))
                if not image or not group:
                    raise DataError(f"{path}: line {reader.line_num} lacks an image or a group")
                name = image_name(Path(image))
                if groups.setdefault(name, group) != group:
                    raise DataError(
                        f"{path}: line {reader.line_num}: image {name!r} is of group {group!r}, "
                        f"and of {groups[name]!r} before; keep one"
                    )
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a CSV file in UTF-8 ({error})") from error
    return groups


def load_source(
    source: Source, prepare: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None
) -> tuple[list[Sample], list[str]]:
    """Read all images of a source, reduced to `FINEST_MPP` if they are finer.

    Parameters
    ----------
    source : Source
    prepare : callable, optional
        Colour standardisation of an image at its own resolution; by default `white_background`.

    Returns
    -------
    samples : list of Sample
    unused : list of str
        One line for each file that could not be used, with the reason.

    Raises
    ------
    DataError
        No image could be used.
    """
    unused: list[str] = []
    samples = [_bounded(sample) for sample in iterate_source(source, unused, prepare)]
    share = source.weight / len(samples)
    return [replace(sample, weight=share) for sample in samples], unused


def iterate_source(
    source: Source,
    unused: list[str],
    prepare: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
) -> Iterator[Sample]:
    """Read the images of a source one by one, each at its own resolution.

    Parameters
    ----------
    source : Source
    unused : list of str
        A line is added for each file that could not be used.
    prepare : callable, optional

    Raises
    ------
    DataError
        Raised at the end if no image could be used.
    """
    prepare = prepare or white_background
    pairs, alone = find_pairs(source.images, source.masks)
    unused += alone
    count = 0
    for pair in pairs:
        try:
            rgb, labels = read_pair(pair)
        except DataError as error:
            unused.append(str(error))
            continue
        mpp = source.mpp or mpp_from_nuclei(labels)
        group = source.groups.get(pair.name, pair.name)
        pixels = file_sha256(pair.image)
        yield Sample(
            pair.name, group, prepare(rgb), labels > 0, mpp, source.weight, source.name, pixels
        )
        count += 1
    if not count:
        raise DataError(
            f"{source.images}: none of the {len(pairs)} images can be used ({unused[-1]})"
        )


def white_background(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Standardise the luminosity of an image ``(h, w, 3)`` on its own."""
    pixels = rgb.reshape(-1, 3)
    full = max(luminosity_percentile(pixels), 1.0)
    return standardise_luminosity(pixels, full).reshape(rgb.shape)


def mpp_from_nuclei(labels: NDArray[np.int32]) -> float:
    """Estimate the pixel size of an image from its nuclei.

    Parameters
    ----------
    labels : (h, w) int32
        Instance labels, or a binary mask with connected parts as nuclei.

    Returns
    -------
    float
        µm/px, within 0.1–0.6: the value at which the median equivalent diameter is `NUCLEUS_UM`.
        0.25 if there is no nucleus to measure.
    """
    # Labels may be numbers of any size, so bincount is not used.
    areas = np.unique(labels[labels > 0], return_counts=True)[1]
    if len(areas) == 1:
        parts = cv2.connectedComponents((labels > 0).astype(np.uint8))[1]
        areas = np.bincount(parts.ravel())[1:]
    areas = areas[areas > 20]
    if not len(areas):
        return 0.25
    diameter = float(np.median(np.sqrt(4 * areas / np.pi)))
    return float(np.clip(NUCLEUS_UM / diameter, 0.1, 0.6))


def split_groups(
    samples: Sequence[Sample], held_out: Iterable[str] | float, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Split samples into training and validation by group.

    Parameters
    ----------
    samples : sequence of Sample
    held_out : iterable of str, or float
        Names of the groups to hold out, or the share of groups to hold out at random.
    seed : int

    Returns
    -------
    training, validation : list of Sample

    Raises
    ------
    DataError
        A named group does not exist, or one side would be empty.
    """
    groups = sorted({sample.group for sample in samples})
    if isinstance(held_out, float):
        count = max(1, round(held_out * len(groups)))
        chosen = set(np.random.default_rng(seed).permutation(groups)[:count].tolist())
    else:
        chosen = set(held_out)
        if unknown := sorted(chosen - set(groups)):
            raise DataError(
                f"no image is of group {unknown[0]!r}; the groups are {', '.join(groups)}"
            )
    training = [s for s in samples if s.group not in chosen]
    validation = [s for s in samples if s.group in chosen]
    if not training or not validation:
        raise DataError(
            f"{count_of(len(groups), 'group')} cannot be split into training and validation; "
            "add images or groups"
        )
    return training, validation


def draw_batch(
    samples: Sequence[Sample], size: int, side: int, mpp: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    """Draw augmented random crops.

    Parameters
    ----------
    samples : sequence of Sample
        Samples to draw from, by weight.
    size : int
        Number of crops.
    side : int
        Side of a crop, px.
    mpp : float
        µm/px of a crop before random scaling.
    rng : Generator

    Returns
    -------
    rgb : (size, side, side, 3) uint8
    share : (size, side, side) float32
        Share of each pixel's area that is in a nucleus.
    chosen : (size,) int64
        Index of the sample of each crop.
    """
    weights = np.array([sample.weight for sample in samples])
    chosen = rng.choice(len(samples), size=size, p=weights / weights.sum())
    crops = [random_crop(samples[int(i)], side, mpp, rng) for i in chosen]
    donors = [*crops[1:], crops[0]]
    crops = [augment(crop, donor, rng) for crop, donor in zip(crops, donors, strict=True)]
    rgb, share = (np.stack(parts) for parts in zip(*crops, strict=True))
    return rgb, share, chosen


def random_crop(
    sample: Sample,
    side: int,
    mpp: float,
    rng: np.random.Generator,
    scales: tuple[float, float] = SCALE_JITTER,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Read a random window of an image, randomly enlarged, in a single resampling.

    Parameters
    ----------
    sample : Sample
    side : int
        Side of the window, px.
    mpp : float
        µm/px of the window without enlargement.
    rng : Generator
    scales : (float, float)
        Smallest and largest enlargement.

    Returns
    -------
    (side, side, 3) uint8, (side, side) float32
        RGB, and the share of each pixel's area that is in a nucleus. An image smaller than the
        window is padded by reflection.
    """
    scale = np.exp(rng.uniform(*np.log(scales)))
    step = mpp / (sample.mpp * scale)
    height, width = sample.mask.shape
    window = side * step
    box_w, box_h = min(window, width), min(window, height)
    left, top = rng.uniform(0, width - box_w), rng.uniform(0, height - box_h)
    box = (left, top, left + box_w, top + box_h)
    out = (_extent(box_w / step, side), _extent(box_h / step, side))
    rgb, share = _resample(sample.rgb, sample.mask, out, box)
    pad_y, pad_x = side - out[1], side - out[0]
    if pad_y or pad_x:
        before = (int(rng.integers(pad_y + 1)), int(rng.integers(pad_x + 1)))
        pad = ((before[0], pad_y - before[0]), (before[1], pad_x - before[1]))
        rgb = np.pad(rgb, (*pad, (0, 0)), mode="symmetric")
        share = np.pad(share, pad, mode="symmetric")
    return rgb, share


def _extent(exact: float, most: int) -> int:
    """Whole pixels of a side, at least one."""
    return min(most, max(1, round(exact)))


def at_model_scale(sample: Sample, mpp: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Resample an image to the model's pixel size; mask pixels need more than half their area."""
    height, width = sample.mask.shape
    ratio = sample.mpp / mpp
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    rgb = np.asarray(Image.fromarray(sample.rgb).resize(size, Image.Resampling.BILINEAR))
    # Exactly half must not count, whatever the rounding.
    return rgb, area_share(sample.mask, size) > 0.5 + 1e-9


def area_share(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.float64]:
    """Share of the area of each resampled pixel that is in a mask.

    Pillow's box filter includes whole pixels by their centres, which made thresholded masks at
    0.25 µm/px 3 % too large.

    Parameters
    ----------
    mask : (h, w) bool
    size : (int, int)
        Width and height to resample to.

    Returns
    -------
    (height, width) float64 in [0, 1]
    """
    width, height = size
    return _mean_of_rows(_mean_of_rows(mask, height).T, width).T


def _mean_of_rows(values: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Mean over each of `count` equal bands of rows, with rows on an edge weighted by share."""
    sums = np.zeros((len(values) + 1, values.shape[1]), np.int64 if values.dtype == bool else float)
    np.cumsum(values, axis=0, out=sums[1:])
    edges = np.linspace(0, len(values), count + 1)
    row = np.minimum(edges.astype(int), len(values) - 1)
    share = (edges - row)[:, None]
    at_edges = sums[row] * (1 - share) + sums[row + 1] * share
    return np.asarray(np.diff(at_edges, axis=0) * (count / len(values)))


def _resample(
    rgb: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    size: tuple[int, int],
    box: tuple[float, float, float, float],
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    image = Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR, box=box)
    nuclei = Image.fromarray(mask.astype(np.uint8) * 255)
    area = nuclei.resize(size, Image.Resampling.BOX, box=box)
    return np.asarray(image), np.asarray(area, dtype=np.float32) / np.float32(255)


def _bounded(sample: Sample) -> Sample:
    if sample.mpp >= FINEST_MPP:
        return sample
    height, width = sample.mask.shape
    ratio = sample.mpp / FINEST_MPP
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    rgb, share = _resample(sample.rgb, sample.mask, size, (0, 0, width, height))
    return replace(sample, rgb=rgb, mask=share > 0.5, mpp=sample.mpp * width / size[0])
