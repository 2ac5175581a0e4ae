"""What OpenSlide can't decode is read by tifffile where that can, and is never called damaged."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from qupath_hccmil.errors import SlideError
from qupath_hccmil.slides.open_slide import open_slide
from qupath_hccmil.slides.openslide_file import OpenSlideFile
from qupath_hccmil.slides.tiff_file import TiffSlide
from tests.slides import kinds_of_files as kinds
from tests.slides.kinds_of_files import PIXELS, TILE

# lossless where the kind has it; 33005 is Aperio's JPEG 2000 in RGB, here in a generic TIFF
KINDS = ("jpeg2000", 33005, "webp", "jpegxl", "lerc", "png", "jpegxr", "lzma")


def refusal(path: Path) -> str:
    with pytest.raises(SlideError) as error:
        open_slide(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("compression", KINDS)
@pytest.mark.parametrize("layout", [TILE, {"rowsperstrip": 64}], ids=["tiles", "strips"])
def test_pixels_are_those_of_tifffile(tmp_path: Path, compression: str | int, layout: dict) -> None:
    path = kinds.tiff(tmp_path / "s.tif", compression=compression, resolution=(4e4, 4e4),
                      resolutionunit=3, **layout)  # fmt: skip
    with open_slide(path) as slide:
        assert (slide.width, slide.height, slide.mpp) == (210, 180, (0.25, 0.25))
        np.testing.assert_array_equal(slide.thumbnail(10_000), tifffile.imread(path))


def test_levels_of_a_pyramid_are_used(tmp_path: Path) -> None:
    path = tmp_path / "p.tif"
    with tifffile.TiffWriter(path) as file:
        how = {"photometric": "rgb", "compression": "jpeg2000", "metadata": None, **TILE}
        file.write(PIXELS, **how)
        file.write(np.full_like(PIXELS[::2, ::2], 40), subfiletype=1, **how)
        file.write(np.full_like(PIXELS[:64, :64], 90), subfiletype=1, **how)
    with open_slide(path) as slide:
        assert isinstance(slide, TiffSlide)
        assert slide.levels == (1.0, 2.0)
        assert (slide.thumbnail(105) == 40).all()
        assert (slide.read_tile(-50, -50, 100, 100, out=100)[:49] == 255).all()


@pytest.mark.parametrize("compression", ["lzw", "deflate", "jpeg", "zstd"])
def test_what_openslide_decodes_is_its(tmp_path: Path, compression: str) -> None:
    with open_slide(kinds.tiff(tmp_path / "s.tif", compression=compression, **TILE)) as slide:
        assert isinstance(slide, OpenSlideFile)


def test_what_no_decoder_knows_is_named(tmp_path: Path) -> None:
    path = kinds.tiff(tmp_path / "s.tif", compression="jpeg2000", **TILE)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages.first.tags["Compression"].valueoffset
    content[at : at + 2] = (34926).to_bytes(2, "little")
    path.write_bytes(content)
    reason = refusal(path)
    assert "34926" in reason
    assert "pyramidal TIFF" in reason
    assert "damaged or truncated slide" not in reason


def test_what_is_no_rgb_is_said_to_be_none(tmp_path: Path) -> None:
    path = kinds.tiff(tmp_path / "s.tif", kinds.GREY, photometric="minisblack",
                      compression="jpeg2000", **TILE)  # fmt: skip
    reason = refusal(path)
    assert "not RGB (MINISBLACK, 1 samples per pixel)" in reason
    assert "JPEG2000 34712" in reason


def test_a_slide_of_a_scanner_that_openslide_cannot_decode_names_its_compression(
    tmp_path: Path,
) -> None:
    path = kinds.tiff(tmp_path / "s.svs", compression="jpegxl", metadata=None,
                      description="Aperio Image Library v1\n210x180", **TILE)  # fmt: skip
    reason = refusal(path)
    assert "JPEGXL 50002" in reason
    assert "damaged" not in reason


def test_damage_is_still_called_damage(tmp_path: Path) -> None:
    path = kinds.tiff(tmp_path / "s.tif", compression="jpeg2000", **TILE)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        start, length = page.dataoffsets[-1], page.databytecounts[-1]
    content = bytearray(path.read_bytes())
    content[start : start + length] = bytes(length)
    path.write_bytes(content)
    with open_slide(path) as slide:
        slide.read_tile(0, 0, 60, 60)
        with pytest.raises(SlideError, match=r"s\.tif: damaged.*at \(\d+, \d+\)"):
            slide.read_tile(150, 150, 60, 60)
