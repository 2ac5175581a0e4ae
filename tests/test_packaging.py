"""The wheel has what an installed package needs: models, templates and types."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import qupath_hccmil
from qupath_hccmil.demo.drawn import draw_slide
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout; made without a network, so with the hatchling that is there."""
    for needed in ("build", "hatchling"):
        if find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT],
        cwd=out,
        env={**os.environ, "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def files(wheel) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return set(opened.namelist())


def test_the_wheel_is_of_this_version(wheel):
    assert wheel.name.startswith(f"qupath_hccmil-{qupath_hccmil.__version__}-")


def test_the_wheel_says_that_the_package_is_typed(files):
    assert "qupath_hccmil/py.typed" in files


def test_the_wheel_has_every_shipped_model_whole(files):
    models = {path.relative_to(ROOT).as_posix() for path in (ROOT / "models").rglob("*.*")}
    assert {Path(name).name for name in models} >= {"weights.safetensors", "config.json"}
    assert {f"qupath_hccmil/{name}" for name in models} <= files


def test_the_wheel_has_what_goes_into_the_extensions_jar(files):
    jar = ROOT / "extension" / "jar"
    parts = {path.relative_to(jar).as_posix() for path in jar.rglob("*") if path.is_file()}
    assert "hccmil/HccMilExtension.class" in parts
    assert {f"qupath_hccmil/extension/jar/{part}" for part in parts} <= files


def test_the_wheel_has_every_file_of_the_package(files):
    package = ROOT / "qupath_hccmil"
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert ours <= files


def test_the_wheel_holds_the_package_and_nothing_else(files):
    about = f"qupath_hccmil-{qupath_hccmil.__version__}.dist-info/"
    assert all(name.startswith(("qupath_hccmil/", about)) for name in files)


@pytest.fixture
def installed(wheel, tmp_path) -> Path:
    """Scripts of an environment that has the wheel, and the libraries of the one that tests run in.

    Those libraries are found by a path: an editable install of the checkout has no effect then.
    """
    environment = tmp_path / "environment"
    venv.create(environment)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / Path(sys.executable).name
    paths = sysconfig.get_paths(vars={"base": str(environment), "platbase": str(environment)})
    place = Path(paths["purelib"])
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "--no-deps",
            "--no-index",
            wheel,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (place / "libraries.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n", encoding="utf-8")
    return scripts


def test_the_installed_wheel_makes_the_demo(installed, tmp_path):
    slide = draw_slide(tmp_path / "small.tif", width=2050, height=1610, seed=3).path
    settings = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [installed / "qupath-hccmil", "demo", "demo", "--slide", slide, "--engine", "native"],
        cwd=tmp_path,
        env=settings,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    looked = subprocess.run(
        [
            installed / "qupath-hccmil",
            "project",
            "info",
            "demo/qupath",
            "--engine",
            "native",
            "--json",
        ],
        cwd=tmp_path,
        env=settings,
        capture_output=True,
        text=True,
    )
    assert looked.returncode == 0, looked.stderr
    assert json.loads(looked.stdout)["images"]
    code = "import qupath_hccmil; print(qupath_hccmil.__file__)"
    python = installed / Path(sys.executable).name
    found = subprocess.run(
        [python, "-c", code], cwd=tmp_path, env=settings, capture_output=True, text=True
    )
    assert Path(found.stdout.strip()).is_relative_to(installed.parent)
