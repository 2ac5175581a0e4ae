"""Paints planned tissue: first stain concentrations, then the light through them, as in a scanner.

Colour comes only from two stains, so that stain separation of a drawn slide has a known answer:
``I = I0 exp(-(c_H V_H + c_E V_E))`` (Beer-Lambert).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from qupath_hccmil.demo.cells import ATYPICAL, LYMPHOCYTE, Array, Cells, disc_windows, windows
from qupath_hccmil.demo.random_fields import smoothstep
from qupath_hccmil.demo.tissue_plan import MARGIN, TissuePlan

# Rows: haematoxylin, eosin; columns: R, G, B optical density (natural logarithm) of one unit.
# Directions near the reference of Macenko et al. 2009 (doi 10.1109/ISBI.2009.5193250).
STAINS = np.array([[0.6250, 0.7010, 0.3430], [0.1500, 0.8430, 0.4770]], np.float32)

GLASS = np.array([243.0, 242.0, 245.0], np.float32)
"""Light through the empty slide, 8-bit RGB."""

BORDER = 8
"""Pixels painted around a block and then cut off, so that blurring includes the surroundings."""

PERIOD = 1024


@dataclass(frozen=True, eq=False)
class Block:
    """The position of a block in level-0 px, and its two stains while it is painted."""

    x: int
    y: int
    width: int
    height: int
    haematoxylin: Array
    eosin: Array

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height."""
        return self.x, self.y, self.width, self.height


class Painter:
    """Paints any block of a slide; blocks fit together without seams.

    Parameters
    ----------
    plan : TissuePlan
    cells : Cells
    seed : int
    """

    def __init__(self, plan: TissuePlan, cells: Cells, seed: int) -> None:
        self.plan = plan
        self.cells = cells
        self.seed = seed
        self._scale = 0.25 / plan.mpp  # sizes in px below are meant for 0.25 µm/px
        rng = np.random.default_rng([seed, 200])
        self._fine, self._grain, self._lumps, self._clouds = (
            _texture(rng, sigma * self._scale) for sigma in (0.9, 2.2, 5.0, 14.0)
        )
        self._tone = rng.normal(0, 1, len(cells.bodies) + 1).astype(np.float32)
        self._tree = cKDTree(cells.bodies) if len(cells.bodies) > 1 else None

    def paint(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Paint one block.

        Parameters
        ----------
        x, y, width, height : int
            Level-0 px.

        Returns
        -------
        (height, width, 3) uint8, RGB
        """
        shape = (height + 2 * BORDER, width + 2 * BORDER)
        block = Block(
            x - BORDER,
            y - BORDER,
            shape[1],
            shape[0],
            np.zeros(shape, np.float32),
            np.zeros(shape, np.float32),
        )
        tissue = self._field(self.plan.tissue, block)
        if tissue.max() > -4:
            self._parenchyma(block)
            self._stroma(block)
            self._vacuoles(block)
            self._blood(block)
            self._nuclei(block)
            self._edge(block, tissue)
        return self._light(block)[BORDER:-BORDER, BORDER:-BORDER]

    # ------------------------------------------------------------------ pieces

    def _field(self, field: Array, block: Block) -> NDArray:
        """Interpolate a field of the plan over a block, cubic."""
        step = self.plan.step_px
        rows = _span(block.y, block.height, step, field.shape[0])
        columns = _span(block.x, block.width, step, field.shape[1])
        part = field[rows[0] : rows[1], columns[0] : columns[1]]
        size = (part.shape[1] * step, part.shape[0] * step)
        large = cv2.resize(part, size, interpolation=cv2.INTER_CUBIC)
        top = block.y - (rows[0] - MARGIN) * step
        left = block.x - (columns[0] - MARGIN) * step
        return large[top : top + block.height, left : left + block.width]

    def _patch(self, texture: Array, block: Block, shift: int = 0) -> Array:
        """Cut a texture, fixed to the slide, over a block."""
        top, left = (block.y + shift) % PERIOD, (block.x + 3 * shift) % PERIOD
        if block.height > PERIOD or block.width > PERIOD:
            rows = (top + np.arange(block.height)) % PERIOD
            columns = (left + np.arange(block.width)) % PERIOD
            return texture[rows[:, None], columns[None, :]]
        return texture[top : top + block.height, left : left + block.width]

    def _parenchyma(self, block: Block) -> None:
        """Granular pink cytoplasm, borders of cells, sinusoids between the plates."""
        grain = self._patch(self._grain, block)
        lumps = self._patch(self._lumps, block, 311)
        clouds = self._patch(self._clouds, block, 517)
        inside = smoothstep(self._field(self.plan.tumour, block), -5, 5)
        atypia = np.clip(self._field(self.plan.atypia, block), 0, 1)
        border, tone = self._borders(block)
        eosin = 0.55 - 0.05 * inside + 0.045 * tone + 0.03 * clouds
        eosin = eosin * (1 + 0.12 * grain + 0.08 * lumps) + 0.27 * border
        haematoxylin = 0.12 + 0.06 * inside + 0.11 * atypia + 0.02 * tone + 0.10 * border
        haematoxylin = haematoxylin * (1 + 0.22 * grain + 0.22 * lumps)
        gap = self._field(self.plan.sinusoid, block) + 0.35 * lumps + 0.2 * grain
        open_ = smoothstep(gap, -0.35, 0.45)
        wall = np.exp(-((gap / 0.55) ** 2))
        wisps = np.maximum(0.05 + 0.05 * lumps + 0.04 * clouds, 0)
        block.eosin[:] = eosin * (1 - open_) + wisps * open_ + 0.16 * wall
        block.haematoxylin[:] = haematoxylin * (1 - open_) + 0.25 * wisps * open_ + 0.07 * wall

    def _borders(self, block: Block) -> tuple[Array, Array]:
        """Return the borders between cells (0 to 1), and the tone of each cell."""
        shape = (block.height, block.width)
        if self._tree is None:
            return np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        step = max(1, self.plan.step_px // 2)
        x0, y0 = (block.x // step - 1) * step, (block.y // step - 1) * step
        columns = (block.x + block.width - x0) // step + 2
        rows = (block.y + block.height - y0) // step + 2
        gx = x0 + (np.arange(columns) + 0.5) * step
        gy = y0 + (np.arange(rows) + 0.5) * step
        warp = 1.6 * self._scale
        offset_x = warp * self._lumps[gy.astype(int)[:, None] % PERIOD, gx.astype(int) % PERIOD]
        offset_y = warp * self._clouds[gy.astype(int)[:, None] % PERIOD, gx.astype(int) % PERIOD]
        points = np.stack([gx[None, :] + offset_x, gy[:, None] + offset_y], axis=-1)
        distance, nearest = self._tree.query(points, k=2)
        gap = (distance[..., 1] - distance[..., 0]).astype(np.float32)
        size = (columns * step, rows * step)
        top, left = block.y - y0, block.x - x0
        window = np.s_[top : top + block.height, left : left + block.width]
        gap = cv2.resize(gap, size, interpolation=cv2.INTER_LINEAR)[window]
        tone = cv2.resize(self._tone[nearest[..., 0]], size, interpolation=cv2.INTER_LINEAR)
        um = gap * self.plan.mpp
        return np.exp(-((um / 1.25) ** 2)).astype(np.float32), tone[window]

    def _stroma(self, block: Block) -> None:
        """Collagen: wavy fibres along the band, with clefts between them; open vessels."""
        depth = self._field(self.plan.stroma, block)
        if depth.max() < -2:
            return
        lumps = self._patch(self._lumps, block, 97)
        clouds = self._patch(self._clouds, block, 203)
        grain = self._patch(self._grain, block, 401)
        across = self._field(self.plan.fibre, block) + 0.9 * clouds + 0.5 * lumps
        strands = np.sin(across * 2.1) * 0.5 + np.sin(across * 0.83 + 1.3 * clouds) * 0.5
        amount = smoothstep(depth + 0.8 * lumps, -1.2, 1.0)
        eosin = 0.52 + 0.16 * strands + 0.06 * clouds + 0.05 * grain
        cleft = smoothstep(strands + 0.25 * lumps + 0.2 * clouds, -0.85, -0.45)
        eosin = np.maximum(eosin, 0.02) * (0.12 + 0.88 * cleft)
        haematoxylin = (0.07 + 0.02 * strands) * cleft + 0.01
        block.eosin[:] += amount * (eosin - block.eosin)
        block.haematoxylin[:] += amount * (haematoxylin - block.haematoxylin)
        hollow = smoothstep(self._field(self.plan.lumen, block) + 0.5 * lumps, -0.8, 0.8)
        for stain in (block.eosin, block.haematoxylin):
            stain *= 1 - 0.97 * hollow

    def _vacuoles(self, block: Block) -> None:
        """Fat is dissolved by the embedding: round holes with a crisp rim."""
        x, y, radius = self.cells.vacuoles.T
        rim = 1.4 * self._scale
        for k, window in disc_windows(x, y, radius + 3 * rim, block.box):
            depth = radius[k] - _radius(block, window, x[k], y[k])
            hole = np.clip(depth / rim + 0.5, 0, 1)
            edge = np.exp(-(((depth + rim) / (1.2 * rim)) ** 2))
            block.eosin[window] = block.eosin[window] * (1 - 0.96 * hole) + 0.14 * edge
            block.haematoxylin[window] = block.haematoxylin[window] * (1 - hole) + 0.03 * edge

    def _blood(self, block: Block) -> None:
        """Erythrocytes: strongly eosinophilic discs, a little paler in the middle."""
        x, y, radius = self.cells.red_cells.T
        for k, window in disc_windows(x, y, radius + 2, block.box):
            r = _radius(block, window, x[k], y[k]) / radius[k]
            amount = np.clip((1 - r) * radius[k] / 1.6 + 0.5, 0, 1)
            colour = 0.66 + 0.06 * self._tone[k % len(self._tone)] + 0.16 * np.minimum(r, 1) ** 2
            block.eosin[window] += 0.9 * amount * (colour - block.eosin[window])
            block.haematoxylin[window] *= 1 - amount

    def _nuclei(self, block: Block) -> None:
        """Membrane, chromatin and nucleolus of each nucleus."""
        nuclei = self.cells.nuclei
        for k, window in windows(nuclei, block.box):
            rows, columns = window
            xs = np.arange(columns.start, columns.stop, dtype=np.float32) + block.x + 0.5
            ys = np.arange(rows.start, rows.stop, dtype=np.float32) + block.y + 0.5
            relative = nuclei.shape(k, xs, ys)
            depth = (1 - relative) * nuclei.b[k]
            amount = np.clip(depth / 2.0 + 0.5, 0, 1)
            stain = nuclei.haematoxylin[k] * self._chromatin(k, depth, xs, ys)
            if nuclei.nucleolus[k] > 0:
                stain += self._nucleoli(k, xs, ys)
            block.haematoxylin[window] += amount * (stain - block.haematoxylin[window])
            block.eosin[window] *= 1 - 0.62 * amount
            if nuclei.kind[k] == LYMPHOCYTE:
                block.eosin[window] *= 1 - 0.2 * amount

    def _chromatin(self, k: int, depth: Array, xs: Array, ys: Array) -> Array:
        """Relative stain inside nucleus `k`: dark membrane, clumps on a paler ground."""
        nuclei = self.cells.nuclei
        shift = (k * 7919) % PERIOD
        # A window of the texture that moves with the nucleus and avoids the wrapped edge.
        top = (int(ys[0]) + shift) % (PERIOD // 2)
        left = (int(xs[0]) + 5 * shift) % (PERIOD // 2)
        window = np.s_[top : top + len(ys), left : left + len(xs)]
        clumps = 0.55 * self._grain[window] + 0.6 * self._lumps[window]
        membrane = np.exp(-(((depth - 1.1 * self._scale) / (1.2 * self._scale)) ** 2))
        rim = 0.16 if nuclei.kind[k] == ATYPICAL else 0.28
        return np.maximum(0.86 + nuclei.coarse[k] * clumps + rim * membrane, 0.3)

    def _nucleoli(self, k: int, xs: Array, ys: Array) -> Array:
        """One or two dark dots off the centre."""
        nuclei = self.cells.nuclei
        rng = np.random.default_rng([self.seed, 300, k])
        total = np.zeros((len(ys), len(xs)), np.float32)
        for _ in range(1 + int(rng.random() < 0.3)):
            angle, off = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.45) * nuclei.b[k]
            cx, cy = nuclei.x[k] + off * np.cos(angle), nuclei.y[k] + off * np.sin(angle)
            radius = (0.11 + 0.06 * rng.random()) * nuclei.b[k] + 0.8 * self._scale
            r2 = (xs - cx)[None, :] ** 2 + (ys - cy)[:, None] ** 2
            total += 0.75 * nuclei.nucleolus[k] * np.exp(-r2 / (2 * radius**2)).astype(np.float32)
        return total

    def _edge(self, block: Block, tissue: Array) -> None:
        """Frayed edge of the piece, darker where the stain pools; glass beyond."""
        lumps = self._patch(self._lumps, block, 709)
        depth = tissue + 1.2 * lumps
        amount = smoothstep(depth, -0.8, 1.2)
        pooled = 1 + 0.3 * np.exp(-np.maximum(depth, 0) / 9)
        strength = 1 + 0.07 * self._field(self.plan.stain, block)
        for stain, own in ((block.haematoxylin, 1.0), (block.eosin, 0.6)):
            stain *= amount * pooled * (1 + own * (strength - 1))

    def _light(self, block: Block) -> NDArray[np.uint8]:
        """Beer-Lambert, the blur of the objective and the noise of the camera."""
        stains = np.stack([block.haematoxylin, block.eosin], axis=-1)
        density = np.maximum(stains, 0) @ STAINS
        light = GLASS * np.exp(-density)
        sigma = 0.85 * self._scale
        light = cv2.GaussianBlur(light, (0, 0), max(sigma, 0.3))
        noise = self._patch(self._fine, block, 131)
        tint = self._patch(self._fine, block, 877)
        light += (1.7 * noise)[..., None]
        light[..., 2] += 0.9 * tint
        return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator, sigma: float) -> Array:
    """Periodic noise of one grain, variance 1, laid out twice so that a slice never wraps."""
    noise = rng.standard_normal((PERIOD, PERIOD)).astype(np.float32)
    smooth = gaussian_filter(noise, max(sigma, 0.3), mode="wrap")
    return np.tile(smooth / smooth.std(), (2, 2))


def _span(start: int, length: int, step: int, samples: int) -> tuple[int, int]:
    """First and last + 1 sample of the plan that a stretch of pixels needs."""
    first = start // step + MARGIN - 3
    last = (start + length - 1) // step + MARGIN + 4
    return max(first, 0), min(last, samples)


def _radius(block: Block, window: tuple[slice, slice], x: float, y: float) -> Array:
    """Distance (px) of the pixels of a window from a point of the slide."""
    rows, columns = window
    dx = np.arange(columns.start, columns.stop, dtype=np.float32) + (block.x + 0.5 - x)
    dy = np.arange(rows.start, rows.stop, dtype=np.float32) + (block.y + 0.5 - y)
    return np.hypot(dx[None, :], dy[:, None])
