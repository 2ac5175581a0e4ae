"""Data files of which QuPaths are written: those that a fixture of that QuPath proves."""

from __future__ import annotations

import re

DATA_VERSION = "3"
_WRITABLE = re.compile(r"v?0\.[4567]\.")


def why_read_only(data_version: str, qupath_version: str) -> str:
    """Why a data file is read and never written; empty where it may be written.

    Parameters
    ----------
    data_version : str
        Of the file's format, such as ``3``. QuPath 0.2 wrote 2.
    qupath_version : str
        QuPath that wrote it; empty where the file doesn't say. Before 0.4, QuPath stored no
        identity of an object, so results would have nothing to hold on to.

    Examples
    --------
    >>> why_read_only("3", "0.6.0")
    ''
    """
    if data_version == DATA_VERSION and _WRITABLE.match(qupath_version):
        return ""
    # what a damaged file says of itself may be long
    said = " ".join(qupath_version.split())[:30]
    return (
        f"was written by QuPath {said or 'of an unknown version'} (data file version "
        f"{data_version}), so it is read and never changed: only files of QuPath 0.4 to 0.7 are; "
        "open and save the image in one of them"
    )
