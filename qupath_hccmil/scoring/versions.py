"""Versions of what scores come from."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from qupath_hccmil import __version__

_LIBRARIES = (
    "numpy", "opencv-python", "openslide-bin", "openvino", "pillow", "shapely", "spams-bin",
    "staintools", "torch",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of this package and of the libraries that scores come from."""
    found = {"qupath-hccmil": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def release_versions() -> dict[str, str]:
    """The same without what they were built for, such as ``+cpu``: that changes no score."""
    return {name: number.partition("+")[0] for name, number in versions().items()}
