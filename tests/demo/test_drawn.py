"""The drawn slide is what it says: readable, repeatable, and true to its own ground truth."""

import hashlib

import numpy as np
import openslide
import pytest
import shapely

from qupath_hccmil.demo.cells import (
    ATYPICAL,
    ENDOTHELIAL,
    FIBROBLAST,
    KINDS,
    LYMPHOCYTE,
    TUMOUR,
    thin,
)
from qupath_hccmil.demo.drawn import DEMO_HEIGHT, DEMO_WIDTH, DrawnSlide, draw_slide, nuclei_mask
from qupath_hccmil.demo.paint import STAINS, Painter
from qupath_hccmil.demo.tissue_plan import MARGIN, plan_tissue
from qupath_hccmil.errors import DataError, WriteError
from qupath_hccmil.slides.tissue_outline import tissue_outline


def read(drawn: DrawnSlide) -> np.ndarray:
    """Level 0, (height, width, 3) uint8."""
    with openslide.OpenSlide(drawn.path) as slide:
        image = slide.read_region((0, 0), 0, slide.dimensions)
    return np.asarray(image)[..., :3]


def haematoxylin(rgb: np.ndarray) -> np.ndarray:
    """Concentration of the first stain, by the vectors that the slide is painted with."""
    density = -np.log(np.maximum(rgb.astype(float), 1) / 243)
    return (density @ np.linalg.pinv(STAINS))[..., 0]


def test_openslide_reads_the_pyramid_and_its_resolution(drawn: DrawnSlide) -> None:
    with openslide.OpenSlide(drawn.path) as slide:
        assert slide.dimensions == (2050, 1610)
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.25)
        assert slide.level_count == 2
        assert slide.level_downsamples[1] == pytest.approx(4, rel=0.01)
        assert slide.level_dimensions[1] == (513, 403)


def test_levels_show_the_same_picture(drawn: DrawnSlide) -> None:
    with openslide.OpenSlide(drawn.path) as slide:
        large = np.asarray(slide.read_region((512, 512), 0, (512, 512)))[..., :3].astype(float)
        small = np.asarray(slide.read_region((512, 512), 1, (128, 128)))[..., :3].astype(float)
    means = large.reshape(128, 4, 128, 4, 3).mean(axis=(1, 3))
    # JPEG takes half the colour resolution from both; a shift by one pixel gives more than 10
    assert np.abs(means - small).mean() < 6
    assert np.abs(means[:, 1:] - small[:, :-1]).mean() > 10


def test_the_same_seed_gives_the_same_file_and_another_seed_another(tmp_path) -> None:
    def digest(name: str, seed: int) -> str:
        path = draw_slide(tmp_path / name, width=1024, height=1024, seed=seed).path
        return hashlib.sha256(path.read_bytes()).hexdigest()

    assert digest("a.tif", 5) == digest("b.tif", 5) != digest("c.tif", 6)


def test_blocks_have_no_seams() -> None:
    from qupath_hccmil.demo.cells import place_cells

    plan = plan_tissue(1200, 1100, seed=1, mpp=0.25)
    painter = Painter(plan, place_cells(plan, 1), 1)
    whole = painter.paint(300, 250, 600, 500).astype(int)
    left, right = painter.paint(300, 250, 277, 500), painter.paint(577, 250, 323, 500)
    difference = np.abs(whole - np.concatenate([left, right], axis=1))
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 0.01


def test_nuclei_are_darker_in_haematoxylin_than_what_surrounds_them(drawn: DrawnSlide) -> None:
    stain = haematoxylin(read(drawn))
    mask = nuclei_mask(drawn, (0, 0, drawn.width, drawn.height))
    tissue = stain > 0.05
    assert 0.05 < mask.mean() < 0.4
    assert np.median(stain[mask]) > 3 * np.median(stain[tissue & ~mask])
    # a threshold half-way finds the mask again: the pixels and the truth belong together
    found = stain > 0.55
    dice = 2 * np.sum(found & mask) / (found.sum() + mask.sum())
    assert dice > 0.85


def test_the_mask_of_a_box_is_a_part_of_the_whole(drawn: DrawnSlide) -> None:
    whole = nuclei_mask(drawn, (0, 0, drawn.width, drawn.height))
    assert np.array_equal(nuclei_mask(drawn, (401, 333, 700, 500)), whole[333:833, 401:1101])


def test_every_nucleus_covers_its_centre(drawn: DrawnSlide) -> None:
    mask = nuclei_mask(drawn, (0, 0, drawn.width, drawn.height))
    x, y = drawn.nuclei.x.astype(int), drawn.nuclei.y.astype(int)
    inside = (x >= 0) & (x < drawn.width) & (y >= 0) & (y < drawn.height)
    assert mask[y[inside], x[inside]].all()


def test_kinds_look_as_pathologists_tell_them_apart(drawn: DrawnSlide) -> None:
    nuclei = drawn.nuclei
    counts = np.bincount(nuclei.kind, minlength=len(KINDS))
    assert (counts[[TUMOUR, ATYPICAL, FIBROBLAST, LYMPHOCYTE, ENDOTHELIAL]] > 10).all()
    area = np.pi * nuclei.a * nuclei.b

    def median(values: np.ndarray, kind: int) -> float:
        return float(np.median(values[nuclei.kind == kind]))

    assert median(area, ATYPICAL) > 1.5 * median(area, TUMOUR) > 1.8 * median(area, LYMPHOCYTE)
    assert median(nuclei.haematoxylin, ATYPICAL) > 1.3 * median(nuclei.haematoxylin, TUMOUR)
    assert median(nuclei.b / nuclei.a, FIBROBLAST) < 0.4


def test_atypia_is_planted_inside_the_tumour(drawn: DrawnSlide) -> None:
    tumour = shapely.union_all(drawn.tumours)
    assert drawn.tumours
    assert drawn.atypia
    assert all(shapely.intersection(tumour, a).area > 0.95 * a.area for a in drawn.atypia)
    nuclei = drawn.nuclei
    planted = shapely.union_all(drawn.atypia)
    inside = shapely.contains_xy(planted, nuclei.x, nuclei.y)
    share = np.mean(nuclei.kind[inside] == ATYPICAL)
    assert share > 0.5 > 10 * np.mean(nuclei.kind[~inside] == ATYPICAL) / 2


def test_the_default_slide_has_the_tiles_of_a_demo() -> None:
    plan = plan_tissue(DEMO_WIDTH, DEMO_HEIGHT, seed=0, mpp=0.25)
    tiles = sum(outline.area for outline in plan.tumours) / 512**2
    assert 150 <= tiles <= 250
    assert len(plan.tumours) == 2


def test_another_resolution_has_the_same_anatomy(tmp_path) -> None:
    fine = plan_tissue(2048, 2048, seed=2, mpp=0.25)
    coarse = draw_slide(tmp_path / "coarse.tif", width=1024, height=1024, seed=2, mpp=0.5)
    assert coarse.tumours[0].area * 4 == pytest.approx(fine.tumours[0].area, rel=0.02)
    with openslide.OpenSlide(coarse.path) as slide:
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"width": 600}, "250 µm"),
        ({"seed": -1}, "seed"),
        ({"mpp": 5.0}, "between 0.1 and 2"),
    ],
)
def test_bad_settings_are_told_in_one_line(tmp_path, settings: dict, told: str) -> None:
    with pytest.raises(DataError, match=told) as error:
        draw_slide(tmp_path / "x.tif", **{"width": 1024, "height": 1024, **settings})
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_tiff_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match=r"\.tif"):
        draw_slide(tmp_path / "x.png", width=1024, height=1024)


def test_a_folder_in_the_way_leaves_nothing_behind(tmp_path) -> None:
    (tmp_path / "x.tif" / "y").mkdir(parents=True)
    with pytest.raises(WriteError, match=r"x\.tif"):
        draw_slide(tmp_path / "x.tif", width=1024, height=1024)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tif"]


def test_thinning_keeps_earlier_discs_and_no_overlap() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 100, (2, 400)).astype(np.float32)
    radius = rng.uniform(1, 6, 400).astype(np.float32)
    kept = thin(x, y, radius)
    expected: list[int] = []
    for k in range(400):
        gaps = np.hypot(x[expected] - x[k], y[expected] - y[k])
        if (gaps >= radius[expected] + radius[k]).all():
            expected.append(k)
    assert np.flatnonzero(kept).tolist() == expected


def test_the_tissue_outline_is_that_of_the_drawn_tissue(drawn: DrawnSlide) -> None:
    with openslide.OpenSlide(drawn.path) as slide:
        thumbnail = np.asarray(slide.get_thumbnail((800, 800)).convert("RGB"))
    outline, _ = tissue_outline(thumbnail, drawn.width, drawn.height)
    assert len(outline) == 1
    plan = plan_tissue(drawn.width, drawn.height, seed=3, mpp=0.25)
    tissue = plan.tissue[MARGIN:-MARGIN, MARGIN:-MARGIN] > 0
    rows, columns = np.mgrid[: tissue.shape[0], : tissue.shape[1]]
    centres = (np.stack([columns, rows]) + 0.5) * plan.step_px
    found = shapely.contains_xy(outline[0], centres[0], centres[1])
    assert 2 * np.sum(found & tissue) / (found.sum() + tissue.sum()) > 0.97
    assert all(shapely.contains_properly(outline[0], tumour) for tumour in drawn.tumours)
