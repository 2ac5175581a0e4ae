"""Small slides that the tests make themselves."""

from pathlib import Path

import numpy as np
import tifffile


def texture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with fine noise: (height, width, 3) uint8, no two places alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    waves = [np.sin(x / 37 + y / 91), np.cos(y / 53 - x / 71), np.sin((x + y) / 43)]
    colours = 128 + 70 * np.stack(waves, axis=-1) + rng.normal(0, 12, (height, width, 3))
    return np.clip(colours, 0, 255).astype(np.uint8)


def write_pyramid(
    path: Path,
    pixels: np.ndarray,
    *,
    downsamples: tuple[int, ...] = (1,),
    mpp: float | None = 0.25,
    marks: bool = False,
) -> Path:
    """Write a tiled TIFF that OpenSlide reads.

    Each level is the mean of the pixels that it stands for; with `marks`, level k is grey 40 k
    instead, so that a test can tell which one was read.
    """
    resolution = {} if mpp is None else {"resolution": (1e4 / mpp,) * 2, "resolutionunit": 3}
    with tifffile.TiffWriter(path) as tiff:
        for number, factor in enumerate(downsamples):
            height, width = (side // factor for side in pixels.shape[:2])
            blocks = pixels[: height * factor, : width * factor].astype(np.float64)
            level = blocks.reshape(height, factor, width, factor, 3).mean(axis=(1, 3))
            if marks:
                level[:] = 40 * number
            tiff.write(
                level.round().astype(np.uint8),
                tile=(128, 128),
                photometric="rgb",
                compression="deflate",
                subfiletype=int(number > 0),
                metadata=None,
                **resolution,
            )
    return path


def write_bounded(
    path: Path, pixels: np.ndarray, *, corner: tuple[int, int], scan: tuple[int, int]
) -> Path:
    """Write a Leica SCN at 0.25 µm/px whose scanned area is `pixels`, at `corner` of `scan` px.

    The rest of the scan holds no pixels: OpenSlide calls it transparent and states the bounds.
    """
    height, width = pixels.shape[:2]
    nm = 250
    description = f"""<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
 <collection name="c" sizeX="{scan[0] * nm}" sizeY="{scan[1] * nm}"><image name="i">
  <creationDate>2020-01-01T00:00:00Z</creationDate><device model="m" version="1"/>
  <pixels sizeX="{width}" sizeY="{height}">
   <dimension sizeX="{width}" sizeY="{height}" r="0" ifd="0"/>
  </pixels>
  <view sizeX="{width * nm}" sizeY="{height * nm}" offsetX="{corner[0] * nm}"
   offsetY="{corner[1] * nm}"/>
  <scanSettings>
   <objectiveSettings><objective>40</objective></objectiveSettings>
   <illuminationSettings>
    <illuminationSource>brightfield</illuminationSource>
   </illuminationSettings>
  </scanSettings>
 </image></collection>
</scn>"""
    tifffile.imwrite(
        path,
        pixels,
        tile=(128, 128),
        photometric="rgb",
        compression="deflate",
        description=description.encode(),
        metadata=None,
        bigtiff=True,
        resolution=(1e7 / nm,) * 2,
        resolutionunit=3,
    )
    return path
