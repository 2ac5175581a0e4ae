"""QuPath versions with data files that we write: tested versions, and newer ones that fit."""

from __future__ import annotations

import re

DATA_VERSION = "3"
OLDEST, NEWEST = (0, 4), (0, 7)
"""Oldest and newest tested QuPath (major, minor), whose files are written without more checks."""

HEAD = 1 << 16
"""Number of bytes at the start of a data file that contain its version."""

_TESTED = ".".join(map(str, NEWEST))


def version_number(version: str) -> tuple[int, int]:
    """Major and minor of a version such as ``0.6.0`` or ``v0.5.0-rc1``; (0, 0) if it is not one.

    Examples
    --------
    >>> version_number("0.6.0-SNAPSHOT")
    (0, 6)
    """
    match = re.match(r"v?(\d{1,6})\.(\d{1,6})(?!\d)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def is_newer(data_version: str, qupath_version: str) -> bool:
    """Whether a data file is newer than the newest tested QuPath, or has a newer format.

    Parameters
    ----------
    data_version : str
        Version of the file's format, such as ``3``.
    qupath_version : str
        Version of the QuPath that wrote it; empty if the file does not state it.

    Examples
    --------
    >>> is_newer("3", "0.8.0-SNAPSHOT"), is_newer("4", "0.7.0"), is_newer("3", "0.7.0")
    (True, True, False)
    """
    number = version_number(qupath_version)
    return number > NEWEST or (number >= OLDEST and _format(data_version) > int(DATA_VERSION))


def why_read_only(data_version: str, qupath_version: str, *, gives_back: bool = False) -> str:
    """Why a data file is read only; empty if it may be written.

    Parameters
    ----------
    data_version, qupath_version : str
        As in :func:`is_newer`. QuPath 0.2 wrote format 2. Before 0.4, QuPath stored no IDs of
        objects, so results could not be assigned to them.
    gives_back : bool
        Whether the native codec can write the file back byte for byte; used for newer files only.

    Examples
    --------
    >>> why_read_only("3", "0.6.0"), why_read_only("3", "0.8.0", gives_back=True)
    ('', '')
    """
    if is_newer(data_version, qupath_version):
        if gives_back and _format(data_version) >= int(DATA_VERSION):
            return ""
        return (
            f"{_of(data_version, qupath_version)}, which is newer than the newest tested version "
            f"({_TESTED}), and this program could not write it back unchanged, so it is read only: "
            f"save the image with QuPath {_TESTED}, or look for a newer version of this program"
        )
    if data_version == DATA_VERSION and version_number(qupath_version) >= OLDEST:
        return ""
    return (
        f"{_of(data_version, qupath_version)}, so it is read only: results are written into files "
        f"of QuPath {OLDEST[0]}.{OLDEST[1]} to {_TESTED}; open and save the image in one of these"
    )


def newer_note(data_version: str, qupath_version: str) -> str:
    """Note on a file of a newer QuPath; empty for others."""
    if not is_newer(data_version, qupath_version):
        return ""
    return (
        f"{_of(data_version, qupath_version)}, which is newer than the newest tested version "
        f"({_TESTED}); this program can write it back byte for byte, so results are added as to "
        "other files"
    )


def what_to_do(head: bytes) -> str:
    """Say what to do about a data file that cannot be read.

    Parameters
    ----------
    head : bytes
        Start of the file, which may contain its version.
    """
    data_version, qupath_version = (match[1] if match else b"" for match in _said(head))
    said = data_version.decode("latin-1"), qupath_version.decode("latin-1")
    if is_newer(*said):
        return (
            f"it {_of(*said)}, which is newer than the newest tested version ({_TESTED}): save the "
            f"image with QuPath {_TESTED}, or look for a newer version of this program"
        )
    return "use a backup; if QuPath still shows all objects of the image, save it in QuPath"


def _said(head: bytes) -> tuple[re.Match[bytes] | None, ...]:
    return (
        re.search(rb"Data file version (\d+)", head),
        re.search(rb'"qupathVersion"\s*:\s*"([^"]*)"', head),
    )


def _format(data_version: str) -> int:
    return int(data_version) if re.fullmatch(r"\d{1,6}", data_version) else 0


def _of(data_version: str, qupath_version: str) -> str:
    # in a damaged file, the text of the version may be long
    said = " ".join(qupath_version.split())[:30]
    return (
        f"was written by {f'QuPath {said}' if said else 'an unknown version of QuPath'} "
        f"(data file version {data_version[:30]})"
    )
