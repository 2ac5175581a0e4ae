"""A coarse plan of a drawn slide: tissue, tumour, stroma, sinusoids, fat and atypia.

Everything is planned in µm, so that a slide drawn at another resolution has the same anatomy.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from shapely.validation import make_valid

from qupath_hccmil.demo.random_fields import (
    Field,
    band_noise,
    distance_to_zero,
    smoothstep,
    soft_noise,
)

STEP_UM = 2.0
"""Distance between samples of the plan, µm, rounded to a whole number of px."""

MARGIN = 12
"""Samples around the slide, so that blocks at the border are interpolated like all others."""

# Nodules as fractions of the slide: centre x, y, radius x, y. The first is the main tumour.
NODULES = ((0.405, 0.51, 0.335, 0.41), (0.885, 0.42, 0.078, 0.20))


@dataclass(frozen=True, eq=False, repr=False)
class TissuePlan:
    """Fields over the slide; sample (i, j) is at ``(j - MARGIN + 0.5) * step_px`` and so on.

    Attributes
    ----------
    width, height : int
        Slide, level-0 px.
    mpp : float
        µm per px.
    step_px : int
        Level-0 px between two samples.
    tissue : Field
        µm inside the tissue; negative on glass.
    tumour : Field
        µm inside a tumour nodule; negative outside.
    stroma : Field
        µm inside capsule, septa and portal tracts; negative outside.
    sinusoid : Field
        µm inside a sinusoid; negative in the plates.
    lumen : Field
        µm inside a vessel; negative outside.
    atypia : Field
        Degree of atypia, 0 to 1.
    lymphocytes : Field
        0 to 1: density of the infiltrate.
    fat : Field
        0 to 1: share of cells with a vacuole.
    fibre : Field
        Coordinate across the fibres of the stroma, µm.
    stain : Field
        Slow variation of the staining, mean 0, variance 1.
    along : (n, m, 2) float32
        Unit vector (x, y) along sinusoids, or along fibres inside stroma.
    tumours, atypical_regions : list of Polygon
        Outlines, level-0 px.
    """

    width: int
    height: int
    mpp: float
    step_px: int
    tissue: Field
    tumour: Field
    stroma: Field
    sinusoid: Field
    lumen: Field
    atypia: Field
    lymphocytes: Field
    fat: Field
    fibre: Field
    stain: Field
    along: NDArray[np.float32]
    tumours: list[Polygon]
    atypical_regions: list[Polygon]

    def sample(self, field: NDArray[np.float32], x: NDArray, y: NDArray) -> NDArray:
        """Value of a field at points (level-0 px), bilinear."""
        u = (np.asarray(x) / self.step_px - 0.5 + MARGIN).astype(np.float32)
        v = (np.asarray(y) / self.step_px - 0.5 + MARGIN).astype(np.float32)
        # remap allows at most 32767 points per row, so the points are arranged as a rectangle.
        rows = -(-len(u) // 1024)
        grid_u, grid_v = (np.zeros((rows, 1024), np.float32) for _ in range(2))
        grid_u.ravel()[: len(u)], grid_v.ravel()[: len(v)] = u, v
        values = cv2.remap(field, grid_u, grid_v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return values.reshape(rows * 1024, *field.shape[2:])[: len(u)]


@dataclass(frozen=True, eq=False)
class _Canvas:
    """The coarse grid and its random streams."""

    shape: tuple[int, int]
    step: float
    size_um: tuple[float, float]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    seed: int

    def rng(self, stream: int) -> np.random.Generator:
        """Return one random stream per purpose, so that a change to one field keeps the others."""
        return np.random.default_rng([self.seed, stream])

    def soft(self, stream: int, wavelength: float, falloff: float = 3.0) -> Field:
        return soft_noise(self.rng(stream), self.shape, self.step, wavelength, falloff=falloff)

    def band(self, stream: int, wavelength: float, bandwidth: float = 0.22) -> Field:
        return band_noise(self.rng(stream), self.shape, self.step, wavelength, bandwidth=bandwidth)


def plan_tissue(width: int, height: int, *, seed: int, mpp: float) -> TissuePlan:
    """Plan the anatomy of a slide.

    Parameters
    ----------
    width, height : int
        Slide, level-0 px.
    seed : int
        The same seed and size give the same plan.
    mpp : float
        µm per px.
    """
    step_px = max(1, round(STEP_UM / mpp))
    canvas = _canvas(width, height, step_px, seed, mpp)
    tissue = _tissue(canvas)
    tumour = np.minimum(_nodules(canvas), tissue - 25)
    lumen = _lumen(canvas, tissue)
    stroma, fibre = _stroma(canvas, tumour, lumen)
    sinusoid, labyrinth = _sinusoids(canvas, tumour, stroma, lumen)
    atypia = _atypia(canvas, tumour, stroma)
    inside = smoothstep(tumour, 0, 20)
    nests = smoothstep(canvas.soft(50, 170), 0.55, 1.5)
    lymphocytes = smoothstep(stroma, -25, 12) * nests * 0.85 + 0.012
    fat = smoothstep(canvas.soft(51, 350), -0.2, 1.3) * (0.34 - 0.28 * inside)
    outlines = _outlines(tumour, step_px, (width, height), minimum_px2=10_000 / mpp**2)
    planted = _outlines(atypia - 0.5, step_px, (width, height), minimum_px2=2_500 / mpp**2)
    return TissuePlan(
        width=width,
        height=height,
        mpp=mpp,
        step_px=step_px,
        tissue=tissue,
        tumour=tumour,
        stroma=stroma,
        sinusoid=sinusoid,
        lumen=lumen,
        atypia=atypia,
        lymphocytes=lymphocytes,
        fat=fat,
        fibre=fibre,
        stain=canvas.soft(52, 700),
        along=_along(labyrinth, fibre, stroma),
        tumours=outlines,
        atypical_regions=planted,
    )


def _canvas(width: int, height: int, step_px: int, seed: int, mpp: float) -> _Canvas:
    columns = -(-width // step_px) + 2 * MARGIN
    rows = -(-height // step_px) + 2 * MARGIN
    step = step_px * mpp
    x = ((np.arange(columns) - MARGIN + 0.5) * step).astype(np.float32)
    y = ((np.arange(rows) - MARGIN + 0.5) * step).astype(np.float32)
    return _Canvas((rows, columns), step, (width * mpp, height * mpp), x[None, :], y[:, None], seed)


def _tissue(canvas: _Canvas) -> Field:
    """µm inside an irregular piece that nearly fills the slide."""
    width, height = canvas.size_um
    nx = np.abs(canvas.x / width - 0.5) / 0.475
    ny = np.abs(canvas.y / height - 0.5) / 0.47
    radius = (nx**3.2 + ny**3.2) ** (1 / 3.2)
    scale = min(width, height) / 2
    wobble = 0.035 * scale * canvas.soft(1, scale * 0.7, 4) + 3.0 * canvas.soft(2, 45)
    return ((1 - radius) * scale + np.clip(wobble, -0.09 * scale, 0.03 * scale)).astype(np.float32)


def _nodules(canvas: _Canvas) -> Field:
    """µm inside the nearest tumour nodule."""
    width, height = canvas.size_um
    wobble = canvas.soft(3, min(width, height) * 0.3, 4)
    fields = []
    for cx, cy, rx, ry in NODULES:
        radius = np.hypot((canvas.x / width - cx) / rx, (canvas.y / height - cy) / ry)
        scale = min(rx * width, ry * height)
        fields.append((1 - radius + 0.06 * wobble) * scale)
    return np.maximum.reduce(fields).astype(np.float32)


def _lumen(canvas: _Canvas, tissue: Field) -> Field:
    """µm inside a vessel: small islands of a cloudy field."""
    field = canvas.soft(4, 130, 4)
    level = 2.45
    slope = np.hypot(*np.gradient(field, canvas.step)) + 0.004
    return np.minimum((field - level) / slope, tissue - 30).astype(np.float32)


def _stroma(canvas: _Canvas, tumour: Field, lumen: Field) -> tuple[Field, Field]:
    """µm inside connective tissue, and the coordinate across its fibres."""
    ragged = 4 * canvas.soft(10, 35)
    capsule = 24 + 9 * canvas.soft(11, 200) - np.abs(tumour + 14)
    septum = canvas.soft(12, 420, 4)
    width_um = 17 * smoothstep(canvas.soft(13, 300), -0.5, 1.0) - 4
    septa = width_um - distance_to_zero(septum, canvas.step)
    septa = np.where(tumour > 0, septa, septa - 22)
    wall = 13 + np.minimum(lumen, 0)
    stroma = np.maximum.reduce([capsule, septa, wall]) + ragged
    near_capsule = smoothstep(-np.abs(tumour + 14), -60, -25)
    across = np.where(septum > 0, 1, -1) * distance_to_zero(septum, canvas.step)
    fibre = near_capsule * tumour + (1 - near_capsule) * across + 3.5 * canvas.soft(14, 28)
    return stroma.astype(np.float32), fibre.astype(np.float32)


def _sinusoids(canvas: _Canvas, tumour: Field, stroma: Field, lumen: Field) -> tuple[Field, Field]:
    """µm inside a sinusoid, and the labyrinth whose zero lines they are.

    Tumour plates are two to three cells thick, those of the liver around it one cell.
    """
    wide = canvas.band(20, 78)
    narrow = canvas.band(21, 46)
    inside = smoothstep(tumour, -10, 10)
    gap_wide = 3.0 + 1.1 * canvas.soft(22, 120) - distance_to_zero(wide, canvas.step)
    gap_narrow = 2.7 + 0.8 * canvas.soft(23, 90) - distance_to_zero(narrow, canvas.step)
    gap = inside * gap_wide + (1 - inside) * gap_narrow + 0.7 * canvas.soft(24, 12)
    closed = np.maximum(stroma + 3, lumen + 3)
    sinusoid = np.minimum(gap, -closed)
    labyrinth = np.where(tumour > 0, wide, narrow)
    return sinusoid.astype(np.float32), labyrinth.astype(np.float32)


def _atypia(canvas: _Canvas, tumour: Field, stroma: Field) -> Field:
    """Degree of atypia (0 to 1): islands well inside the tumour, away from stroma."""
    size = min(canvas.size_um)
    cloud = canvas.soft(30, max(90.0, size * 0.16), 4)
    depth = min(45.0, 0.1 * size)
    deep = smoothstep(tumour, depth / 3, depth)
    cells = tumour > 0.7 * depth
    # A share of the tumour, not a level of the noise, so that a small slide has an island too.
    level = float(np.quantile(cloud[cells], 0.72)) if cells.any() else 1.0
    island = smoothstep(cloud, level - 0.12, level + 0.12) * deep
    return (island * smoothstep(-stroma, -2, 8)).astype(np.float32)


def _along(labyrinth: Field, fibre: Field, stroma: Field) -> NDArray[np.float32]:
    """Rotate gradients by 90° to get unit vectors along the zero lines."""
    soft = smoothstep(stroma, -4, 2)
    parts = []
    for field in (labyrinth, fibre):
        gy, gx = np.gradient(field)
        norm = np.hypot(gx, gy) + 1e-9
        parts.append(np.stack([-gy / norm, gx / norm], axis=-1))
    return np.where(soft[..., None] > 0.5, parts[1], parts[0]).astype(np.float32)


def _outlines(
    field: Field, step_px: int, size: tuple[int, int], *, minimum_px2: float
) -> list[Polygon]:
    """Polygons where a field is above zero, in level-0 px, largest first, with holes filled."""
    contours, _ = cv2.findContours(
        (field > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    frame = Polygon([(0, 0), (size[0], 0), size, (0, size[1])])
    polygons: list[Polygon] = []
    for contour in contours:
        if len(contour) < 4:
            continue
        points = (contour[:, 0, :].astype(float) - MARGIN + 0.5) * step_px
        shape = make_valid(Polygon(points).simplify(0.75 * step_px)).intersection(frame)
        parts = shape.geoms if isinstance(shape, MultiPolygon) else [shape]
        polygons += [part for part in parts if isinstance(part, Polygon)]
    kept = [p for p in polygons if p.area >= minimum_px2]
    return sorted(kept, key=lambda p: -p.area)
