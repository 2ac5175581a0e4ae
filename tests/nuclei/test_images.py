import sys
import unicodedata

import numpy as np
import pytest
import tifffile
from PIL import Image

from qupath_hccmil.errors import DataError
from qupath_hccmil.nuclei.image_mask_folders import find_pairs, read_image, read_mask, read_pair

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


@pytest.mark.parametrize(
    "layout",
    [
        {"compression": "lzw"},
        {"compression": "deflate", "predictor": True},
        {"bigtiff": True},
        {"tile": (16, 16)},
        {"byteorder": ">"},
        {"planarconfig": "separate"},
    ],
)
def test_reads_a_deep_tiff_of_any_layout(tmp_path, layout):
    deep = RGB.astype(np.uint16) * 257
    if "planarconfig" in layout:
        deep = np.moveaxis(deep, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", **layout)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), RGB)


@pytest.mark.parametrize("values", [RGB.astype(np.uint16) * 16, RGB.astype(np.float32) / 255])
def test_scales_a_deep_tiff_from_the_range_that_holds_it(tmp_path, values):
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").astype(float), RGB, atol=1)


def test_lays_transparent_pixels_of_a_deep_tiff_on_white(tmp_path):
    rgba = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)]).astype(np.uint16) * 257
    rgba[:5, :, 3] = 0
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    image = read_image(tmp_path / "a.tif")
    assert (image[:5] == 255).all()
    np.testing.assert_array_equal(image[5:], RGB[5:])


def test_turns_a_photograph_as_its_exif_data_say(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    smooth = Image.fromarray(RGB).resize((30, 20)).resize((300, 200))
    turned = smooth.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    read = read_image(tmp_path / "a.jpg").astype(float)
    assert np.abs(read - np.asarray(smooth)).mean() < 3


NUCLEI = np.zeros((20, 30), dtype=bool)
NUCLEI[4:9, 5:25] = True
WHITE = (NUCLEI * 255).astype(np.uint8)


def with_palette(indices, *colours):
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette(np.array(colours, np.uint8).ravel().tobytes())
    return image


@pytest.mark.parametrize(
    "mask",
    [
        with_palette(NUCLEI, (0, 0, 0), (255, 255, 255)),
        # An editor may give white the index 0.
        with_palette(~NUCLEI, (255, 255, 255), (0, 0, 0)),
        with_palette(NUCLEI, (0, 0, 90), (255, 200, 0)),
        Image.fromarray(np.dstack([WHITE, WHITE, WHITE, np.full_like(WHITE, 255)])),
        # An outline layer: white everywhere, transparent where nothing is drawn.
        Image.fromarray(np.dstack([np.full((20, 30, 3), 255, np.uint8), WHITE])),
    ],
)
def test_reads_masks_as_an_editor_shows_them(tmp_path, mask):
    mask.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png") > 0, NUCLEI)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_the_ringing_of_a_lossy_mask_is_no_nucleus(tmp_path, suffix):
    large = Image.fromarray(WHITE).resize((300, 200), Image.Resampling.NEAREST)
    large.save(tmp_path / f"a.{suffix}", quality=60)
    differing = (read_mask(tmp_path / f"a.{suffix}") > 0) != (np.asarray(large) > 0)
    assert differing.mean() < 0.002


@pytest.mark.parametrize(
    "labels",
    [
        NUCLEI.astype(np.float32),
        NUCLEI.astype(np.float64) * 7,
        NUCLEI.astype(np.int64) * 70_000,
        NUCLEI.astype(np.uint16) * 40_000,
        NUCLEI.astype(np.uint32) * 4_000_000_000,
        np.dstack([NUCLEI.astype(np.uint16) * 9] * 3),
    ],
)
def test_reads_masks_of_any_number_type(tmp_path, labels):
    photometric = "rgb" if labels.ndim == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric=photometric)
    read = read_mask(tmp_path / "a.tif")
    np.testing.assert_array_equal(read > 0, NUCLEI)
    assert read.min() == 0


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (NUCLEI * np.float32(0.9), "0 to 0.9"),
        (np.where(NUCLEI, np.float32(np.nan), 0), "nan"),
        (np.where(NUCLEI, 1, -1).astype(np.int32), "-1 to 1"),
    ],
)
def test_refuses_a_mask_whose_background_is_not_clear(tmp_path, values, reason):
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(
        DataError, match=f"a.tif: the mask has values from .*{reason}.*whole numbers"
    ):
        read_mask(tmp_path / "a.tif")


def test_a_header_that_claims_too_many_pixels_is_refused_at_once(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB.astype(np.uint16), photometric="rgb")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages.first.tags["ImageWidth"].overwrite(2_000_000_000)
    with pytest.raises(DataError, match="2000000000×20 px"):
        read_image(tmp_path / "a.tif")


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
    assert "a.png: has no mask" in unused[0]
    assert "d.png: has no image" in unused[1]


def folders(tmp_path, images, masks):
    for folder, names in (("images", images), ("masks", masks)):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.fromarray(RGB).save(tmp_path / folder / name)
    return tmp_path / "images", tmp_path / "masks"


def test_pairs_names_that_differ_in_what_does_not_matter(tmp_path):
    if sys.getfilesystemencoding() != "utf-8":
        pytest.skip("this locale has no file names with accents")
    images, masks = folders(
        tmp_path,
        ["a.PNG", "b.png", "c.tif", unicodedata.normalize("NFD", "é.png"), "d_label.png"],
        ["a_mask.png", "b-labels.png", "c.png", unicodedata.normalize("NFC", "é.png"), "d.png"],
    )
    pairs, unused = find_pairs(images, masks)
    assert [pair.name for pair in pairs] == ["a", "b", "c", "é"]
    # An image is never shortened to fit a mask.
    assert [line.rsplit("/", 1)[1] for line in unused] == [
        "d_label.png: has no mask",
        "d.png: has no image",
    ]


def test_says_of_everything_in_the_folders_why_it_is_not_used(tmp_path):
    images, masks = folders(tmp_path, ["a.png", "b.png", "b.tif", "._a.png"], ["a.png", "b.png"])
    (images / ".DS_Store").touch()
    (images / "c.npy").touch()
    (images / "d.png").mkdir()
    pairs, unused = find_pairs(images, masks)
    assert [pair.name for pair in pairs] == ["a"]
    assert [line.removeprefix(f"{tmp_path}/") for line in unused] == [
        "images/c.npy: is not one of .png, .tif, .tiff, .webp, .jpg, .jpeg, .bmp",
        "images/d.png: is a folder; subfolders are not searched",
        "images: b.png and b.tif have the same name; keep one",
        "masks/b.png: has no image",
    ]


def test_images_are_not_their_own_masks(tmp_path):
    images, _ = folders(tmp_path, ["a.png"], [])
    with pytest.raises(DataError, match="given for both images and masks"):
        find_pairs(images, images / ".." / "images")


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
