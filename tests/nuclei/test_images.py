import numpy as np
import pytest
import tifffile
from PIL import Image

from qupath_hccmil.errors import DataError
from qupath_hccmil.nuclei.images import find_pairs, read_image, read_mask, read_pair

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "bmp"])
def test_reads_rgb_in_any_lossless_format(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RGB).save(path, lossless=True)
    np.testing.assert_array_equal(read_image(path), RGB)


def test_lays_transparent_pixels_on_white(tmp_path):
    rgba = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    rgba[:5, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert (image[:5] == 255).all()
    np.testing.assert_array_equal(image[5:], RGB[5:])


def test_reads_palette_images_in_their_colours(tmp_path):
    flat = np.zeros((8, 8, 3), np.uint8)
    flat[:4] = (200, 30, 90)
    Image.fromarray(flat).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), flat)


def test_scales_16_bit_images_from_their_full_range(tmp_path):
    grey = np.array([[0, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0, :, 1], [0, 128, 255])


def test_reads_tiff_of_16_bits_a_colour(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB.astype(np.uint16) * 257, photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), RGB)


def test_masks_keep_instance_labels_above_255(tmp_path):
    labels = np.array([[0, 1, 300]], dtype=np.uint16)
    Image.fromarray(labels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), labels)


def test_masks_may_be_binary_or_coloured(tmp_path):
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "binary.png")
    Image.fromarray(np.array([[[0, 0, 0], [0, 0, 9]]], np.uint8)).save(tmp_path / "colour.png")
    for name in ("binary.png", "colour.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name) > 0, [[False, True]])


def test_pairs_by_name_and_says_what_is_left_over(tmp_path):
    for folder, names in (("images", "abc"), ("masks", "bcd")):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.fromarray(RGB).save(tmp_path / folder / f"{name}.png")
    pairs, unused = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert [pair.name for pair in pairs] == ["b", "c"]
    assert len(unused) == 2
    assert "a.png: no mask" in unused[0]
    assert "d.png: no image" in unused[1]


def test_bad_input_is_one_line(tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        find_pairs(tmp_path / "none", tmp_path)
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "words.tif").write_text("not an image")
    for name in ("text.png", "words.tif"):
        with pytest.raises(DataError, match=f"{name}: not a readable image"):
            read_image(tmp_path / name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image has a mask"):
        find_pairs(tmp_path, tmp_path / "empty")


def test_refuses_a_mask_of_another_size(tmp_path):
    for folder, size in (("i", (20, 30)), ("m", (20, 31))):
        (tmp_path / folder).mkdir()
        Image.new("RGB", size).save(tmp_path / folder / "a.png")
    pairs, _ = find_pairs(tmp_path / "i", tmp_path / "m")
    with pytest.raises(DataError, match="20×31 px, but its image is 20×30 px"):
        read_pair(pairs[0])
