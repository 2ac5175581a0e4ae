"""No output ends a run: not by what a console can't say, nor by a reader that left."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qupath_hccmil.cli.main import COMMANDS
from qupath_hccmil.cli.train import train
from qupath_hccmil.qupath import names
from qupath_hccmil.qupath.native.native_project import NativeProject

NAME = "Größe 肝癌 🧬 $x^$ \ud83d.tif"
CONSOLES = {
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "gbk": {"PYTHONIOENCODING": "gbk"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}
GROUPS = {"project": ("info", "check", "clear", "restore"), "train": ("nuclei", "mil"),
          "evaluate": ("nuclei", "mil")}  # fmt: skip


def every_command() -> list[list[str]]:
    return [[]] + [
        [name, *rest]
        for name in COMMANDS
        for rest in [[], *([part] for part in GROUPS.get(name, ()))]
    ]


def environment(console: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHONIO"))}
    return {**kept, **CONSOLES[console]}


def run(console: str, *arguments: object, **how: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "qupath_hccmil", *map(str, arguments)]
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    return subprocess.run(command, env=environment(console), check=False, **how)


@pytest.fixture
def far_project(project: Path) -> Path:
    """A project whose image has a name that no console of one country can say."""
    path = project / "project.qpproj"
    content = json.loads(path.read_text("utf-8"))
    content["images"][0]["imageName"] = NAME
    path.write_text(json.dumps(content), "utf-8")
    return project


def test_the_groups_are_those_that_there_are():
    assert GROUPS["train"] == tuple(train.list_commands(None))


@pytest.mark.parametrize("console", CONSOLES)
def test_every_command_explains_itself_on_any_console(console):
    program = (
        "import sys; from qupath_hccmil.cli.main import run; "
        f"sys.exit(max(run([*command, '--help']) for command in {every_command()!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(console), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"Usage: qupath-hccmil") == len(every_command())


@pytest.mark.parametrize("console", CONSOLES)
def test_a_name_that_the_console_cannot_say_is_said_as_well_as_it_can(console, far_project):
    done = run(console, "project", "info", far_project, "--engine", "native")
    assert done.returncode == 0, done.stderr
    assert b"not scored" in done.stdout
    assert (b"Gr\xf6\xdfe ?? ? $x^$ ?.tif" in done.stdout) == (console == "cp1252")


def test_an_error_about_such_a_name_is_one_line(far_project):
    done = run("gbk", "score", far_project, "--image", "Ähnlich 🧬", "--engine", "native")
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: ")
    assert done.stderr.count(b"\n") == 1


def test_a_batch_goes_on_when_nobody_reads_and_its_files_are_utf_8(far_project, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    out = tmp_path / "out"
    arguments = ("score", far_project, "--engine", "native", "--out", out)
    done = run("cp1252", *arguments, stdout=writer, stderr=writer)
    os.close(writer)
    assert done.returncode == 0
    with NativeProject(far_project) as opened:
        (entry,) = opened.images
        assert names.META_RISK in entry.metadata
    record = json.loads((out / "run.json").read_text("utf-8"))
    read_as = NAME.replace("\ud83d", "\ufffd")
    assert record["images"][0]["image"] == read_as
    assert read_as in (out / "images.csv").read_text("utf-8-sig")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_left_is_no_failure(stream, far_project):
    reader, writer = os.pipe()
    os.close(reader)
    arguments = ("score", far_project, "--dry-run", "--engine", "native")
    done = run("C", *arguments, **{stream: writer})
    os.close(writer)
    assert done.returncode == 0
    assert not done.stderr
    assert run("C", "--help", **{stream: subprocess.DEVNULL}).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_is_said_at_the_end(far_project):
    with open("/dev/full", "wb") as full:
        done = run("C", "project", "info", far_project, "--engine", "native", stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: standard output: No space left on device")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="closes descriptors in a POSIX shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_process_without_streams_works(closed, far_project):
    command = f'"{sys.executable}" -m qupath_hccmil project check "{far_project}" {closed}'
    done = subprocess.run(["sh", "-c", command], env=environment("C"), check=False)
    assert done.returncode == 0


def test_help_has_no_markup_that_was_meant_for_the_formatter(cli):
    for command in every_command():
        text = cli(*command, "--help").out
        assert "\b" not in text, command
        for leftover in ("\\b", "\\f", "``", "{}", "None"):
            assert leftover not in text, (command, leftover)
