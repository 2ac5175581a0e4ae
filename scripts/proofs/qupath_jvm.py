"""A QuPath of any version from 0.2 on in this process, without paquo."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def start(qupath: Path) -> str:
    """Start the Java of a QuPath; its version."""
    import jpype

    jars = sorted(qupath.glob("lib/app/*.jar"))
    jvm = next((qupath / "lib" / "runtime").rglob("libjvm.so"))
    jpype.startJVM(str(jvm), "-Djava.awt.headless=true", classpath=[str(jar) for jar in jars])
    levels = jpype.JClass("ch.qos.logback.classic.Level")
    jpype.JClass("org.slf4j.LoggerFactory").getLogger("ROOT").setLevel(levels.ERROR)
    # QuPath 0.3 to 0.7 know servers in JSON only once this class was started
    jpype.JClass("qupath.lib.images.servers.ImageServers")
    version = jpype.JClass("qupath.lib.common.GeneralTools").getVersion()
    return str(version) if version else (qupath / "lib" / "app" / "VERSION").read_text("utf-8")


def numbers(version: str) -> tuple[int, int]:
    """Major and minor of a version."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def openslide() -> Any:
    """QuPath's provider of slides, with the library loaded; None where this QuPath has none."""
    import jpype

    try:
        jpype.JClass("qupath.lib.images.servers.openslide.jna.OpenSlideLoader").tryToLoad()
        return jpype.JClass("qupath.lib.images.servers.openslide.OpenslideServerBuilder")
    except TypeError:
        return None


def white_image(width: int, height: int) -> Any:
    """Java image that is all of one colour."""
    import jpype

    image = jpype.JClass("java.awt.image.BufferedImage")
    return image(width, height, image.TYPE_INT_RGB)
