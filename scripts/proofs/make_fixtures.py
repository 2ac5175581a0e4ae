"""Make a test project with a real QuPath: every kind of object, region, server and path.

    python scripts/proofs/make_fixtures.py --qupath /opt/QuPath-0.6.0 /srv/pathology

makes ``/srv/pathology/projects/qupath-0.6.0`` and the slide ``/srv/pathology/slides/tissue.tif``
that it leads to; ``tests/data`` is a copy of that folder. QuPath's own classes make and write
everything. UUIDs and entry ids are fixed; the times of writing are what they are. Any QuPath from
0.2 will do; one without an OpenSlide of its own gets a stand-in for the pixels, and no thumbnail.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from fixture_objects import Builder
from qupath_jvm import numbers, openslide, start, white_image

WIDTH, HEIGHT, PIXEL = 1024, 768, 0.5
OPENSLIDE = "qupath.lib.images.servers.openslide.OpenslideServerBuilder"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--qupath", type=Path, required=True, help="folder of a QuPath")
    parser.add_argument("out", type=Path, help="folder for slides/ and projects/")
    arguments = parser.parse_args()
    slide = draw_slide(arguments.out.absolute() / "slides" / "tissue.tif")
    print(make_project(arguments.qupath, slide, arguments.out.absolute() / "projects"))


def draw_slide(path: Path) -> Path:
    """A tiled TIFF that OpenSlide reads; no two of its corners look alike."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:HEIGHT, :WIDTH] / np.array([HEIGHT, WIDTH]).reshape(2, 1, 1)
    pixels = np.stack([230 - 90 * x, 150 + 60 * y * x, 200 - 50 * y], axis=-1)
    for cx, cy in rng.random((160, 2)) * (WIDTH, HEIGHT):
        left, top = int(cx), int(cy)
        pixels[top : top + 14, left : left + 14] = (96, 64, 140)
    pixels[:60, :200] = (20, 160, 60)
    tifffile.imwrite(
        path,
        pixels.clip(0, 255).astype(np.uint8),
        tile=(256, 256),
        photometric="rgb",
        compression="jpeg",
        compressionargs={"level": 85},
        resolution=(1e4 / PIXEL, 1e4 / PIXEL),
        resolutionunit="CENTIMETER",
        metadata=None,
        software=False,
    )
    return path


class FixtureProject:
    """A project that is being made."""

    def __init__(self, folder: Path, slide: Path, version: str) -> None:
        from jpype import JClass

        self.java = JClass
        self.slide = slide
        self.objects = Builder(numbers(version))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        image = JClass("java.awt.image.BufferedImage")
        self.project = JClass("qupath.lib.projects.Projects").createProject(
            JClass("java.io.File")(str(folder)), image.class_
        )
        self._rgb = white_image(WIDTH, HEIGHT)
        self._openslide = openslide()

    def metadata(self, size_z: int = 1, size_t: int = 1) -> Any:
        """What QuPath knows of the slide, with planes that it does not have."""
        builder = self.java("qupath.lib.images.servers.ImageServerMetadata$Builder")()
        return (
            builder.width(WIDTH)
            .height(HEIGHT)
            .rgb(True)
            .pixelType(self.java("qupath.lib.images.servers.PixelType").UINT8)
            .channels(self.java("qupath.lib.images.servers.ImageChannel").getDefaultRGBChannels())
            .pixelSizeMicrons(PIXEL, PIXEL)
            .sizeZ(size_z)
            .sizeT(size_t)
            .name("tissue")
            .build()
        )

    def file_builder(self, uri: str, metadata: Any) -> Any:
        """QuPath's builder of a file that is not opened."""
        kind = self.java("qupath.lib.images.servers.ImageServerBuilder$DefaultImageServerBuilder")
        # as it comes out of a project file, whether its provider is here or not
        content = {"providerClassName": OPENSLIDE, "uri": uri, "args": []}
        gson = self.java("qupath.lib.io.GsonTools").getInstance()
        builder = gson.fromJson(json.dumps(content), kind.class_)
        field = kind.class_.getSuperclass().getDeclaredField("metadata")
        field.setAccessible(True)
        field.set(builder, metadata)
        return builder

    def stand_in(self, uri: str, **sizes: int) -> Any:
        """A server whose pixels are not there, as QuPath sees one that it does not read from."""
        import jpype

        metadata = self.metadata(**sizes)
        plain = self.java("qupath.lib.images.servers.WrappedBufferedImageServer")(
            "tissue", self._rgb
        )
        kind = self.java("qupath.lib.images.servers.ImageServer")
        stand_in = _StandIn(plain, self.file_builder(uri, metadata), metadata)
        return jpype.JObject(jpype.JProxy(kind, inst=stand_in), kind)

    def real(self) -> Any:
        """Server of the slide, opened by QuPath; a stand-in where it has no OpenSlide."""
        if self._openslide is None:
            return self.stand_in(str(self.slide.as_uri()).replace("file:///", "file:/"))
        uri = self.java("java.io.File")(str(self.slide)).toURI()
        return self._openslide().buildServer(uri)

    def add(
        self,
        name: str,
        server: Any,
        fill: Callable[[Any, Any], object] | None = None,
        image_type: str = "BRIGHTFIELD_H_E",
        **metadata: str,
    ) -> Any:
        """Add an image, and save its data where there is something to fill it with."""
        entry = self.project.addImage(server.getBuilder())
        entry.setImageName(name)
        for key, value in metadata.items():
            entry.putMetadataValue(key, value)
        if fill is not None:
            hierarchy = self.java("qupath.lib.objects.hierarchy.PathObjectHierarchy")()
            types = self.java("qupath.lib.images.ImageData$ImageType")
            data = self.java("qupath.lib.images.ImageData")(server, hierarchy)
            data.setImageType(getattr(types, image_type))
            fill(data, hierarchy)
            self.objects.fix_ids(hierarchy.getRootObject(), name)
            entry.saveImageData(data)
            if self._openslide is not None and "tissue" in str(server.getPath()):
                entry.setThumbnail(white_image(32, 24))
        return entry

    def save(self) -> None:
        """Write the project itself."""
        self.project.setPathClasses(self.objects.project_classes())
        self.project.syncChanges()


class _StandIn:
    """The methods of a server: QuPath's own for an image in memory, with another origin."""

    def __init__(self, plain: Any, builder: Any, metadata: Any) -> None:
        self._plain, self._builder, self._metadata = plain, builder, metadata

    def getBuilder(self) -> Any:  # noqa: N802
        return self._builder

    def getMetadata(self) -> Any:  # noqa: N802
        return self._metadata

    def nZSlices(self) -> int:  # noqa: N802
        return int(self._metadata.getSizeZ())

    def nTimepoints(self) -> int:  # noqa: N802
        return int(self._metadata.getSizeT())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)


def make_project(qupath: Path, slide: Path, projects: Path) -> Path:
    """Make the project of one QuPath; its folder."""
    version = start(qupath)
    folder = projects / f"qupath-{version}"
    made = FixtureProject(folder, slide, version)
    objects = made.objects
    plain = made.real()
    made.add("objects 肝 🧬.tif", plain, objects.every_object, Diagnose="HCC – ‏סרטן‏", Grade="2")
    made.add("TMA.tif", plain, objects.tma, "BRIGHTFIELD_H_DAB")
    made.add("connections.tif", plain, objects.connections)
    made.add(
        "planes.tif",
        made.stand_in("file:/srv/pathology/slides/stack.tif", size_z=3, size_t=2),
        objects.planes,
    )
    made.add("fluorescence.tif", plain, objects.one_tumour, "FLUORESCENCE")
    made.add("unset.tif", plain, objects.one_tumour, "UNSET")
    made.add("other.tif", plain, objects.one_tumour, "BRIGHTFIELD_OTHER")
    # the same slide a second time, under the same name, in two ways to write it
    for name in ("caf\u00e9.tif", "cafe\u0301.tif", "twice.tif", "twice.tif"):
        made.add(name, plain, objects.one_tumour)
    for name, server in transformed(made, plain):
        made.add(name, server, objects.one_tumour)
    made.add("never opened.tif", plain)
    made.add("missing slide.svs", made.stand_in("file:/srv/gone/a%20b.svs"), objects.one_tumour)
    made.add("windows.svs", made.stand_in("file:/C:/Users/M%C3%BCller/a.svs"), objects.one_tumour)
    made.add("share.svs", made.stand_in("file:////server/share/a.svs"), objects.one_tumour)
    made.add("web.svs", made.stand_in("https://example.org/slides/a.svs?x=1"), objects.one_tumour)
    made.save()
    for backup in folder.rglob("*.backup"):
        backup.unlink()
    return folder


def transformed(made: FixtureProject, plain: Any) -> Iterator[tuple[str, Any]]:
    """The slide through each server of QuPath's around another, where it reads pixels."""
    if made._openslide is None:
        return
    java = made.java
    region = java("qupath.lib.regions.ImageRegion").createInstance(101, 53, 640, 400, 0, 0)
    rotations = java("qupath.lib.images.servers.RotatedImageServer$Rotation")
    around = java("qupath.lib.images.servers.TransformedServerBuilder")
    yield "cropped.tif", around(plain).crop(region).build()
    for degrees in (90, 180, 270):
        yield (
            f"rotated {degrees}.tif",
            around(plain).rotate(getattr(rotations, f"ROTATE_{degrees}")).build(),
        )
    yield (
        "cropped, rotated, cropped.tif",
        around(around(plain).crop(region).rotate(rotations.ROTATE_90).build())
        .crop(java("qupath.lib.regions.ImageRegion").createInstance(40, 31, 300, 500, 0, 0))
        .build(),
    )
    yield (
        "pyramid.tif",
        java("qupath.lib.images.servers.ImageServers").pyramidalizeTiled(plain, 256, 256, 1.0, 4.0),
    )
    transform = java("java.awt.geom.AffineTransform")(1.0, 0.0, 0.0, 1.0, 25.0, 10.0)
    yield "affine.tif", around(plain).transform(transform).build()
    sparse = java("qupath.lib.images.servers.SparseImageServer$Builder")()
    for left in (0, WIDTH):
        where = java("qupath.lib.regions.ImageRegion").createInstance(left, 0, WIDTH, HEIGHT, 0, 0)
        sparse.jsonRegion(where, 1.0, plain.getBuilder())
    yield "sparse.tif", sparse.build()
    for name in ("HORIZONTAL", "VERTICAL", "BOTH"):
        try:
            flip = getattr(java("qupath.lib.images.servers.FlippedImageServer$Flip"), name)
        except TypeError:
            return
        yield f"flipped {name.lower()}.tif", around(plain).flip(flip).build()


if __name__ == "__main__":
    main()
