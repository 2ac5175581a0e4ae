"""Cells of drawn tissue: their positions, their kinds, and the exact shape of each nucleus."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from qupath_hccmil.demo.tissue_plan import TissuePlan

Array = NDArray[np.floating]

KINDS = ("hepatocyte", "tumour", "atypical", "fibroblast", "lymphocyte", "endothelial")
"""Kinds of nuclei; :attr:`Nuclei.kind` is an index into this."""

HEPATOCYTE, TUMOUR, ATYPICAL, FIBROBLAST, LYMPHOCYTE, ENDOTHELIAL = range(6)


@dataclass(frozen=True, eq=False, repr=False)
class Nuclei:
    """Nuclei as columns of length n; level-0 px.

    Attributes
    ----------
    x, y : float32
        Centre.
    kind : uint8
        Index into :data:`KINDS`.
    a, b : float32
        Half axes.
    angle : float32
        Angle of axis `a`, radians, y down.
    wave : (n, 4) float32
        Deviation from the ellipse: cosine and sine of the second and third harmonic.
    haematoxylin : float32
        Concentration of the stain in the nucleus.
    coarse : float32
        Contrast of the chromatin.
    nucleolus : float32
        Strength of the nucleolus; 0 for none.
    """

    x: Array
    y: Array
    kind: NDArray[np.uint8]
    a: Array
    b: Array
    angle: Array
    wave: Array
    haematoxylin: Array
    coarse: Array
    nucleolus: Array

    def __len__(self) -> int:
        return len(self.x)

    def reach(self) -> Array:
        """Radius of a circle that contains each nucleus."""
        return (self.a * (1 + np.abs(self.wave).sum(axis=1))).astype(np.float32)

    def take(self, index: NDArray) -> Nuclei:
        """Select nuclei by a mask or by indices."""
        return Nuclei(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def shape(self, index: int, x: Array, y: Array) -> Array:
        """Relative radius of pixels ``x[None, :], y[:, None]`` in a nucleus; below 1 is inside.

        The nucleus is an ellipse with its radius multiplied by ``1 + Σ c_k cos kφ + s_k sin kφ``,
        k = 2, 3.
        """
        cos, sin = np.cos(self.angle[index]), np.sin(self.angle[index])
        dx, dy = (x - self.x[index])[None, :], (y - self.y[index])[:, None]
        u = (dx * cos + dy * sin) / self.a[index]
        v = (dy * cos - dx * sin) / self.b[index]
        radius = np.sqrt(u * u + v * v) + 1e-6
        u, v = u / radius, v / radius
        cos2, sin2 = u * u - v * v, 2 * u * v
        cos3, sin3 = u * cos2 - v * sin2, u * sin2 + v * cos2
        c2, s2, c3, s3 = self.wave[index]
        return radius / (1 + c2 * cos2 + s2 * sin2 + c3 * cos3 + s3 * sin3)


@dataclass(frozen=True, eq=False, repr=False)
class Cells:
    """All structures that are placed one by one, in level-0 px.

    Attributes
    ----------
    nuclei : Nuclei
    bodies : (n, 2) float32
        Centres of the parenchymal cells, with or without a nucleus in the plane of section.
    vacuoles : (m, 3) float32
        Fat: x, y, radius.
    red_cells : (k, 3) float32
        Erythrocytes: x, y, radius.
    """

    nuclei: Nuclei
    bodies: Array
    vacuoles: Array
    red_cells: Array


def thin(x: Array, y: Array, radius: Array) -> NDArray[np.bool_]:
    """Keep discs that do not overlap, with preference for earlier ones.

    The choice is greedy in the given order and made in rounds: a disc is kept when every earlier
    disc that overlaps it has been removed.

    Returns
    -------
    (n,) bool
    """
    n = len(x)
    keep = np.zeros(n, bool)
    if not n:
        return keep
    points = np.column_stack([x, y]).astype(float)
    pairs = cKDTree(points).query_pairs(2 * float(radius.max()), output_type="ndarray")
    gap = np.hypot(*(points[pairs[:, 0]] - points[pairs[:, 1]]).T)
    pairs = np.sort(pairs[gap < radius[pairs[:, 0]] + radius[pairs[:, 1]]], axis=1)
    open_ = np.ones(n, bool)
    while open_.any():
        blocked = np.zeros(n, bool)
        blocked[pairs[:, 1]] = True
        chosen = open_ & ~blocked
        keep |= chosen
        losers = pairs[chosen[pairs[:, 0]], 1]
        open_ &= ~chosen
        open_[losers] = False
        pairs = pairs[open_[pairs[:, 0]] & open_[pairs[:, 1]]]
    return keep


def place_cells(plan: TissuePlan, seed: int) -> Cells:
    """Fill a plan with cells.

    Parameters
    ----------
    plan : TissuePlan
    seed : int
        The same plan and seed give the same cells.
    """
    rng = np.random.default_rng([seed, 100])
    bodies, size, atypical, inside = _bodies(plan, rng)
    vacuoles = _vacuoles(plan, bodies, size, rng)
    parenchyma = _parenchyma(plan, bodies, atypical, inside, rng)
    others = [_fibroblasts(plan, rng), _lymphocytes(plan, rng), _endothelium(plan, rng)]
    nuclei = _concatenate([parenchyma, *others])
    # Vacuoles push nuclei away; lymphocytes are placed between the others.
    first = np.concatenate([vacuoles[:, 0], nuclei.x]), np.concatenate([vacuoles[:, 1], nuclei.y])
    compact = np.sqrt(nuclei.a * nuclei.b) * np.where(nuclei.kind == LYMPHOCYTE, 0.97, 1.06)
    radius = np.concatenate([vacuoles[:, 2], compact]).astype(np.float32)
    kept = thin(first[0], first[1], radius)[len(vacuoles) :]
    return Cells(nuclei.take(kept), bodies, vacuoles, _red_cells(plan, rng))


def _scatter(plan: TissuePlan, rng: np.random.Generator, spacing_um: float) -> tuple[Array, Array]:
    """Draw random points over the slide, one per square of `spacing_um`."""
    n = max(1, int(plan.width * plan.height * (plan.mpp / spacing_um) ** 2))
    x = rng.random(n, dtype=np.float32) * plan.width
    y = rng.random(n, dtype=np.float32) * plan.height
    return x, y


def _bodies(
    plan: TissuePlan, rng: np.random.Generator
) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Centres of parenchymal cells, their radius (px), and whether they are atypical or tumour."""
    x, y = _scatter(plan, rng, 4.5)
    fits = (
        (plan.sample(plan.sinusoid, x, y) < -3.0)
        & (plan.sample(plan.stroma, x, y) < -4)
        & (plan.sample(plan.lumen, x, y) < -6)
        & (plan.sample(plan.tissue, x, y) > 4)
    )
    x, y = x[fits], y[fits]
    atypical = plan.sample(plan.atypia, x, y) > rng.uniform(0.35, 0.65, len(x))
    inside = plan.sample(plan.tumour, x, y) > 0
    radius_um = np.where(atypical, 5.5, np.where(inside, 5.5, 7.9))
    radius_um = (
        radius_um
        * rng.uniform(0.92, 1.1, len(x))
        * np.where(atypical, rng.uniform(0.85, 1.35, len(x)), 1)
    )
    radius = (radius_um / plan.mpp).astype(np.float32)
    kept = thin(x, y, radius)
    return np.column_stack([x, y])[kept], radius[kept], atypical[kept], inside[kept]


def _vacuoles(plan: TissuePlan, bodies: Array, size: Array, rng: np.random.Generator) -> Array:
    """Fat in some of the cells: large droplets, sometimes with a small one next to them."""
    share = plan.sample(plan.fat, bodies[:, 0], bodies[:, 1])
    holds = rng.random(len(bodies)) < share
    centre = bodies[holds] + rng.normal(0, 1.2 / plan.mpp, (int(holds.sum()), 2))
    radius = size[holds] * rng.uniform(0.3, 1.02, len(centre))
    small = rng.random(len(centre)) < 0.5
    beside = centre[small] + rng.normal(0, 7 / plan.mpp, (int(small.sum()), 2))
    x, y = np.concatenate([centre, beside]).T
    r = np.concatenate([radius, rng.uniform(0.8, 2.4, len(beside)) / plan.mpp])
    kept = thin(x.astype(np.float32), y.astype(np.float32), (r * 1.04).astype(np.float32))
    return np.column_stack([x, y, r])[kept].astype(np.float32)


def _columns(
    plan: TissuePlan,
    x: Array,
    y: Array,
    kind: int | NDArray,
    *,
    a_um: NDArray,
    ratio: NDArray,
    angle: NDArray,
    wave: NDArray,
    haematoxylin: NDArray,
    coarse: NDArray | float,
    nucleolus: NDArray | float = 0.0,
) -> Nuclei:
    """Nuclei of one kind, with half axis `a_um` in µm and `ratio` of the axes."""
    n = len(x)

    def column(values: NDArray | float) -> Array:
        return np.broadcast_to(np.asarray(values, np.float32), (n,)).copy()

    a = column(a_um / plan.mpp)
    return Nuclei(
        x=column(x),
        y=column(y),
        kind=np.broadcast_to(np.asarray(kind, np.uint8), (n,)).copy(),
        a=a,
        b=(a * column(ratio)).astype(np.float32),
        angle=column(angle),
        wave=wave.astype(np.float32),
        haematoxylin=column(haematoxylin),
        coarse=column(coarse),
        nucleolus=column(nucleolus),
    )


def _parenchyma(
    plan: TissuePlan,
    bodies: Array,
    atypical: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Nuclei:
    """Nuclei of hepatocytes, tumour cells and atypical tumour cells."""
    in_plane = rng.random(len(bodies)) < np.where(atypical, 0.97, np.where(inside, 0.9, 0.82))
    centre, atypical, inside = bodies[in_plane], atypical[in_plane], inside[in_plane]
    n = len(centre)
    drift = np.where(inside, 1.0, 1.4)[:, None] / plan.mpp
    centre = centre + rng.normal(0, 1, (n, 2)) * drift * np.where(atypical, 0.4, 1)[:, None]
    order = np.argsort(~atypical, kind="stable")  # the large ones are placed first
    centre, atypical, inside = centre[order], atypical[order], inside[order]
    plain = rng.normal(np.where(inside, 3.75, 3.45), np.where(inside, 0.42, 0.3))
    pleomorphic = 5.0 * np.exp(rng.normal(0, 0.24, n))
    giant = atypical & (rng.random(n) < 0.05)
    a_um = np.where(atypical, np.clip(pleomorphic * np.where(giant, 1.45, 1), 3.4, 10.5), plain)
    return _columns(
        plan,
        centre[:, 0],
        centre[:, 1],
        np.where(atypical, ATYPICAL, np.where(inside, TUMOUR, HEPATOCYTE)),
        a_um=a_um,
        ratio=np.where(atypical, rng.uniform(0.58, 0.98, n), rng.uniform(0.84, 1.0, n)),
        angle=rng.uniform(0, np.pi, n),
        wave=rng.normal(0, 1, (n, 4)) * np.where(atypical, 0.055, 0.018)[:, None],
        haematoxylin=np.where(
            atypical,
            np.clip(rng.normal(1.42, 0.24, n), 0.95, 2.1),
            np.clip(rng.normal(np.where(inside, 0.98, 0.82), 0.13), 0.5, 1.4),
        ),
        coarse=np.where(atypical, rng.uniform(0.2, 0.38, n), rng.uniform(0.12, 0.26, n)),
        nucleolus=np.where(rng.random(n) < np.where(inside, 0.7, 0.45), rng.uniform(0.3, 1, n), 0),
    )


def _fibroblasts(plan: TissuePlan, rng: np.random.Generator) -> Nuclei:
    """Spindle nuclei along the fibres of the stroma."""
    x, y = _scatter(plan, rng, 14)
    fits = (plan.sample(plan.stroma, x, y) > 1) & (plan.sample(plan.lumen, x, y) < -2)
    fits &= plan.sample(plan.tissue, x, y) > 4
    return _spindles(plan, rng, x[fits], y[fits], FIBROBLAST)


def _endothelium(plan: TissuePlan, rng: np.random.Generator) -> Nuclei:
    """Flat nuclei along the walls of sinusoids."""
    x, y = _scatter(plan, rng, 8)
    wall = plan.sample(plan.sinusoid, x, y)
    fits = (wall > -1.0) & (wall < 1.2) & (plan.sample(plan.tissue, x, y) > 4)
    fits &= rng.random(len(x)) < 0.75
    return _spindles(plan, rng, x[fits], y[fits], ENDOTHELIAL)


def _spindles(plan: TissuePlan, rng: np.random.Generator, x: Array, y: Array, kind: int) -> Nuclei:
    n = len(x)
    along = plan.sample(plan.along, x, y)
    long, flat = ((5.6, 0.24), (4.0, 0.3))[kind == ENDOTHELIAL]
    return _columns(
        plan,
        x,
        y,
        kind,
        a_um=np.clip(rng.normal(long, 1.3, n), 2.4, 9),
        ratio=np.clip(rng.normal(flat, 0.06, n), 0.14, 0.5),
        angle=np.arctan2(along[:, 1], along[:, 0]) + rng.normal(0, 0.14, n),
        wave=rng.normal(0, 0.04, (n, 4)),
        haematoxylin=np.clip(rng.normal(1.25, 0.2, n), 0.7, 1.8),
        coarse=rng.uniform(0.1, 0.25, n),
    )


def _lymphocytes(plan: TissuePlan, rng: np.random.Generator) -> Nuclei:
    """Small round dark nuclei, in nests and scattered."""
    x, y = _scatter(plan, rng, 5.0)
    density = plan.sample(plan.lymphocytes, x, y)
    free = (plan.sample(plan.sinusoid, x, y) > 0.5) | (plan.sample(plan.stroma, x, y) > -22)
    fits = (rng.random(len(x)) < density * 0.9) & free
    fits &= (plan.sample(plan.lumen, x, y) < -3) & (plan.sample(plan.tissue, x, y) > 4)
    x, y = x[fits], y[fits]
    n = len(x)
    return _columns(
        plan,
        x,
        y,
        LYMPHOCYTE,
        a_um=np.clip(rng.normal(2.95, 0.28, n), 2.2, 3.9),
        ratio=rng.uniform(0.82, 1.0, n),
        angle=rng.uniform(0, np.pi, n),
        wave=rng.normal(0, 0.02, (n, 4)),
        haematoxylin=np.clip(rng.normal(1.72, 0.18, n), 1.2, 2.2),
        coarse=rng.uniform(0.15, 0.32, n),
    )


def _red_cells(plan: TissuePlan, rng: np.random.Generator) -> Array:
    """Erythrocytes in sinusoids and vessels, in groups."""
    x, y = _scatter(plan, rng, 5.5)
    blood = np.maximum(plan.sample(plan.sinusoid, x, y) - 1.2, plan.sample(plan.lumen, x, y) - 4)
    crowd = plan.sample(plan.stain, x, y) + 0.6 * rng.standard_normal(len(x))
    fits = (blood > 0) & (crowd > -0.1) & (plan.sample(plan.tissue, x, y) > 8)
    x, y = x[fits], y[fits]
    radius = (rng.uniform(2.3, 3.2, len(x)) / plan.mpp).astype(np.float32)
    kept = thin(x, y, (radius * 0.68).astype(np.float32))
    return np.column_stack([x, y, radius])[kept]


def _concatenate(parts: list[Nuclei]) -> Nuclei:
    return Nuclei(
        **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Nuclei)}
    )


def draw_mask(nuclei: Nuclei, box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Find the pixels of a box that lie in a nucleus.

    Parameters
    ----------
    nuclei : Nuclei
    box : (x, y, width, height)
        Level-0 px.

    Returns
    -------
    (height, width) bool
    """
    x0, y0, width, height = box
    mask = np.zeros((height, width), bool)
    for k, (rows, columns) in windows(nuclei, box):
        x = np.arange(columns.start, columns.stop, dtype=np.float32) + x0 + 0.5
        y = np.arange(rows.start, rows.stop, dtype=np.float32) + y0 + 0.5
        mask[rows, columns] |= nuclei.shape(k, x, y) < 1
    return mask


def windows(
    nuclei: Nuclei, box: tuple[int, int, int, int], margin: float = 2.0
) -> list[tuple[int, tuple[slice, slice]]]:
    """Index and window (rows, columns of the box) of every nucleus that touches a box."""
    reach = nuclei.reach() + margin
    return disc_windows(nuclei.x, nuclei.y, reach, box)


def disc_windows(
    x: Array, y: Array, reach: Array, box: tuple[int, int, int, int]
) -> list[tuple[int, tuple[slice, slice]]]:
    """Index and window (rows, columns of the box) of every disc that touches a box."""
    x0, y0, width, height = box
    left = np.maximum(np.floor(x - reach - x0), 0).astype(int)
    right = np.minimum(np.ceil(x + reach - x0), width).astype(int)
    top = np.maximum(np.floor(y - reach - y0), 0).astype(int)
    bottom = np.minimum(np.ceil(y + reach - y0), height).astype(int)
    touching = np.flatnonzero((left < right) & (top < bottom))
    return [(int(k), (slice(top[k], bottom[k]), slice(left[k], right[k]))) for k in touching]
