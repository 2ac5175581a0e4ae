"""Agreement of heat maps with nuclei masks: Dice over windows that cover each image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from qupath_hccmil.method.tile_geometry import TileGeometry
from qupath_hccmil.nuclei.training_crops import Sample, at_model_scale

Predictor = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Maps (n, s, s, 3) uint8 RGB to (n, s, s) heat maps in [0, 1]."""

THRESHOLD = 0.5
_BATCH = 8
_BINS = 10


@dataclass(frozen=True)
class ImageScore:
    """Pixel counts of one image at the model's resolution.

    Attributes
    ----------
    overlap, predicted, actual : int
        Numbers of pixels in both, in the thresholded heat map, and in the mask.
    border : int
        Number of pixels of the mask at its border.
    border_um : float or None
        Mean distance between the borders, µm; None if one of them has no pixel.
    mpp : float
        µm/px.
    """

    name: str
    group: str
    overlap: int
    predicted: int
    actual: int
    border: int
    border_um: float | None
    mpp: float

    @property
    def dice(self) -> float:
        """Dice of this image; 1 if there are no nuclei and none were found."""
        return dice(self.overlap, self.predicted, self.actual)


@dataclass(frozen=True)
class NucleiScores:
    """Agreement over a set of images.

    Attributes
    ----------
    images : list of ImageScore
    calibration : list of (float, float, int)
        For each tenth of the range of the heat map: mean prediction, share of pixels that are
        nuclei, number of pixels.
    """

    images: list[ImageScore]
    calibration: list[tuple[float, float, int]]

    @property
    def dice_pooled(self) -> float:
        """Dice of all pixels together."""
        return _pooled(self.images)

    @property
    def dice_mean(self) -> float:
        """Mean Dice of the images."""
        return float(np.mean([image.dice for image in self.images]))

    @property
    def precision(self) -> float:
        """Share of found pixels that are nuclei, over all images; 1 if none was found."""
        found = sum(image.predicted for image in self.images)
        return sum(image.overlap for image in self.images) / found if found else 1.0

    @property
    def recall(self) -> float:
        """Share of nuclei pixels that were found, over all images; 1 if there are none."""
        actual = sum(image.actual for image in self.images)
        return sum(image.overlap for image in self.images) / actual if actual else 1.0

    @property
    def border_um(self) -> float | None:
        """Mean distance between found and true borders, µm, over the images that have both."""
        found = [image.border_um for image in self.images if image.border_um is not None]
        return float(np.mean(found)) if found else None

    @property
    def border_shift_um(self) -> float | None:
        """How much wider nuclei are found than they are drawn, µm on each side; None without any.

        The difference of the areas, divided by the length of the true border. It measures how
        annotators differ, since missed and invented nuclei about balance.
        """
        border = sum(image.border for image in self.images)
        wider = sum((image.predicted - image.actual) * image.mpp for image in self.images)
        return wider / border if border else None

    @property
    def calibration_error(self) -> float:
        """Expected calibration error of a pixel (Guo et al. 2017), over tenths of the range."""
        total = sum(count for *_, count in self.calibration)
        return sum(count * abs(p - y) for p, y, count in self.calibration) / total if total else 0.0

    def by_group(self) -> dict[str, float]:
        """Pooled Dice of each group."""
        groups: dict[str, list[ImageScore]] = {}
        for image in self.images:
            groups.setdefault(image.group, []).append(image)
        return {group: _pooled(images) for group, images in sorted(groups.items())}

    def as_dict(self) -> dict[str, Any]:
        """All figures as JSON values."""
        return {
            "dice_pooled": self.dice_pooled,
            "dice_mean": self.dice_mean,
            "precision": self.precision,
            "recall": self.recall,
            "border_um": self.border_um,
            "border_shift_um": self.border_shift_um,
            "calibration_error": self.calibration_error,
            "images": [{**asdict(image), "dice": image.dice} for image in self.images],
            "groups": self.by_group(),
            "calibration": [
                {"predicted": p, "actual": y, "pixels": n} for p, y, n in self.calibration
            ],
        }


def dice(overlap: int, predicted: int, actual: int) -> float:
    """``2·overlap / (predicted + actual)``; 1 if both are empty."""
    total = predicted + actual
    return 2 * overlap / total if total else 1.0


def torch_predictor(model: nn.Module) -> Predictor:
    """Make a predictor that runs a torch network in evaluation mode."""

    def predict(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        model.eval()
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(tiles)).permute(0, 3, 1, 2)
            x = x.to(next(model.parameters()).device).float().div(255)
            return np.asarray(torch.sigmoid(model(x))[:, 0].cpu().numpy(), dtype=np.float32)

    return predict


def evaluate(
    samples: Iterable[Sample], predict: Predictor, geometry: TileGeometry | None = None
) -> NucleiScores:
    """Predict every image and compare it with its mask, at the model's resolution.

    Parameters
    ----------
    samples : iterable of Sample
    predict : callable
        See `Predictor`; it receives tiles of the model's size.
    geometry : TileGeometry, optional

    Returns
    -------
    NucleiScores

    Notes
    -----
    Image and mask are resampled once to the model's pixel size. Windows of one tile cover the
    image, with the last window of each row and column moved inside, and every pixel is counted
    once. An image smaller than a tile is padded by reflection; the padding is not counted.
    """
    geometry = geometry or TileGeometry()
    images, sums = [], np.zeros((3, _BINS))
    for sample in samples:
        rgb, mask = at_model_scale(sample, geometry.mpp)
        heat = predict_image(rgb, predict, geometry.tile_px)
        found = heat > THRESHOLD
        images.append(
            ImageScore(
                sample.name,
                sample.group,
                int((found & mask).sum()),
                int(found.sum()),
                int(mask.sum()),
                int(_border(mask).sum()),
                border_distance(found, mask, geometry.mpp),
                geometry.mpp,
            )
        )
        bins = np.minimum((heat * _BINS).astype(int), _BINS - 1).ravel()
        for row, values in enumerate((heat.ravel(), mask.ravel(), None)):
            sums[row] += np.bincount(bins, weights=values, minlength=_BINS)
    calibration = [(float(p / n), float(y / n), int(n)) for p, y, n in sums.T if n]
    return NucleiScores(images, calibration)


def border_distance(found: NDArray[np.bool_], mask: NDArray[np.bool_], mpp: float) -> float | None:
    """Mean distance, µm, from each border to the nearest pixel of the other, both ways.

    None if one of the two has no border.
    """
    borders = _border(found), _border(mask)
    if not all(border.any() for border in borders):
        return None
    away = [
        cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for border in borders
    ]
    return mpp * float(np.concatenate([away[1][borders[0]], away[0][borders[1]]]).mean())


def _border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask with a neighbour outside; the edge of the image is no border."""
    inside = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
    return mask & (inside == 0)


def predict_image(rgb: NDArray[np.uint8], predict: Predictor, tile: int) -> NDArray[np.float32]:
    """Predict the heat map of a whole image that has the model's pixel size.

    Parameters
    ----------
    rgb : (h, w, 3) uint8
    predict : callable
    tile : int
        Side of a window, px.

    Returns
    -------
    (h, w) float32 in [0, 1]
    """
    height, width = rgb.shape[:2]
    pad = [(0, max(0, tile - height)), (0, max(0, tile - width)), (0, 0)]
    padded = np.pad(rgb, pad, mode="symmetric")
    heat = np.empty(padded.shape[:2], dtype=np.float32)
    for corners in _batches(padded.shape[0], padded.shape[1], tile):
        tiles = np.stack([padded[y : y + tile, x : x + tile] for y, x in corners])
        for (y, x), map_ in zip(corners, predict(tiles), strict=True):
            heat[y : y + tile, x : x + tile] = map_
    return heat[:height, :width]


def _batches(height: int, width: int, tile: int) -> Iterator[list[tuple[int, int]]]:
    rows, columns = window_starts(height, tile), window_starts(width, tile)
    corners = [(y, x) for y in rows for x in columns]
    for start in range(0, len(corners), _BATCH):
        yield corners[start : start + _BATCH]


def window_starts(extent: int, tile: int) -> list[int]:
    """Starts of windows of `tile` px that cover `extent` px, with the last one moved inside."""
    starts = list(range(0, extent - tile, tile))
    return [*starts, extent - tile]


def _pooled(images: list[ImageScore]) -> float:
    return dice(
        sum(image.overlap for image in images),
        sum(image.predicted for image in images),
        sum(image.actual for image in images),
    )
