"""``score --progress json``: its lines, and a run that a program cancels."""

import json
import os
import signal
import subprocess
import sys

import pytest

from qupath_hccmil.cli import exit_codes
from qupath_hccmil.cli.progress_lines import ProgressLines
from qupath_hccmil.qupath.native.native_project import NativeProject
from tests.cli.test_score import data_files
from tests.conftest import ROOT

OPTIONS = ("--engine", "native", "--progress", "json")


def lines_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_thing_that_happens_is_a_line(cli, project):
    ran = cli("score", project, *OPTIONS, "--max-tiles", 4)
    assert (ran.code, ran.err) == (0, "")
    lines = lines_of(ran.out)
    assert [line["event"] for line in (*lines[:2], *lines[-2:])] == [
        "run",
        "image",
        "finished",
        "end",
    ]
    assert lines[0]["images"] == 1
    assert lines[1]["of"] == 4
    tiles = [line for line in lines if line["event"] == "tiles"]
    assert tiles[-1]["done"] == tiles[-1]["of"] == 4
    with NativeProject(project) as opened:
        (entry,) = opened.images
    finished = lines[-2]
    assert (finished["image"], finished["image_id"]) == (entry.name, entry.id)
    assert (finished["status"], finished["tiles"], finished["reason"]) == ("scored", 4, "")
    assert 0 < finished["risk"] < 1
    assert "1 scored" in lines[-1]["summary"]


def test_an_image_that_fails_is_a_line_with_the_reason(cli, project):
    ran = cli("score", project, *OPTIONS, "--annotation-class", "no such class")
    assert ran.code == exit_codes.SOME_FAILED
    finished = lines_of(ran.out)[-2]
    assert finished["status"] == "failed"
    assert "no such class" in finished["reason"]


def test_what_is_refused_as_a_whole_is_said_on_standard_error(cli, project):
    ran = cli("score", project, *OPTIONS, "--image", "not there")
    assert (ran.code, ran.out) == (exit_codes.BAD_INPUT, "")
    assert "no image is named not there" in ran.err


def test_two_kinds_of_json_are_refused(cli, project):
    ran = cli("score", project, *OPTIONS, "--json")
    assert ran.code == exit_codes.BAD_USAGE
    assert "choose one" in ran.err


def test_a_few_lines_a_second_are_enough(capsys):
    seconds = iter([0.0, *(each / 64 for each in range(1, 101))])
    lines = ProgressLines([], clock=lambda: next(seconds))
    lines.start("a", 100)
    for _ in range(100):
        lines.advance(1)
    tiles = lines_of(capsys.readouterr().out)[1:]
    assert [each["done"] for each in tiles] == [13, 26, 39, 52, 65, 78, 91, 100]
    assert {each["tiles_per_second"] for each in tiles} == {64.0}


@pytest.mark.parametrize("how", ["a line", "a signal"])
def test_a_cancelled_run_leaves_the_project_as_it_was(project, how):
    if how == "a signal" and os.name == "nt":
        pytest.skip("Windows has no SIGTERM to be handled")
    before = data_files(project)
    process = subprocess.Popen(
        [sys.executable, "-m", "qupath_hccmil", "score", project, *OPTIONS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    with process:
        for line in process.stdout:
            if json.loads(line)["event"] == "image":
                break
        if how == "a line":
            process.stdin.write("cancel\n")
            process.stdin.flush()
        else:
            process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
    assert process.returncode == exit_codes.INTERRUPTED, err
    assert "end" not in {line["event"] for line in lines_of(out)}
    assert "Everything written so far is complete" in err
    assert data_files(project) == before


def test_a_run_without_input_goes_on(project):
    done = subprocess.run(
        [sys.executable, "-m", "qupath_hccmil", "score", project, *OPTIONS, "--max-tiles", "2"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert lines_of(done.stdout)[-1]["event"] == "end"
