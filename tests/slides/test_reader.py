"""Tiles hold the pixels that their coordinates name, whatever the file, and bad files say so."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from qupath_hccmil.errors import SlideError, SlideMissingError
from qupath_hccmil.slides import openslide_file
from qupath_hccmil.slides.open_slide import RESAMPLER, open_slide
from tests.drawn_slides import texture, write_bounded, write_pyramid

GOLDEN = Path(__file__).parent / "golden" / "tiles.json"


@pytest.fixture
def pixels() -> np.ndarray:
    return texture(700, 600)


@pytest.fixture
def tiff(tmp_path: Path, pixels: np.ndarray) -> Path:
    return write_pyramid(tmp_path / "slide.tif", pixels)


class TestTile:
    def test_is_the_same_as_ever(self, tiff: Path) -> None:
        """Scores depend on every bit of the resampler."""
        frozen = json.loads(GOLDEN.read_text())
        assert frozen["resampler"] == RESAMPLER
        with open_slide(tiff) as slide:
            for tile in frozen["tiles"]:
                found = slide.read_tile(*tile["box"], out=tile["out"])
                np.testing.assert_array_equal(found, np.array(tile["pixels"], dtype=np.uint8))

    def test_whole_pixels_come_back_unchanged(self, tiff: Path, pixels: np.ndarray) -> None:
        with open_slide(tiff) as slide:
            found = slide.read_tile(123, 45, 224, 224)
        np.testing.assert_array_equal(found, pixels[45:269, 123:347])
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous

    def test_fractions_of_a_pixel_count(self, tmp_path: Path) -> None:
        """A ramp of one grey level a px, read half a px further on, is half a level brighter."""
        ramp = np.repeat(np.arange(250, dtype=np.uint8)[None, :, None], 250, axis=0)
        Image.fromarray(np.repeat(ramp, 3, axis=2)).save(tmp_path / "ramp.png")
        with open_slide(tmp_path / "ramp.png") as slide:
            means = [slide.read_tile(20 + d, 20, 200, 200).mean() for d in (0, 0.25, 0.5)]
        np.testing.assert_allclose(np.diff(means), 0.25, atol=0.02)

    def test_does_not_alias(self, tmp_path: Path) -> None:
        checks = (np.indices((1024, 1024)).sum(axis=0) % 2 * 255).astype(np.uint8)
        Image.fromarray(checks).save(tmp_path / "checks.png")
        with open_slide(tmp_path / "checks.png") as slide:
            found = slide.read_tile(100.3, 100.6, 512, 512).astype(int)
        assert abs(found - 127).max() < 40

    def test_sides_may_differ(self, tiff: Path, pixels: np.ndarray) -> None:
        with open_slide(tiff) as slide:
            found = slide.read_tile(0, 0, 448, 224)
        halves = pixels[:224, :448].reshape(224, 224, 2, 3).mean(axis=2)
        assert abs(found - halves).mean() < 5

    def test_beyond_the_slide_is_white(self, tiff: Path, tmp_path: Path) -> None:
        with open_slide(tiff) as slide:
            Image.fromarray(slide.read_tile(0, 0, 600, 600, out=600)).save(tmp_path / "copy.png")
        for path in (tiff, tmp_path / "copy.png"):
            with open_slide(path) as slide:
                corner = slide.read_tile(-50, -50, 100, 100, out=100)
                assert (corner[:49] == 255).all()
                assert (corner[51:, 51:] != 255).any()
                assert (slide.read_tile(5000, 5000, 100, 100) == 255).all()

    def test_threads_share_a_slide(self, tiff: Path) -> None:
        boxes = [(x * 31.7, y * 23.1, 256.5, 256.5) for x in range(8) for y in range(8)]
        with open_slide(tiff) as slide, ThreadPoolExecutor(8) as pool:
            one_by_one = [slide.read_tile(*box) for box in boxes]
            for found, expected in zip(
                pool.map(lambda box: slide.read_tile(*box), boxes), one_by_one, strict=True
            ):
                np.testing.assert_array_equal(found, expected)


class TestLevel:
    @pytest.mark.parametrize(
        ("mpp", "level"),
        [
            (0.25, 0),
            (0.125, 1),
            (0.0625, 2),
            (0.0625 * 1.09, 2),
            (0.0625 * 1.12, 1),
            (0.137, 1),
            (0.14, 0),
            (0.5, 0),
            (1.5, 0),
        ],
    )
    def test_is_the_coarsest_that_is_fine_enough(
        self, tmp_path: Path, mpp: float, level: int
    ) -> None:
        path = write_pyramid(
            tmp_path / "marked.tif",
            np.zeros((1024, 1024, 3), np.uint8),
            downsamples=(1, 2, 4, 8),
            marks=True,
        )
        with open_slide(path) as slide:
            assert slide.levels == (1, 2, 4, 8)
            side = 128 / mpp
            # Only the corner is needed to see which level it is of.
            assert slide.read_tile(0, 0, side, side)[0, 0, 0] == 40 * level

    def test_levels_agree_on_the_place(self, tmp_path: Path) -> None:
        pixels = texture(2048, 2048)
        path = write_pyramid(tmp_path / "p.tif", pixels, downsamples=(1, 4))
        flat = write_pyramid(tmp_path / "flat.tif", pixels)
        with open_slide(path) as pyramid, open_slide(flat) as single:
            box = (301.3, 77.8, 1500.0, 1500.0)
            fine = single.read_tile(*box, out=64).astype(float)
            assert abs(pyramid.read_tile(*box, out=64) - fine).mean() < 1
            moved = single.read_tile(box[0] + 24, *box[1:], out=64)
            assert abs(moved - fine).mean() > 3


class TestFile:
    def test_tiled_tiff(self, tiff: Path) -> None:
        with open_slide(tiff) as slide:
            assert (slide.width, slide.height) == (700, 600)
            assert slide.mpp == (0.25, 0.25)
            assert slide.path == tiff

    def test_tiled_tiff_without_pixel_size(self, tmp_path: Path, pixels: np.ndarray) -> None:
        with open_slide(write_pyramid(tmp_path / "n.tif", pixels, mpp=None)) as slide:
            assert slide.mpp is None

    def test_real_slide(self, data_dir: Path) -> None:
        with open_slide(data_dir / "slides" / "CMU-1-Small-Region.svs") as slide:
            assert (slide.width, slide.height) == (2220, 2967)
            assert slide.mpp == (0.499, 0.499)
            assert slide.levels == (1.0,)
            side = 128 / 0.499
            tile = slide.read_tile(4 * side, 7 * side, side, side)
            assert 100 < tile.mean() < 220
            assert slide.thumbnail(300).shape == (300, 224, 3)

    @pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
    def test_lossless_image(self, tmp_path: Path, pixels: np.ndarray, name: str) -> None:
        Image.fromarray(pixels).save(tmp_path / name)
        with open_slide(tmp_path / name) as slide:
            assert (slide.width, slide.height, slide.mpp) == (700, 600, None)
            np.testing.assert_array_equal(slide.read_tile(9, 8, 224, 224), pixels[8:232, 9:233])

    def test_jpeg_is_not_turned_by_exif(self, tmp_path: Path, pixels: np.ndarray) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95, exif=exif)
        with open_slide(tmp_path / "a.jpg") as slide:
            assert (slide.width, slide.height) == (700, 600)

    def test_palette(self, tmp_path: Path, pixels: np.ndarray) -> None:
        image = Image.fromarray(pixels).quantize(32)
        image.save(tmp_path / "p.tif")
        with open_slide(tmp_path / "p.tif") as slide:
            found = slide.read_tile(0, 0, 224, 224)
        np.testing.assert_array_equal(found, np.asarray(image.convert("RGB"))[:224, :224])

    @pytest.mark.parametrize("name", ["grey.png", "grey.tif"])
    def test_sixteen_bits(self, tmp_path: Path, pixels: np.ndarray, name: str) -> None:
        grey = pixels[..., 0]
        Image.fromarray(grey.astype(np.uint16) * 256 + 255).save(tmp_path / name)
        with open_slide(tmp_path / name) as slide:
            found = slide.read_tile(0, 0, 224, 224)
        np.testing.assert_array_equal(found, np.repeat(grey[:224, :224, None], 3, axis=2))

    def test_sixteen_bit_colour(self, tmp_path: Path, pixels: np.ndarray) -> None:
        tifffile.imwrite(tmp_path / "c.tif", pixels.astype(np.uint16) * 257, photometric="rgb")
        with open_slide(tmp_path / "c.tif") as slide:
            np.testing.assert_array_equal(slide.read_tile(0, 0, 224, 224), pixels[:224, :224])

    def test_transparent_is_white(self, tmp_path: Path, pixels: np.ndarray) -> None:
        alpha = np.full(pixels.shape[:2], 255, np.uint8)
        alpha[:300] = 0
        Image.fromarray(np.dstack([pixels, alpha])).save(tmp_path / "a.png")
        palette = Image.fromarray(pixels).quantize(16)
        palette.save(tmp_path / "p.png", transparency=palette.getpixel((0, 0)))
        with open_slide(tmp_path / "a.png") as slide:
            assert (slide.read_tile(0, 0, 224, 224) == 255).all()
            np.testing.assert_array_equal(slide.read_tile(0, 320, 224, 224), pixels[320:544, :224])
        with open_slide(tmp_path / "p.png") as slide:
            assert (slide.read_tile(0, 0, 224, 224)[0, 0] == 255).all()


class TestBounds:
    """Where a format states the scanned area (MIRAX, Leica), QuPath's (0, 0) is its corner."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return write_bounded(
            tmp_path / "a.scn", texture(512, 384), corner=(300, 200), scan=(1200, 900)
        )

    def test_coordinates_start_at_the_bounds(self, path: Path) -> None:
        with open_slide(path) as slide:
            assert (slide.width, slide.height) == (512, 384)
            np.testing.assert_array_equal(slide.thumbnail(10_000), texture(512, 384))
            np.testing.assert_array_equal(
                slide.read_tile(9, 8, 224, 224), texture(512, 384)[8:232, 9:233]
            )

    def test_no_crop(self, path: Path) -> None:
        with open_slide(path, crop_to_bounds=False) as slide:
            assert (slide.width, slide.height) == (1200, 900)
            found = slide.thumbnail(10_000)
        np.testing.assert_array_equal(found[200:584, 300:812], texture(512, 384))

    def test_what_was_not_scanned_is_black_as_in_qupath(self, path: Path) -> None:
        with open_slide(path, crop_to_bounds=False) as slide:
            assert (slide.read_tile(0, 0, 190, 190) == 0).all()
            assert (slide.read_tile(850, 600, 224, 224) == 0).all()
            beyond = slide.read_tile(1200 - 20, 900 - 20, 40, 40, out=40)
        assert (beyond[:20, :20] == 0).all()
        assert (beyond[20:] == 255).all()
        assert (beyond[:, 20:] == 255).all()


class TestThumbnail:
    @pytest.mark.parametrize("downsamples", [(1,), (1, 2)])
    def test_shows_the_whole_slide(self, tmp_path: Path, downsamples: tuple[int, ...]) -> None:
        pixels = texture(1400, 900)
        path = write_pyramid(tmp_path / "t.tif", pixels, downsamples=downsamples)
        with open_slide(path) as slide:
            found = slide.thumbnail(700)
        assert found.shape == (450, 700, 3)
        expected = pixels.reshape(450, 2, 700, 2, 3).mean(axis=(1, 3))
        assert abs(found - expected).mean() < 5

    def test_does_not_enlarge(self, tiff: Path, pixels: np.ndarray) -> None:
        with open_slide(tiff) as slide:
            np.testing.assert_array_equal(slide.thumbnail(10_000), pixels)


class TestBadFile:
    def refused(self, path: Path, message: str) -> None:
        with pytest.raises(SlideError, match=message) as found:
            open_slide(path)
        assert str(path) in str(found.value)
        assert "\n" not in str(found.value)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(SlideMissingError, match="no such file"):
            open_slide(tmp_path / "none.svs")
        with pytest.raises(SlideMissingError, match="no such file"):
            open_slide(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"not an image", bytes(5000)])
    @pytest.mark.parametrize("name", ["a.svs", "a.png", "a.tif", "a.mrxs", "a.jpg"])
    def test_not_an_image(self, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        self.refused(tmp_path / name, "not an image")

    @pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
    def test_truncated_image(self, tmp_path: Path, pixels: np.ndarray, name: str) -> None:
        path = tmp_path / name
        Image.fromarray(pixels).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        self.refused(path, "damaged or truncated|is not an image")

    def test_truncated_slide(self, data_dir: Path, tmp_path: Path) -> None:
        whole = (data_dir / "slides" / "CMU-1-Small-Region.svs").read_bytes()
        for share in (0.9, 0.5, 0.001):
            path = tmp_path / "cut.svs"
            path.write_bytes(whole[: int(len(whole) * share)])
            self.refused(path, "damaged or truncated|is not an image")

    def test_damage_within_a_slide(self, data_dir: Path, tmp_path: Path) -> None:
        content = bytearray((data_dir / "slides" / "CMU-1-Small-Region.svs").read_bytes())
        with tifffile.TiffFile(data_dir / "slides" / "CMU-1-Small-Region.svs") as tiff:
            page = tiff.pages[0]
            start, length = page.dataoffsets[-1], page.databytecounts[-1]
        content[start : start + length] = bytes(length)
        path = tmp_path / "damaged.svs"
        path.write_bytes(content)
        with open_slide(path) as slide:
            slide.read_tile(0, 0, 256, 256)
            with pytest.raises(SlideError, match=r"damaged\.svs: damaged.*at \(2000, 2700\)"):
                slide.read_tile(2000, 2700, 200, 200)

    def test_pixels_that_are_not_colours(self, tmp_path: Path) -> None:
        Image.fromarray(np.zeros((50, 50), np.float32)).save(tmp_path / "f.tif")
        self.refused(tmp_path / "f.tif", "pixels of type F")

    def test_too_large_without_tiles(
        self, tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Image.fromarray(pixels).save(tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300_000)
        with open_slide(tmp_path / "a.png") as slide:
            assert slide.width == 700
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
        self.refused(tmp_path / "a.png", "pyramidal TIFF")


@pytest.mark.parametrize(
    ("properties", "scanner"),
    [
        ({"aperio.ScanScope ID": "SS1302", "tiff.Make": "Aperio"}, "SS1302"),
        ({"hamamatsu.NDP.S/N": " 000201 ", "hamamatsu.Product": "C9600"}, "000201"),
        ({"tiff.Make": "Hamamatsu", "tiff.Model": ""}, "Hamamatsu"),
        ({}, ""),
    ],
)
def test_the_scanner_is_named_as_the_file_states_it(properties, scanner):
    assert openslide_file._scanner(properties) == scanner
