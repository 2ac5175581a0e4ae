"""Pixels are those that QuPath shows, by whichever class it opens a file, or are refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from qupath_hccmil.errors import SlideError
from qupath_hccmil.qupath.data_types import ImageEntry, Server, ServerView
from qupath_hccmil.scoring.open_image import open_image
from tests.qupath.conftest import QuPathProcess
from tests.slides import kinds_of_files as kinds
from tests.slides.kinds_of_files import ALPHA, PIXELS, RGBA, TILE

OPENSLIDE = "qupath.lib.images.servers.openslide.OpenslideServerBuilder"
BIOFORMATS = "qupath.lib.images.servers.bioformats.BioFormatsServerBuilder"
IMAGEJ = "qupath.imagej.images.servers.ImageJServerBuilder"

HALF = np.ascontiguousarray(PIXELS[:90, :105])
# OpenSlide turns each tile by itself, and what it makes of a tile that the image's edge cuts
# depends on its build: QuPath's is older than Python's.
WHOLE_TILES = np.ascontiguousarray(PIXELS[:128, :192])
TALL = np.ascontiguousarray(PIXELS[:, :40])
ON_WHITE = (RGBA[..., :3] * (ALPHA[..., None] / 255) + 255 - ALPHA[..., None]).round()
ON_BLACK = (RGBA[..., :3] * (ALPHA[..., None] / 255)).round()
PREMULTIPLIED = np.dstack([ON_BLACK.astype(np.uint8), ALPHA])
PLANES = np.ascontiguousarray(PIXELS.transpose(2, 0, 1))


def shown(path: Path, provider: str, *args: str, views: tuple[ServerView, ...] = ()) -> np.ndarray:
    """Level 0 as (h, w, 3) uint8, by way of what a project says of the image."""
    server = Server("uri", provider, path.as_uri(), args, views=views)
    with open_image(ImageEntry("1", "Case 7", server), path) as slide:
        return slide.thumbnail(10_000)


def refusal(path: Path, provider: str, *args: str, **server: object) -> str:
    entry = ImageEntry("1", "Case 7", Server("uri", provider, path.as_uri(), args))
    with pytest.raises(SlideError) as error:
        open_image(replace(entry, server=replace(entry.server, **server)), path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("orientation", range(1, 9))
class TestOrientation:
    """No class of QuPath turns an image by the orientation that its file states."""

    @pytest.mark.parametrize("how", [{}, TILE, {**TILE, "compression": "lzw"}])
    def test_bioformats(self, tmp_path: Path, orientation: int, how: dict) -> None:
        path = kinds.oriented(tmp_path / "o.tif", orientation, **how)
        np.testing.assert_array_equal(shown(path, BIOFORMATS), PIXELS)

    def test_imagej(self, tmp_path: Path, orientation: int) -> None:
        path = kinds.oriented(tmp_path / "o.tif", orientation)
        np.testing.assert_array_equal(shown(path, IMAGEJ), PIXELS)

    def test_without_a_project(self, tmp_path: Path, orientation: int) -> None:
        path = kinds.oriented(tmp_path / "o.tif", orientation, rowsperstrip=50)
        np.testing.assert_array_equal(shown(path, ""), PIXELS)

    def test_openslide_decodes_jpeg_tiles_as_they_are(
        self, tmp_path: Path, orientation: int
    ) -> None:
        how = {**TILE, "compression": "jpeg"}
        path = kinds.oriented(tmp_path / "o.tif", orientation, **how)
        plain = kinds.tiff(tmp_path / "plain.tif", **how)
        np.testing.assert_array_equal(shown(path, OPENSLIDE), tifffile.imread(plain))

    def test_exif(self, tmp_path: Path, orientation: int) -> None:
        from PIL import Image

        exif = Image.Exif()
        exif[274] = orientation
        path = kinds.image(tmp_path / "o.png", exif=exif)
        for provider in (IMAGEJ, BIOFORMATS, ""):
            np.testing.assert_array_equal(shown(path, provider), PIXELS)


class TestSeries:
    @pytest.mark.parametrize("how", [{}, TILE])
    def test_pages_of_different_sizes(self, tmp_path: Path, how: dict) -> None:
        path = kinds.pages(tmp_path / "p.tif", PIXELS, HALF, TALL, **how)
        for number, expected in enumerate((PIXELS, HALF, TALL)):
            np.testing.assert_array_equal(
                shown(path, BIOFORMATS, "--series", str(number)), expected
            )
        assert "series 3 does not exist in this image" in refusal(path, BIOFORMATS, "--series", "3")
        assert "3 images" in refusal(path, BIOFORMATS)

    def test_imagej_and_openslide_have_no_series(self, tmp_path: Path) -> None:
        strips = kinds.pages(tmp_path / "s.tif", HALF, PIXELS)
        tiles = kinds.pages(tmp_path / "t.tif", HALF, PIXELS, **TILE)
        np.testing.assert_array_equal(shown(strips, IMAGEJ, "--series", "1"), HALF)
        np.testing.assert_array_equal(shown(tiles, OPENSLIDE, "--series", "1"), HALF)

    @pytest.mark.parametrize("how", [{}, TILE])
    def test_pages_of_one_size_are_planes_of_one_series(self, tmp_path: Path, how: dict) -> None:
        path = kinds.pages(tmp_path / "p.tif", PIXELS, 255 - PIXELS, **how)
        for args in ((), ("--series", "0"), ("--series=0",), ("-s", "0")):
            np.testing.assert_array_equal(shown(path, BIOFORMATS, *args), PIXELS)
        assert "series 1 does not exist in this image" in refusal(path, BIOFORMATS, "--series", "1")

    def test_ome(self, tmp_path: Path) -> None:
        path = kinds.ome(tmp_path / "o.ome.tif", PIXELS, HALF)
        for number in (0, 1):
            expected = tifffile.imread(path, series=number)
            np.testing.assert_array_equal(
                shown(path, BIOFORMATS, "--series", str(number)), expected
            )
        assert "2 images" in refusal(path, BIOFORMATS)

    def test_sub_resolutions(self, tmp_path: Path) -> None:
        path = kinds.ome(tmp_path / "o.ome.tif", PIXELS, TALL, levels=3)
        server = Server("uri", BIOFORMATS, path.as_uri(), ("--series", "0"))
        with open_image(ImageEntry("1", "Case 7", server), path) as slide:
            assert len(slide.levels) == 3
            np.testing.assert_allclose(slide.levels, (1, 2, 4), rtol=0.02)
            np.testing.assert_array_equal(slide.thumbnail(10_000), PIXELS)
            # as fine as level 1, so that is read: the sub-resolution, not a resampled level 0
            half = slide._resample((0, 0, 210, 180), (105, 90), 2.01)
        np.testing.assert_array_equal(half, PIXELS[::2, ::2])

    def test_what_a_uri_of_an_old_qupath_says(self, tmp_path: Path) -> None:
        path = kinds.pages(tmp_path / "p.tif", PIXELS, HALF)
        for suffix in ("#1", "?series=1"):
            server = Server("uri", BIOFORMATS, path.as_uri() + suffix)
            with open_image(ImageEntry("1", "Case 7", server), path) as slide:
                assert (slide.width, slide.height) == (105, 90)

    @pytest.mark.parametrize(
        "args", [("--name", "b"), ("--dims", "XYZCT"), ("--bfOptions", "zeissczi.autostitch=false")]
    )
    def test_other_arguments_of_bioformats_are_refused(self, tmp_path: Path, args: tuple) -> None:
        reason = refusal(kinds.tiff(tmp_path / "p.tif"), BIOFORMATS, *args)
        assert " ".join(args) in reason
        assert "not understood" in refusal(tmp_path / "p.tif", BIOFORMATS, "--series", "one")

    def test_a_scanners_slide_has_one(self, data_dir: Path) -> None:
        path = data_dir / "slides" / "CMU-1-Small-Region.svs"
        np.testing.assert_array_equal(
            shown(path, BIOFORMATS, "--series", "0")[:256, :256], shown(path, OPENSLIDE)[:256, :256]
        )
        assert "series 1 cannot be read" in refusal(path, BIOFORMATS, "--series", "1")

    def test_a_format_with_bounds_is_openslides(self, tmp_path: Path) -> None:
        from tests.drawn_slides import write_bounded

        path = write_bounded(tmp_path / "a.scn", PIXELS, corner=(30, 20), scan=(400, 300))
        assert shown(path, OPENSLIDE).shape == (180, 210, 3)
        assert "leica" in refusal(path, BIOFORMATS, "--series", "0")


class TestAlpha:
    @pytest.mark.parametrize("kind", ["unassalpha", "assocalpha", "unspecified"])
    def test_of_a_tiff(self, tmp_path: Path, kind: str) -> None:
        strips = kinds.tiff(tmp_path / "s.tif", RGBA, extrasamples=[kind])
        tiles = kinds.tiff(tmp_path / "t.tif", RGBA, extrasamples=[kind], **TILE)
        np.testing.assert_array_equal(shown(strips, IMAGEJ), PIXELS)
        for path in (strips, tiles):
            with pytest.raises(SlideError, match="partly transparent"):
                shown(path, BIOFORMATS)
        opaque = np.dstack([PIXELS, np.full_like(ALPHA, 255)])
        for number, layout in enumerate(({}, TILE)):
            path = kinds.tiff(tmp_path / f"{number}.tif", opaque, extrasamples=[kind], **layout)
            np.testing.assert_array_equal(shown(path, BIOFORMATS), PIXELS)

    def test_openslide_is_painted_on_black(self, tmp_path: Path) -> None:
        path = kinds.tiff(tmp_path / "t.tif", RGBA, extrasamples=["unassalpha"], **TILE)
        assert abs(shown(path, OPENSLIDE) - ON_BLACK).max() <= 2

    def test_openslide_does_not_guess_what_a_fourth_channel_is(self, tmp_path: Path) -> None:
        how = {"extrasamples": ["unspecified"], **TILE}
        opaque = np.dstack([PIXELS, np.full_like(ALPHA, 255)])
        path = kinds.tiff(tmp_path / "opaque.tif", opaque, **how)
        np.testing.assert_array_equal(shown(path, OPENSLIDE), PIXELS)
        path = kinds.tiff(tmp_path / "t.tif", RGBA, **how)
        with pytest.raises(SlideError, match="partly transparent"):
            shown(path, OPENSLIDE)

    def test_of_a_png(self, tmp_path: Path) -> None:
        path = kinds.image(tmp_path / "a.png", RGBA)
        assert abs(shown(path, IMAGEJ) - ON_WHITE).max() <= 1
        assert "partly transparent" in refusal(path, BIOFORMATS)
        opaque = kinds.image(tmp_path / "o.png", np.dstack([PIXELS, np.full_like(ALPHA, 255)]))
        for provider in (IMAGEJ, BIOFORMATS):
            np.testing.assert_array_equal(shown(opaque, provider), PIXELS)


ORDINARY: dict[str, Callable[[Path], Path]] = {
    "rgb.png": kinds.image,
    "rgb.bmp": kinds.image,
    "planar.tif": lambda path: kinds.tiff(path, PLANES, planarconfig="separate"),
    "lzw.tif": lambda path: kinds.tiff(path, compression="lzw", predictor=True),
    "deflate.tif": lambda path: kinds.tiff(path, compression="zlib"),
    "packbits.tif": lambda path: kinds.tiff(path, compression="packbits"),
    "profile.png": lambda path: kinds.image(path, icc_profile=kinds.profile(swapped=True)),
    "profile.tif": lambda path: kinds.tiff(path, iccprofile=kinds.profile(swapped=True)),
}
NOT_RGB: dict[str, Callable[[Path], Path]] = {
    "grey.png": lambda path: kinds.image(path, mode="L"),
    "grey.tif": lambda path: kinds.tiff(path, kinds.GREY, photometric="minisblack"),
    "white is zero.tif": lambda path: kinds.tiff(path, kinds.GREY, photometric="miniswhite"),
    "grey alpha.png": lambda path: kinds.image(path, mode="LA"),
    "bits.png": lambda path: kinds.image(path, mode="1"),
    "palette.png": kinds.palette,
    "palette.bmp": kinds.palette,
    "palette.gif": kinds.palette,
    "palette.tif": kinds.palette,
    "16 bits.png": kinds.png_of_16_bits,
    "16 bits.tif": lambda path: kinds.tiff(path, PIXELS.astype(np.uint16) * 257),
    "grey 16.tif": lambda path: kinds.tiff(
        path, kinds.GREY.astype(np.uint16), photometric="minisblack"
    ),
    "float.tif": lambda path: kinds.tiff(path, PIXELS.astype(np.float32)),
    "cmyk.tif": lambda path: kinds.tiff(path, RGBA, photometric="separated"),
    "cmyk.jpg": lambda path: kinds.image(path, mode="CMYK"),
}


@pytest.mark.parametrize("provider", [IMAGEJ, BIOFORMATS])
@pytest.mark.parametrize("name", ORDINARY)
def test_colours_are_as_stored(tmp_path: Path, name: str, provider: str) -> None:
    np.testing.assert_array_equal(shown(ORDINARY[name](tmp_path / name), provider), PIXELS)


@pytest.mark.parametrize("provider", [IMAGEJ, BIOFORMATS])
@pytest.mark.parametrize("name", NOT_RGB)
def test_what_qupath_does_not_show_in_rgb_is_refused(
    tmp_path: Path, name: str, provider: str
) -> None:
    path = NOT_RGB[name](tmp_path / name)
    assert str(path) in refusal(path, provider)


def test_a_transparent_palette_is_rgb_to_imagej_alone(tmp_path: Path) -> None:
    path = kinds.palette(tmp_path / "p.png", transparency=3)
    assert shown(path, IMAGEJ).shape == PIXELS.shape
    assert "PNG, P" in refusal(path, BIOFORMATS)


def test_bioformats_applies_the_colour_profile_of_a_jpeg(tmp_path: Path) -> None:
    plain, srgb, swapped = (
        kinds.image(tmp_path / f"{name}.jpg", quality=95, **how)
        for name, how in {
            "plain": {},
            "srgb": {"icc_profile": kinds.profile(swapped=False)},
            "swapped": {"icc_profile": kinds.profile(swapped=True)},
        }.items()
    )
    expected = shown(plain, BIOFORMATS)
    np.testing.assert_array_equal(shown(srgb, BIOFORMATS), expected)
    np.testing.assert_array_equal(shown(swapped, IMAGEJ), expected)
    assert "colour profile" in refusal(swapped, BIOFORMATS)


@pytest.mark.parametrize("how", [TILE, {"compression": "jpeg"}, {"bigtiff": True}])
def test_a_tiff_that_imagej_does_not_read_is_refused(tmp_path: Path, how: dict) -> None:
    assert "ImageJ" in refusal(kinds.tiff(tmp_path / "t.tif", **how), IMAGEJ)


def test_an_unknown_class_is_refused(tmp_path: Path) -> None:
    path = kinds.image(tmp_path / "a.png")
    assert "org.example.FancyBuilder" in refusal(path, "org.example.FancyBuilder")
    omero = "qupath.lib.images.servers.omero.OmeroWebImageServerBuilder"
    np.testing.assert_array_equal(shown(path, omero), PIXELS)


def test_a_crop_that_leaves_the_image_is_refused(tmp_path: Path) -> None:
    path = kinds.tiff(tmp_path / "t.tif", **TILE)
    inside = ServerView("cropped", (10, 20, 200, 160))
    np.testing.assert_array_equal(shown(path, OPENSLIDE, views=(inside,)), PIXELS[20:180, 10:210])
    beyond = (ServerView("cropped", (10, 20, 201, 160)),)
    assert "beyond" in refusal(path, OPENSLIDE, views=beyond)


@pytest.mark.parametrize(
    "kind",
    [
        *("swapRedBlue", "color_deconvolved", "normalized", "typeConvert", "affine", "sparse"),
        *("channels", "color", "sliced", "z_projected", "z_concatenated", "something new"),
    ],
)
def test_servers_that_change_pixels_are_refused(tmp_path: Path, kind: str) -> None:
    path = kinds.tiff(tmp_path / "t.tif", **TILE)
    assert kind in refusal(path, OPENSLIDE, views=(ServerView(kind),))
    assert kind in refusal(path, OPENSLIDE, builder=kind)


OPENSLIDE_FILES: dict[str, Callable[[Path], Path]] = {
    **{
        f"orientation {n}{suffix}.tif": (
            lambda path, n=n, how=how: kinds.oriented(path, n, WHOLE_TILES, **TILE, **how)
        )
        for n in range(1, 9)
        for suffix, how in (("", {}), (" jpeg", {"compression": "jpeg"}))
    },
    "pages.tif": lambda path: kinds.pages(path, PIXELS, HALF, **TILE),
    "ome.tif": lambda path: kinds.ome(path, PIXELS, HALF, levels=3),
    "grey.tif": lambda path: kinds.tiff(path, kinds.GREY, photometric="minisblack", **TILE),
    "16 bits.tif": lambda path: kinds.tiff(path, PIXELS.astype(np.uint16) * 257, **TILE),
    "planar.tif": lambda path: kinds.tiff(path, PLANES, planarconfig="separate", **TILE),
    "profile.tif": lambda path: kinds.tiff(path, iccprofile=kinds.profile(swapped=True), **TILE),
    "alpha.tif": lambda path: kinds.tiff(path, RGBA, extrasamples=["unassalpha"], **TILE),
    "premultiplied.tif": lambda path: kinds.tiff(
        path, PREMULTIPLIED, extrasamples=["assocalpha"], **TILE
    ),
    "cmyk.tif": lambda path: kinds.tiff(path, RGBA, photometric="separated", **TILE),
}
VIEWS: dict[str, list[ServerView]] = {
    "plain": [],
    "cropped": [ServerView("cropped", (10, 20, 150, 120))],
    "rotated": [ServerView("rotated", degrees=90)],
    "cropped, rotated, cropped": [
        ServerView("cropped", (10, 20, 150, 120)),
        ServerView("rotated", degrees=270),
        ServerView("cropped", (5, 7, 80, 90)),
    ],
}


def as_json(
    path: Path, args: list[str], views: list[ServerView], provider: str = OPENSLIDE
) -> dict:
    found: dict = {"builderType": "uri", "providerClassName": provider, "uri": path.as_uri(),
                   "args": args}  # fmt: skip
    for view in views:
        found = {"builderType": view.kind, "builder": found}
        if view.region:
            x, y, width, height = view.region
            found["region"] = {"x": x, "y": y, "width": width, "height": height, "z": 0, "t": 0}
        else:
            found["rotation"] = f"ROTATE_{view.degrees}"
    return found


@pytest.mark.qupath
@pytest.mark.parametrize("name", OPENSLIDE_FILES)
def test_pixels_of_qupaths_openslide_server(
    qupath: QuPathProcess, tmp_path: Path, name: str
) -> None:
    path = OPENSLIDE_FILES[name](tmp_path / name)
    theirs = qupath("server_pixels", as_json(path, ["--series", "1"], []))
    # Java and Pillow round what is half transparent in their own ways
    tolerance = 2 if name in ("alpha.tif", "premultiplied.tif") else 0
    mine = shown(path, OPENSLIDE, "--series", "1").astype(int)
    assert mine.shape == theirs.shape
    assert abs(mine - theirs).max() <= tolerance


@pytest.mark.qupath
@pytest.mark.parametrize("name", VIEWS)
def test_pixels_of_qupaths_views(qupath: QuPathProcess, tmp_path: Path, name: str) -> None:
    path = kinds.tiff(tmp_path / "t.tif", **TILE)
    theirs = qupath("server_pixels", as_json(path, [], VIEWS[name]))
    np.testing.assert_array_equal(shown(path, OPENSLIDE, views=tuple(VIEWS[name])), theirs)


@pytest.mark.qupath
@pytest.mark.parametrize("no_crop", [False, True])
def test_pixels_beside_what_was_scanned(
    qupath: QuPathProcess, tmp_path: Path, no_crop: bool
) -> None:
    from tests.drawn_slides import write_bounded

    path = write_bounded(tmp_path / "a.scn", PIXELS, corner=(300, 200), scan=(1200, 900))
    args = ["--no-crop"] if no_crop else []
    theirs = qupath("server_pixels", as_json(path, args, []))
    np.testing.assert_array_equal(shown(path, OPENSLIDE, *args), theirs)


IMAGEJ_FILES: dict[str, Callable[[Path], Path]] = {
    **ORDINARY,
    **{f"o{n}.tif": (lambda path, n=n: kinds.oriented(path, n)) for n in range(1, 9)},
    "rgb.jpg": lambda path: kinds.image(path, quality=90),
    "profile.jpg": lambda path: kinds.image(path, icc_profile=kinds.profile(swapped=True)),
    "alpha.png": lambda path: kinds.image(path, RGBA),
    "transparent.png": lambda path: kinds.palette(path, transparency=3),
    "alpha.tif": lambda path: kinds.tiff(path, RGBA, extrasamples=["unassalpha"]),
    "pages.tif": lambda path: kinds.pages(path, PIXELS, HALF),
    "stack.tif": lambda path: kinds.pages(path, PIXELS, 255 - PIXELS),
}


@pytest.mark.qupath
@pytest.mark.parametrize("name", IMAGEJ_FILES)
def test_pixels_of_imagej(qupath: QuPathProcess, tmp_path: Path, name: str) -> None:
    """QuPath's ImageJ server hands on what ``IJ.openImage`` gives."""
    path = IMAGEJ_FILES[name](tmp_path / name)
    theirs = qupath("imagej_pixels", path)
    assert theirs is not None
    assert abs(shown(path, IMAGEJ).astype(int) - theirs).max() <= (name == "alpha.png")


# ImageJ makes RGB of these, by rules that are not followed here.
BY_OTHER_RULES = {"grey alpha.png", "cmyk.tif"}


@pytest.mark.qupath
@pytest.mark.parametrize("name", [name for name in NOT_RGB if name not in BY_OTHER_RULES])
def test_imagej_shows_no_rgb_either(qupath: QuPathProcess, tmp_path: Path, name: str) -> None:
    assert qupath("imagej_pixels", NOT_RGB[name](tmp_path / name)) is None


OPAQUE = np.dstack([PIXELS, np.full_like(ALPHA, 255)])
# Files of ImageJ's that Bio-Formats shows otherwise.
NOT_BIOFORMATS = {"pages.tif", "profile.jpg", "transparent.png", "alpha.png", "alpha.tif"}
BIOFORMATS_FILES: dict[str, tuple[Callable[[Path], Path], list[str]]] = {
    **{name: (make, []) for name, make in IMAGEJ_FILES.items() if name not in NOT_BIOFORMATS},
    **{
        f"tiles {n}.tif": (lambda path, n=n: kinds.oriented(path, n, **TILE), [])
        for n in range(1, 9)
    },
    **{
        f"page {n}.tif": (
            lambda path: kinds.pages(path, PIXELS, HALF, TALL),
            ["--series", str(n)],
        )
        for n in range(3)
    },
    **{
        f"image {n}.ome.tif": (
            lambda path: kinds.ome(path, PIXELS, HALF, levels=3),
            ["--series", str(n)],
        )
        for n in range(2)
    },
    "tiles jpeg.tif": (lambda path: kinds.tiff(path, compression="jpeg", **TILE), []),
    "jpeg 2000.tif": (lambda path: kinds.tiff(path, compression="jpeg2000", **TILE), []),
    "opaque.tif": (lambda path: kinds.tiff(path, OPAQUE, extrasamples=["unassalpha"]), []),
    "opaque tiles.tif": (
        lambda path: kinds.tiff(path, OPAQUE, extrasamples=["unassalpha"], **TILE),
        [],
    ),
    "opaque.png": (lambda path: kinds.image(path, OPAQUE), []),
}


def require(qupath: QuPathProcess, provider: str) -> None:
    if provider not in qupath("providers"):
        pytest.skip(f"this QuPath has no {provider}")


@pytest.mark.qupath
@pytest.mark.parametrize("name", BIOFORMATS_FILES)
def test_pixels_of_qupaths_bioformats_server(
    qupath: QuPathProcess, tmp_path: Path, name: str
) -> None:
    require(qupath, BIOFORMATS)
    make, args = BIOFORMATS_FILES[name]
    path = make(tmp_path / name)
    theirs = qupath("server_pixels", as_json(path, args, [], BIOFORMATS))
    np.testing.assert_array_equal(shown(path, BIOFORMATS, *args), theirs)


@pytest.mark.qupath
@pytest.mark.parametrize("name", IMAGEJ_FILES)
def test_pixels_of_qupaths_imagej_server(qupath: QuPathProcess, tmp_path: Path, name: str) -> None:
    require(qupath, IMAGEJ)
    path = IMAGEJ_FILES[name](tmp_path / name)
    theirs = qupath("server_pixels", as_json(path, ["--series", "1"], [], IMAGEJ))
    assert abs(shown(path, IMAGEJ).astype(int) - theirs).max() <= (name == "alpha.png")


@pytest.mark.qupath
@pytest.mark.parametrize("name", [name for name in NOT_RGB if "cmyk" not in name])
def test_qupaths_bioformats_server_shows_no_rgb_either(
    qupath: QuPathProcess, tmp_path: Path, name: str
) -> None:
    require(qupath, BIOFORMATS)
    path = NOT_RGB[name](tmp_path / name)
    assert qupath("server_pixels", as_json(path, [], [], BIOFORMATS)) is None


@pytest.mark.qupath
def test_a_scanners_slide_is_the_same_to_bioformats(qupath: QuPathProcess, data_dir: Path) -> None:
    require(qupath, BIOFORMATS)
    path, args = data_dir / "slides" / "CMU-1-Small-Region.svs", ["--series", "0"]
    theirs = qupath("server_pixels", as_json(path, args, [], BIOFORMATS))
    assert abs(shown(path, BIOFORMATS, *args).astype(int) - theirs).max() <= 1
