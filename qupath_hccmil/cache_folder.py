"""The folder for files that can be had again: converted networks and the demo's slide."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "HCCMIL_CACHE"
"""Environment variable with a folder to use instead of the user's cache folder."""


def cache_folder() -> Path:
    """Return the folder that ``HCCMIL_CACHE`` names, or the user's own; it may not exist."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    return Path(platformdirs.user_cache_dir("qupath-hccmil", False))
