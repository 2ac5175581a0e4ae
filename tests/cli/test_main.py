"""The entry point: help is cheap, names are complete, nothing heavy is imported early."""

import subprocess
import sys

import pytest

from qupath_hccmil.cli.main import COMMANDS

HEAVY = {
    "torch",
    "torchvision",
    "openvino",
    "cv2",
    "scipy",
    "pandas",
    "jpype",
    "matplotlib",
    "numpy",
}


def test_help_names_every_command(cli):
    ran = cli("--help")
    assert ran.code == 0
    for name in COMMANDS:
        assert f"  {name} " in ran.out


@pytest.mark.parametrize(
    "command",
    [
        ("demo",),
        ("score",),
        ("export",),
        ("project", "info"),
        ("project", "check"),
        ("project", "clear"),
        ("project", "restore"),
        ("train", "nuclei"),
        ("train", "mil"),
        ("evaluate", "nuclei"),
        ("evaluate", "mil"),
        ("survival",),
        ("export-model",),
        ("doctor",),
    ],
)
def test_every_command_explains_itself(cli, command):
    ran = cli(*command, "--help")
    assert ran.code == 0
    assert "Usage: qupath-hccmil" in ran.out


@pytest.mark.parametrize("arguments", [["--help"], ["score", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    program = (
        "import sys; from qupath_hccmil.cli.main import run; "
        f"run({arguments!r}); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(done.stderr.split())


def test_doctor_finds_what_scoring_needs(cli):
    ran = cli("doctor")
    assert ran.code == 0, ran.out
    assert "MISSING" not in ran.out
    for what in ("OpenSlide", "OpenVINO", "nuclei model", "risk model"):
        assert f"ok      {what}: " in ran.out
