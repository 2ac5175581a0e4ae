"""A project of two images in one file, as scanners write them that scan two slides at once."""

from pathlib import Path

import tifffile
from shapely.geometry import box

from qupath_hccmil.qupath.create_project import NewAnnotation, NewImage, create_project
from qupath_hccmil.qupath.new_image import BIOFORMATS
from tests.blobs import blob_image

SIDES = (600, 580)  # two sizes: pages of one size would be planes of one image


def two_scenes(folder: Path, patients: tuple[str, str] = ("P1", "P2"), same: bool = False) -> Path:
    """A project whose images "scene 0" and "scene 1" are in both.tif; with `same`, both are one."""
    folder.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(folder / "both.tif") as tiff:
        for seed, side in enumerate(SIDES):
            rgb = blob_image(seed, side=side, count=200 + 300 * seed, radius=14)[0]
            tiff.write(rgb, photometric="rgb", metadata=None)
    images = [
        NewImage(
            folder / "both.tif", f"scene {number}", side, side, 0.25,
            metadata={"Patient ID": patient}, provider=BIOFORMATS, args=("--series", str(series)),
            annotations=[NewAnnotation(box(0, 0, side, side), "Tumor")],
        )
        for number, patient in enumerate(patients)
        for series in (0 if same else number,)
        for side in (SIDES[series],)
    ]  # fmt: skip
    create_project(folder / "project", images)
    return folder / "project"
