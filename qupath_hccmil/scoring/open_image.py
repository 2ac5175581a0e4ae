"""Open the slide of a project's image in the coordinates of QuPath's server."""

from __future__ import annotations

from argparse import ArgumentError, ArgumentParser
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from qupath_hccmil.errors import SlideError
from qupath_hccmil.qupath.data_types import ImageEntry, Server, ServerView
from qupath_hccmil.slides.image_file import ImageFile
from qupath_hccmil.slides.open_slide import Slide, open_slide
from qupath_hccmil.slides.other_readers import open_as_bioformats, open_as_imagej
from qupath_hccmil.slides.server_view import SlideView
from qupath_hccmil.slides.tiff_file import TiffSlide


def open_image(entry: ImageEntry, path: Path) -> Slide:
    """Open the slide of an image as QuPath shows it.

    Parameters
    ----------
    entry : ImageEntry
        Image of the project; its server gives the series, crop and rotation.
    path : Path
        Current path of the slide.

    Raises
    ------
    SlideError
        The file cannot be opened, its size differs from QuPath's, it has several focal planes or
        time points and it is not certain which is the first, or QuPath shows it in an unknown way.
    """
    server = entry.server
    strange = [view.kind for view in server.views if view.kind not in _VIEWS]
    if server.builder != "uri":
        strange.append(server.builder)
    if strange:
        raise SlideError(
            f"{entry.name}: QuPath shows this slide through {', '.join(strange)}, which cannot be "
            "scored; add the original slide to the project"
        )
    if not server.is_rgb:
        raise SlideError(f"{entry.name}: is not an RGB image, so it cannot be an H&E slide")
    slide = _as_the_provider_shows(entry, path)
    try:
        _check_planes(entry, slide)
        for view in server.views:
            _check_crop(entry, slide, view)
            if view.region is not None or view.degrees or view.flip:
                slide = SlideView(slide, view.region, view.degrees, view.flip)
        _check_size(entry, slide)
    except BaseException:
        slide.close()
        raise
    return slide


def image_in_file(server: Server) -> tuple[str, ...]:
    """What tells the images of one file apart: the number or name of the image, and its crop.

    A rotation or a generated pyramid shows the same image. Empty for the first image of a file, as
    a whole.
    """
    found: list[str] = []
    # OpenSlide opens one image of a file, whatever the arguments.
    if server.provider.rpartition(".")[2] != "OpenslideServerBuilder":
        args = list(server.args) or _in_uri(server.uri)
        try:
            known, _ = _bioformats_arguments().parse_known_args(args)
            found += [f"series {known.series}"] if (known.series or 0) > 0 else []
            found += [f"name {known.name}"] if known.name else []
        except ArgumentError:
            found += args
    if any(view.kind not in _OF_ALL_PIXELS for view in server.views):
        # Where a crop is depends on the rotation before it.
        found += [str(view) for view in server.views]
    return tuple(found)


# A generated pyramid changes no level-0 pixel.
_OF_ALL_PIXELS = {"rotated", "flipped", "pyramidize"}
_VIEWS = {"cropped", *_OF_ALL_PIXELS}


def _as_the_provider_shows(entry: ImageEntry, path: Path) -> Slide:
    """Open a file in the same way as the server class that QuPath uses."""
    provider, args = entry.server.provider.rpartition(".")[2], entry.server.args
    if provider in ("", "OpenslideServerBuilder"):
        # QuPath's OpenSlide server knows one argument and ignores all others.
        return open_slide(path, crop_to_bounds="--no-crop" not in args)
    if provider == "ImageJServerBuilder":
        return open_as_imagej(path)
    if provider == "BioFormatsServerBuilder":
        return open_as_bioformats(path, _series(entry))
    if "omero" in entry.server.provider.lower():
        # OMERO reads its pixels with Bio-Formats; `path` is a copy on disk.
        return open_as_bioformats(path, None)
    raise SlideError(
        f"{entry.name}: QuPath opens it with {entry.server.provider}, which this program does not "
        "know; add the original slide to the project"
    )


def _series(entry: ImageEntry) -> int | None:
    """Number of the image that Bio-Formats opens in a file; None if it is not given."""
    args = list(entry.server.args) or _in_uri(entry.server.uri)
    try:
        known, _ = _bioformats_arguments().parse_known_args(args)
    except ArgumentError as error:
        raise SlideError(
            f"{entry.name}: the option {' '.join(args)} is not understood ({error})"
        ) from error
    for name, value in (("--name", known.name), ("--dims", known.dims), ("--bfOptions", known.bf)):
        if value:
            raise SlideError(
                f"{entry.name}: QuPath opens it with {name} {value}, and this program cannot be "
                "sure which pixels that shows; add the slide to the project without this option"
            )
    series: int | None = known.series
    return None if series is None or series < 0 else series


def _in_uri(uri: str) -> list[str]:
    """Return the arguments that the first versions of QuPath 0.2 put into a URI."""
    split = urlsplit(uri)
    name, _, value = split.query.partition("=")
    if split.fragment:
        return ["--series", split.fragment]
    return [f"--{name}", value] if name in ("series", "name") else []


@cache
def _bioformats_arguments() -> ArgumentParser:
    parser = ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--series", "-s", type=int)
    parser.add_argument("--name", "-n")
    parser.add_argument("--dims")
    parser.add_argument("--bfOptions", dest="bf")
    return parser


def _check_crop(entry: ImageEntry, slide: Slide, view: ServerView) -> None:
    """Refuse a crop that extends beyond the image, where servers of QuPath differ."""
    x, y, width, height = view.region or (0, 0, slide.width, slide.height)
    if x < 0 or y < 0 or x + width > slide.width or y + height > slide.height:
        raise SlideError(
            f"{entry.name}: is cropped to {width} × {height} px at ({x}, {y}), which is beyond "
            f"the {slide.width} × {slide.height} px of {slide.path}; give the folder of the right "
            "slide with --slides DIR"
        )


def _check_size(entry: ImageEntry, slide: Slide) -> None:
    """Refuse a different slide with the same name: outlines would lie on the wrong tissue."""
    server = entry.server
    if server.width and (slide.width, slide.height) != (server.width, server.height):
        raise SlideError(
            f"{slide.path}: is {slide.width} × {slide.height} px, but QuPath knows {entry.name} as "
            f"{server.width} × {server.height} px; give the right slide's folder with --slides DIR"
        )


def _check_planes(entry: ImageEntry, slide: Slide) -> None:
    """Refuse a stack of planes of which OpenSlide reads only one, maybe not QuPath's first.

    The first page of an ordinary TIFF is the first plane for every reader.
    """
    planes = entry.server.size_z * entry.server.size_t
    if planes > 1 and not isinstance(slide, ImageFile | TiffSlide):
        raise SlideError(
            f"{entry.name}: has {planes} focal planes or time points, and it is not certain which "
            "of them OpenSlide reads; export one plane from QuPath and score that"
        )
