"""What a real QuPath finds in data files, and the same without our results."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qupath_hccmil.qupath.names import STEP_NAME, is_our_class, is_our_measurement
from tests.conftest import ROOT

_SETS_STAINS = "Set color deconvolution stains"
SCRIPT = ROOT / "scripts" / "proofs" / "qupath_content.py"


def contents(qupath: Path, files: Iterable[Path], out: Path) -> dict[Path, dict[str, Any]]:
    """Read data files with a QuPath in a process of its own."""
    command = [sys.executable, SCRIPT, "--qupath", qupath, "--out", out, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return {Path(path): found for path, found in json.loads(out.read_text("utf-8")).items()}


def without_ours(content: dict[str, Any]) -> dict[str, Any]:
    """Return what is the user's of it."""
    if "error" in content:
        return content
    kept = [at for at, each in enumerate(content["objects"]) if not _is_our_tile(each)]
    # parents are numbers, which shift as objects before them go
    numbers = {None: None, **{at: number for number, at in enumerate(kept)}}
    return {
        **content,
        "history": _user_steps(content["history"]),
        "objects": [
            {
                **each,
                "parent": numbers[each["parent"]],
                "measurements": [
                    one for one in each["measurements"] if not is_our_measurement(one[0])
                ],
            }
            for each in (content["objects"][at] for at in kept)
        ],
    }


def _user_steps(history: list[Any]) -> list[Any]:
    """Steps but ours.

    As QuPath reads it sets the stains, which adds a step, or replaces the last one if that sets
    them too: ours, as the last, then makes it add one.
    """
    steps: list[Any] = []
    for step in history:
        if step[0] == STEP_NAME:
            continue
        if steps and steps[-1][0] == step[0] == _SETS_STAINS:
            steps.pop()
        steps.append(step)
    return steps


def our_tiles(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return our tiles in it."""
    return [each for each in content.get("objects", ()) if _is_our_tile(each)]


def _is_our_tile(each: dict[str, Any]) -> bool:
    return (
        each["kind"] == "PathTileObject" and bool(each["class"]) and is_our_class(each["class"][0])
    )
