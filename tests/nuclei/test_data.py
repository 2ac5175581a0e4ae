from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from qupath_hccmil.errors import DataError
from qupath_hccmil.nuclei.augment import _densify, _pale_nuclei, _tint_cytoplasm
from qupath_hccmil.nuclei.training_crops import (
    NUCLEUS_UM,
    Sample,
    Source,
    area_share,
    at_model_scale,
    draw_batch,
    iterate_source,
    load_source,
    mpp_from_nuclei,
    random_crop,
    read_groups,
    split_groups,
)
from tests.blobs import blob_folder, blob_image


def sample(name="a", group="a", side=96, mpp=0.5, weight=1.0):
    rgb, labels = blob_image(1, side=side)
    return Sample(name, group, rgb, labels > 0, mpp, weight)


def test_pixel_size_is_guessed_from_the_median_nucleus():
    yy, xx = np.mgrid[:100, :100]
    labels = np.zeros((100, 100), np.int32)
    for number, centre in enumerate((25, 75), start=1):
        labels[(yy - centre) ** 2 + (xx - centre) ** 2 <= 10**2] = number
    assert mpp_from_nuclei(labels) == pytest.approx(NUCLEUS_UM / 20, rel=0.03)
    assert mpp_from_nuclei((labels > 0).astype(np.int32)) == pytest.approx(
        NUCLEUS_UM / 20, rel=0.03
    )
    assert mpp_from_nuclei(np.zeros((9, 9), np.int32)) == 0.25


def test_a_dim_image_gets_a_white_background(tmp_path):
    images, masks = blob_folder(tmp_path, 1)
    dim = (np.asarray(Image.open(images / "0.png")) * 0.6).astype(np.uint8)
    Image.fromarray(dim).save(images / "0.png")
    samples, _ = load_source(Source(images, masks, mpp=0.5))
    assert np.percentile(samples[0].rgb, 95) > 240


def test_fine_images_are_kept_at_bounded_resolution(tmp_path):
    images, masks = blob_folder(tmp_path, 1, side=120)
    (only,), _ = load_source(Source(images, masks, mpp=0.09))
    assert only.rgb.shape == (60, 60, 3)
    assert only.mpp == pytest.approx(0.18)


def test_unusable_files_are_named_and_the_others_used(tmp_path):
    images, masks = blob_folder(tmp_path, 2)
    (masks / "1.png").write_bytes(b"broken")
    samples, unused = load_source(Source(images, masks, mpp=0.5))
    assert [s.name for s in samples] == ["0"]
    assert "1.png" in unused[0]


def test_groups_are_never_split(tmp_path):
    samples = [sample(str(i), f"organ {i % 4}") for i in range(12)]
    for held_out in (0.3, ["organ 1", "organ 3"]):
        training, validation = split_groups(samples, held_out, seed=0)
        assert {s.group for s in training}.isdisjoint(s.group for s in validation)
        assert len(training) + len(validation) == 12
    with pytest.raises(DataError, match="no image is of group 'liver'"):
        split_groups(samples, ["liver"], seed=0)
    with pytest.raises(DataError, match="cannot be split"):
        split_groups([sample()], 0.2, seed=0)


def test_groups_table_names_a_missing_column(tmp_path):
    # As a spreadsheet writes it, with a byte order mark and files' names.
    (tmp_path / "t.csv").write_text("image,organ\n1.png,liver\n", encoding="utf-8-sig")
    assert read_groups(tmp_path / "t.csv", "image", "organ") == {"1": "liver"}
    with pytest.raises(DataError, match="no column 'group'; its columns: image, organ"):
        read_groups(tmp_path / "t.csv", "image", "group")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"image,group\n1\n", "line 2 lacks"),
        (b"image,group\n1,\xff\n", "is not a CSV file in UTF-8"),
    ],
)
def test_a_damaged_groups_table_is_one_line(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=f"t.csv: {message}"):
        read_groups(tmp_path / "t.csv", "image", "group")


def test_a_group_written_with_spaces_around_it_is_the_same_group(tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text("image,group\na.png,slide 1\n b.png ,slide 1 \n")
    assert read_groups(table, "image", "group") == {"a": "slide 1", "b": "slide 1"}


def test_an_image_of_two_groups_is_refused(tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text("image,group\na.png,slide 1\na.png,slide 1\nb,slide 1\na,slide 2\n")
    with pytest.raises(DataError, match=r"line 5: image 'a' is of group 'slide 2', .* 'slide 1'"):
        read_groups(table, "image", "group")


def test_pixel_size_is_guessed_where_labels_are_huge_numbers():
    labels = np.zeros((100, 100), np.int32)
    labels[10:30, 10:30], labels[50:70, 50:70] = 2_000_000_000, 2_100_000_000
    assert mpp_from_nuclei(labels) == pytest.approx(NUCLEUS_UM / 22.6, rel=0.03)


def test_model_scale_keeps_physical_size():
    rgb, mask = at_model_scale(sample(side=100, mpp=0.25), mpp=0.5)
    assert rgb.shape == (50, 50, 3)
    assert mask.shape == (50, 50)


@pytest.mark.parametrize("size", [(7, 9), (16, 20), (40, 31), (1, 1)])
def test_a_mask_is_resampled_by_exact_area(size):
    mask = np.random.default_rng(0).random((20, 16)) > 0.5
    width, height = size
    # Each pixel cut into as many as the other grid has: area is then counting.
    fine = np.repeat(np.repeat(mask, height, axis=0), width, axis=1)
    counted = fine.reshape(height, 20, width, 16).mean(axis=(1, 3))
    np.testing.assert_allclose(area_share(mask, size), counted, atol=1e-12)


def test_exactly_half_of_the_area_is_no_nucleus():
    mask = np.zeros((4, 4), bool)
    mask[:, 0] = True
    mask[0, 1] = True
    halved = Sample("a", "a", np.zeros((4, 4, 3), np.uint8), mask, 0.25, 1.0)
    np.testing.assert_array_equal(at_model_scale(halved, 0.5)[1], [[True, False], [False, False]])


def test_an_image_to_evaluate_is_resampled_only_once(tmp_path):
    images, masks = blob_folder(tmp_path, 1, side=120)
    (only,) = iterate_source(Source(images, masks, mpp=0.11), [])
    assert only.rgb.shape == (120, 120, 3)
    assert only.mpp == 0.11


@pytest.mark.parametrize("side", [40, 96, 300])
def test_crops_have_one_size_whatever_the_image(side):
    rng = np.random.default_rng(0)
    rgb, share = random_crop(sample(side=side), 64, 0.5, rng)
    assert rgb.shape == (64, 64, 3)
    assert share.shape == (64, 64)
    assert share.min() >= 0
    assert share.max() <= 1


def test_a_crop_of_an_image_of_one_pixel_is_this_pixel():
    one = Sample("a", "a", np.full((1, 1, 3), 99, np.uint8), np.ones((1, 1), bool), 0.2, 1.0)
    rgb, share = random_crop(one, 32, 0.571, np.random.default_rng(0))
    assert (rgb == 99).all()
    assert (share == 1).all()


def test_a_crop_has_the_share_of_each_pixel_in_a_nucleus():
    whole = sample(side=128, mpp=0.25)
    _, share = random_crop(whole, 64, 0.5, np.random.default_rng(0), (1, 1))
    np.testing.assert_allclose(share, area_share(whole.mask, (64, 64)), atol=1 / 255)


def test_tissue_is_enlarged_as_asked():
    stripes = np.tile(np.arange(160) // 8 % 2 == 0, (160, 1))
    whole = Sample("a", "a", np.dstack([stripes * np.uint8(255)] * 3), stripes, 0.5, 1.0)
    rng = np.random.default_rng(0)
    masks = [random_crop(whole, 64, 0.5, rng, (by, by))[1] for by in (0.5, 1, 2)]
    edges = [int(np.abs(np.diff((mask[0] > 0.5).astype(int))).sum()) for mask in masks]
    assert edges == pytest.approx([16, 8, 4], abs=1)


def test_nuclei_of_another_crop_take_the_light_of_this_one():
    bright, dim = sample(), sample("b")
    dim = replace(dim, rgb=(dim.rgb * 0.5).astype(np.uint8))
    crops = [(each.rgb, each.mask.astype(np.float32)) for each in (bright, dim)]
    rng = np.random.default_rng(3)
    laid = [_densify(*crops, rng) for _ in range(5)]
    for rgb, share in laid:
        mask = share > 0.5
        assert (mask | bright.mask == mask).all()
        new = mask & ~bright.mask
        # Half the light would leave nuclei twice as dark in optical density.
        assert rgb[new].mean() > 0.8 * bright.rgb[bright.mask].mean()


def test_a_batch_is_repeatable_and_aligned():
    samples = [sample("a"), sample("b", weight=3.0)]
    first, second = (draw_batch(samples, 4, 64, 0.5, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    # Nuclei stay darker than what is around them, so image and mask were moved alike.
    brightness, nuclei = first[0].mean(axis=3), first[1] > 0.5
    assert brightness[nuclei].mean() < brightness[~nuclei].mean() - 20
    assert set(first[2].tolist()) <= {0, 1}


def test_cytoplasm_is_tinted_and_nuclei_are_not():
    rgb, labels = blob_image(4, side=96)
    share = (labels > 0).astype(np.float32)
    tissue = np.minimum(rgb, 200).astype(np.float32)
    tinted = _tint_cytoplasm(tissue, share, np.random.default_rng(1))
    darker = (tissue - tinted).mean(axis=2)
    np.testing.assert_allclose(darker[share == 1], 0, atol=0.1)
    assert darker[share == 0].mean() > 5
    # Haematoxylin takes more red than blue.
    change = (tissue - tinted)[share == 0].mean(axis=0)
    assert change[0] > change[2]


def test_pale_nuclei_are_lightened_inside_and_keep_their_rim():
    share = np.zeros((64, 64), np.float32)
    cv2.circle(share, (32, 32), 12, 1, cv2.FILLED)
    pixels = np.full((64, 64, 3), 80, np.float32)
    lightened = [_pale_nuclei(pixels, share, np.random.default_rng(seed)) for seed in range(20)]
    palest = max(lightened, key=lambda each: each[32, 32, 0])
    assert palest[32, 32, 0] > 100
    np.testing.assert_allclose(palest[32, 20], 80, atol=8)
    np.testing.assert_allclose(palest[share == 0], 80, atol=0.1)
