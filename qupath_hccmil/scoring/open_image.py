"""From a project's image to its pixels, in the coordinates of QuPath's server."""

from __future__ import annotations

from pathlib import Path

from qupath_hccmil.errors import SlideError
from qupath_hccmil.qupath.data_types import ImageEntry
from qupath_hccmil.slides.image_file import ImageFile
from qupath_hccmil.slides.open_slide import Slide, open_slide
from qupath_hccmil.slides.server_view import SlideView

_NO_CROP = "--no-crop"
_SERIES = "--series"


def open_source(entry: ImageEntry, path: Path) -> Slide:
    """Open the slide of an image as QuPath shows it.

    Parameters
    ----------
    entry : ImageEntry
        Its server says which series, crop and rotation.
    path : Path
        Where the slide is now.

    Raises
    ------
    SlideError
        The file cannot be opened, its size is not what QuPath knows, it has focal planes or time
        points whose first one is not certain, or QuPath shows it in a way that is not understood.
    """
    server = entry.server
    strange = [view.kind for view in server.views if view.kind not in _VIEWS]
    if server.builder != "uri":
        strange.append(server.builder)
    if strange:
        raise SlideError(
            f"{entry.name}: QuPath shows this slide through {', '.join(strange)}, which cannot be "
            "scored; add the slide itself to the project"
        )
    if not server.is_rgb:
        raise SlideError(f"{entry.name}: is not an RGB image, so not an H&E slide")
    slide = open_slide(
        path, series=_series(server.args), crop_to_bounds=_NO_CROP not in server.args
    )
    try:
        _check_planes(entry, slide)
        for view in server.views:
            if view.region is not None or view.degrees or view.flip:
                slide = SlideView(slide, view.region, view.degrees, view.flip)
        _check_size(entry, slide)
    except BaseException:
        slide.close()
        raise
    return slide


# A generated pyramid changes no level-0 pixel.
_VIEWS = {"cropped", "rotated", "flipped", "pyramidize"}


def _series(args: tuple[str, ...]) -> int:
    if _SERIES not in args:
        return 0
    value = args[args.index(_SERIES) + 1 : args.index(_SERIES) + 2]
    return int(value[0]) if value and value[0].isdigit() else 0


def _check_size(entry: ImageEntry, slide: Slide) -> None:
    """Refuse another slide of the same name: outlines would lie on the wrong tissue."""
    server = entry.server
    if server.width and (slide.width, slide.height) != (server.width, server.height):
        raise SlideError(
            f"{slide.path}: is {slide.width} × {slide.height} px, but QuPath knows {entry.name} as "
            f"{server.width} × {server.height} px; find the right slide (--slides DIR)"
        )


def _check_planes(entry: ImageEntry, slide: Slide) -> None:
    """Refuse a stack of which OpenSlide reads one plane: it need not be the first of QuPath's.

    The first page of an ordinary TIFF is the first plane to both.
    """
    planes = entry.server.size_z * entry.server.size_t
    if planes > 1 and not isinstance(slide, ImageFile):
        raise SlideError(
            f"{entry.name}: has {planes} focal planes or time points, and which of them OpenSlide "
            "reads is not certain; export one plane from QuPath and score that"
        )
