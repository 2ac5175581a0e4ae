"""Glass and blur are told from tissue in focus, on real tiles."""

import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from qupath_hccmil.slides.open_slide import open_slide
from qupath_hccmil.slides.tissue import TissueRule, detail


@pytest.fixture(scope="module")
def slide_tiles(data_dir: Path) -> np.ndarray:
    """All whole 128 µm tiles of CMU-1-Small-Region, by row: (88, 224, 224, 3)."""
    side = 128 / 0.499
    with open_slide(data_dir / "slides" / "CMU-1-Small-Region.svs") as slide:
        return np.stack(
            [slide.read_tile(x * side, y * side, side, side) for y in range(11) for x in range(8)]
        )


@pytest.fixture(scope="module")
def organ_tiles(data_dir: Path) -> np.ndarray:
    """One NuInsSeg image in 12, 92 µm each at the scale of tiles: (n, 161, 161, 3)."""
    paths = sorted((data_dir / "nuinsseg" / "images").glob("*.webp"))[::12]
    assert len(paths) > 50
    size = (161, 161)
    bilinear = Image.Resampling.BILINEAR
    return np.stack(
        [np.asarray(Image.open(p).convert("RGB").resize(size, bilinear)) for p in paths]
    )


def blur(tiles: np.ndarray, sigma: float) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(tile, (0, 0), sigma) for tile in tiles])


class TestRealTiles:
    def test_glass_is_background(self, slide_tiles: np.ndarray) -> None:
        background, _ = TissueRule().judge(slide_tiles)
        # The slide's left edge is glass, and its lower middle tissue: seen by eye.
        rows = background.reshape(11, 8)
        assert rows[:, 0].all()
        assert not rows[7:, 3:6].any()
        assert 35 <= (~background).sum() <= 45

    def test_sharp_tiles_are_kept(self, slide_tiles: np.ndarray, organ_tiles: np.ndarray) -> None:
        for tiles in (slide_tiles, organ_tiles):
            assert not TissueRule().judge(tiles)[1].any()

    @pytest.mark.parametrize("sigma", [2, 3, 5])
    def test_blurred_tiles_are_not(
        self, slide_tiles: np.ndarray, organ_tiles: np.ndarray, sigma: float
    ) -> None:
        for tiles in (slide_tiles, organ_tiles):
            background, blurred = TissueRule().judge(blur(tiles, sigma))
            assert (background ^ blurred).all()

    def test_detail_does_not_depend_on_the_strength_of_the_stain(
        self, slide_tiles: np.ndarray
    ) -> None:
        tiles = slide_tiles[TissueRule().tissue_fraction(slide_tiles) > 0.5]
        faded = (255 - (255 - tiles.astype(float)) * 0.4).astype(np.uint8)
        np.testing.assert_allclose(detail(faded), detail(tiles), rtol=0.05)

    def test_a_coarse_slide_is_not_called_blurred(self, slide_tiles: np.ndarray) -> None:
        tiles = slide_tiles[TissueRule().tissue_fraction(slide_tiles) > 0.5]
        bilinear = Image.Resampling.BILINEAR
        images = [Image.fromarray(tile).resize((64, 64), bilinear) for tile in tiles]
        coarse = np.stack([np.asarray(image.resize((224, 224), bilinear)) for image in images])
        assert TissueRule().judge(coarse, mpp=0.5)[1].all()
        assert not TissueRule().judge(coarse, mpp=2.0)[1].any()


class TestMadeTiles:
    @pytest.mark.parametrize("grey", [0, 40, 128, 200, 255])
    def test_grey_is_no_tissue(self, grey: int) -> None:
        background, blurred = TissueRule().judge(np.full((2, 224, 224, 3), grey, np.uint8))
        assert background.all()
        assert not blurred.any()

    def test_without_any_detail_is_blurred(self) -> None:
        flat = np.full((1, 224, 224, 3), (180, 90, 160), np.uint8)
        assert detail(flat) == 0
        assert TissueRule().judge(flat)[1].all()

    def test_fraction_counts_pixels(self) -> None:
        tiles = np.full((2, 100, 100, 3), 245, np.uint8)
        tiles[1, :30] = (180, 90, 160)
        np.testing.assert_array_equal(TissueRule().tissue_fraction(tiles), [0, 0.3])

    def test_batch_equals_single(self) -> None:
        tiles = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
        single = [detail(tiles[i : i + 1])[0] for i in range(5)]
        np.testing.assert_array_equal(detail(tiles), single)

    def test_empty_batch(self) -> None:
        background, blurred = TissueRule().judge(np.empty((0, 224, 224, 3), np.uint8))
        assert background.shape == blurred.shape == (0,)


def test_rule_survives_json() -> None:
    rule = TissueRule(min_tissue=0.3)
    assert TissueRule(**json.loads(json.dumps(asdict(rule)))) == rule
