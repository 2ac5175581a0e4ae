"""What is installed, found and usable on this machine: the facts behind ``doctor``."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from qupath_hccmil import __version__
from qupath_hccmil.errors import HccMilError, PackageError
from qupath_hccmil.model_store.model_config import ModelKind
from qupath_hccmil.scoring.openvino_import import import_openvino


@dataclass(frozen=True)
class Finding:
    """One fact about the environment.

    Attributes
    ----------
    what : str
        The part that was checked.
    found : str
        Description of the part, or why it is not usable.
    ok : bool
        Whether it is usable.
    needed : bool
        Whether scoring is impossible without it.
    """

    what: str
    found: str
    ok: bool
    needed: bool = True


def findings() -> Iterator[Finding]:
    """Check everything that scoring uses; a part that fails is reported, not raised."""
    yield Finding("qupath-hccmil", f"{__version__}, Python {sys.version.split()[0]}", True)
    yield Finding("machine", f"{platform.platform()}, {os.cpu_count()} cores", True)
    for what, look, needed in _CHECKS:
        try:
            yield Finding(what, look(), True, needed)
        except (HccMilError, ImportError, OSError, RuntimeError) as error:
            yield Finding(what, str(error).splitlines()[0], False, needed)


def _qupath() -> str:
    from qupath_hccmil.errors import EngineError
    from qupath_hccmil.qupath.open_project import find_qupath

    found = find_qupath()
    if found is None:
        raise EngineError(
            "none found; the native engine is used (set PAQUO_QUPATH_DIR to use a QuPath)"
        )
    return f"{found.version} at {found.path}"


def _extension() -> str:
    from qupath_hccmil.errors import InstallError
    from qupath_hccmil.qupath.extension.extensions_folder import extensions_folders
    from qupath_hccmil.qupath.extension.installation import installed

    found = [each for folder in extensions_folders() for each in installed(folder)]
    if not found:
        raise InstallError("not installed; run: qupath-hccmil qupath install")
    said = "; ".join(f"{each.version} at {each.jar}, runs {each.command}" for each in found)
    if not all(each.current for each in found):
        raise InstallError(f"{said}; this is {__version__}, so run: qupath-hccmil qupath install")
    return said


def _openslide() -> str:
    import openslide

    return f"{openslide.__library_version__} (python {openslide.__version__})"


def _stain() -> str:
    import spams  # noqa: F401

    return f"spams-bin {version('spams-bin')}"


def _torch() -> str:
    import torch

    from qupath_hccmil.mil.tile_network import TileNetwork  # noqa: F401

    return f"{torch.__version__}, torchvision {version('torchvision')}"


def _timm() -> str:
    try:
        return f"{version('timm')}, for encoders from a folder"
    except PackageNotFoundError as error:
        raise PackageError(
            "not installed; features by other encoders than ours need it: "
            "pip install 'qupath-hccmil[features]'"
        ) from error


def _accelerator() -> str:
    import torch

    from qupath_hccmil.errors import ModelError

    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name()}"
    if torch.backends.mps.is_available():
        return "mps"
    raise ModelError("none; scoring runs on the CPU")


def _openvino() -> str:
    openvino = import_openvino()
    core = openvino.Core()
    name = core.get_property("CPU", "FULL_DEVICE_NAME")
    return f"{openvino.__version__.split('-')[0]} on {name}"


def _precision() -> str:
    from qupath_hccmil.scoring.devices import resolve
    from qupath_hccmil.scoring.precision import TILE_PRECISION, choose_precision

    runtime, device = resolve("auto", "auto")
    chosen = choose_precision("auto", runtime, device)
    return (
        f"nuclei network {chosen.nuclei}, tile network {TILE_PRECISION}, with {runtime} on "
        f"{device}: {chosen.why}"
    )


def _model(kind: ModelKind) -> Callable[[], str]:
    def look() -> str:
        from qupath_hccmil.model_store.model_folder import default_model_dir, load_model_folder

        folder = load_model_folder(default_model_dir(kind), kind)
        return f"{folder.config.name}, weights sha256 {folder.config.weights_sha256[:12]}… intact"

    return look


_CHECKS: tuple[tuple[str, Callable[[], str], bool], ...] = (
    ("QuPath", _qupath, False),
    ("QuPath extension", _extension, False),
    ("OpenSlide", _openslide, True),
    ("stain fit", _stain, True),
    ("torch", _torch, True),
    ("timm", _timm, False),
    ("accelerator", _accelerator, False),
    ("OpenVINO", _openvino, False),
    ("precision", _precision, True),
    ("nuclei model", _model("nuclei"), True),
    ("risk model", _model("mil"), True),
)
