"""The windows that tests open: none where one can't be, none that stays."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.extension.window import why_no_window

PARTS = ("qupath-gui-fx-0.5.1.jar", "qupath-app-0.5.1.jar", "javafx-graphics-20-linux.jar")
LEAVE_A_SCREEN = """
import os
from tests.extension.window import Screen
print(Screen().display, flush=True)
os._exit(1)
"""


def test_a_qupath_that_is_not_whole_is_a_reason_to_skip(tmp_path):
    app = tmp_path / "QuPath-0.5.1" / "lib" / "app"
    app.mkdir(parents=True)
    for part in PARTS:
        why_no_window.cache_clear()
        assert f"{part.partition('-')[0]}" in str(why_no_window(tmp_path / "QuPath-0.5.1"))
        (app / part).touch()
    why_no_window.cache_clear()
    assert "no program named java" in str(why_no_window(tmp_path / "QuPath-0.5.1"))


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="no Xvfb is installed")
def test_a_screen_ends_with_the_tests_however_they_end():
    done = subprocess.run(
        [sys.executable, "-c", LEAVE_A_SCREEN], cwd=ROOT, capture_output=True, text=True
    )
    lock = Path(f"/tmp/.X{done.stdout.strip().removeprefix(':')}-lock")
    assert done.stdout, done.stderr
    end = time.monotonic() + 60
    while lock.exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not lock.exists()
