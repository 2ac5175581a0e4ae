"""The tissue outline covers the tissue and little else."""

import cv2
import numpy as np
import openslide
import pytest

from qupath_hccmil.slides.tissue_outline import tissue_outline


def picture(path) -> tuple[np.ndarray, tuple[int, int]]:
    with openslide.OpenSlide(path) as slide:
        thumbnail = slide.get_thumbnail((800, 800)).convert("RGB")
        return np.asarray(thumbnail), slide.dimensions


def test_a_real_slide(data_dir) -> None:
    thumbnail, size = picture(data_dir / "slides" / "CMU-1-Small-Region.svs")
    outline, _ = tissue_outline(thumbnail, *size)
    assert outline
    assert all(piece.is_valid for piece in outline)
    share = sum(piece.area for piece in outline) / (size[0] * size[1])
    assert 0.3 < share < 0.45


def test_pieces_and_holes_keep_apart_and_dirt_is_dropped() -> None:
    glass = np.full((400, 600, 3), 243, np.uint8)
    pink = (200, 120, 170)
    cv2.circle(glass, (150, 200), 100, pink, -1)
    cv2.circle(glass, (150, 200), 40, (243, 243, 243), -1)
    cv2.rectangle(glass, (400, 100), (500, 300), pink, -1)
    cv2.circle(glass, (300, 50), 5, pink, -1)
    (disc, block), share = tissue_outline(glass, 6000, 4000)
    assert 0.9 < share <= 1
    assert disc.area == pytest.approx(np.pi * (1000**2 - 400**2), rel=0.05)
    assert len(disc.interiors) == 1
    assert block.area == pytest.approx(1000 * 2000, rel=0.05)
    assert block.bounds == pytest.approx((4000, 1000, 5000, 3000), abs=25)


def test_empty_glass_has_no_outline_and_full_tissue_is_all_outline() -> None:
    assert tissue_outline(np.full((100, 100, 3), 240, np.uint8), 1000, 1000).pieces == []
    stained = np.full((100, 100, 3), (190, 110, 160), np.uint8)
    (full,) = tissue_outline(stained, 1000, 1000).pieces
    assert full.area == pytest.approx(1000 * 1000, rel=0.05)
