"""Reads a user's Java preferences, where QuPath stores its settings.

Java stores them in XML files on Linux, in the registry on Windows, and in a property list on macOS.
"""

from __future__ import annotations

import base64
import os
import plistlib
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

# If a name cannot be the name of a folder, Java encodes it in base64 with an alphabet of its own.
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_JAVA = b"!\"#$%&'(),-.:;<>@[]^`_{|}~abcdefghijklmnopqrstuvwxyz0123456789+?"


def user_home() -> Path:
    """Home folder that Java uses: on Linux and macOS that of the account, even if HOME differs."""
    if sys.platform == "win32":
        return Path.home()
    import pwd

    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path.home()


def java_preference(node: Sequence[str], key: str) -> str | None:
    """Value of a preference; None if it is not set or cannot be read.

    Parameters
    ----------
    node : sequence of str
        Path of names from the root of the user's preferences.
    key : str
    """
    try:
        if sys.platform == "win32":
            return _from_registry(node, key)
        if sys.platform == "darwin":
            return from_property_list(user_home() / PROPERTY_LIST, node, key)
        return from_xml(xml_file(user_home(), node), key)
    except (OSError, ValueError, ElementTree.ParseError):
        return None


def xml_file(home: Path, node: Sequence[str]) -> Path:
    """File of a node on Linux."""
    return home.joinpath(".java", ".userPrefs", *map(_folder_name, node), "prefs.xml")


def from_xml(file: Path, key: str) -> str | None:
    """Value in a node's file on Linux."""
    for entry in ElementTree.parse(file).iter("entry"):
        if entry.get("key") == key:
            return entry.get("value")
    return None


PROPERTY_LIST = Path("Library", "Preferences", "com.apple.java.util.prefs.plist")


def from_property_list(file: Path, node: Sequence[str], key: str) -> str | None:
    """Value in the property list of macOS, whose nodes are dictionaries with names ending in /."""
    with file.open("rb") as opened:
        found = plistlib.load(opened)
    for name in ("/", *(f"{part}/" for part in node), key):
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found if isinstance(found, str) else None


def to_registry(text: str) -> str:
    """Name that Java writes into Windows' registry, which ignores upper and lower case."""
    return re.sub(r"[A-Z]", lambda found: f"/{found[0]}", text.replace("\\", "//"))


def from_registry(text: str) -> str:
    """Text that Java wrote into Windows' registry."""
    letter = re.compile(r"/u([0-9a-fA-F]{4})|/(.)|(\\)", re.DOTALL)

    def read(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        if found[3]:
            return "/"
        return "\\" if found[2] == "/" else found[2]

    return letter.sub(read, text)


def _from_registry(node: Sequence[str], key: str) -> str | None:
    import winreg  # type: ignore[import-not-found,unused-ignore]

    path = "\\".join(("Software", "JavaSoft", "Prefs", *map(to_registry, node)))
    with winreg.OpenKey(winreg.HKEY_CURRENT_USER, path) as opened:  # type: ignore[attr-defined,unused-ignore]
        value, _ = winreg.QueryValueEx(opened, to_registry(key))  # type: ignore[attr-defined,unused-ignore]
    return from_registry(str(value))


def _folder_name(node: str) -> str:
    if all(" " <= letter < "\x7f" and letter not in "/._" for letter in node):
        return node
    coded = base64.b64encode(node.encode("utf-16-be"))
    return "_" + coded.translate(bytes.maketrans(_BASE64, _JAVA)).decode("ascii")
