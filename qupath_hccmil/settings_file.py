"""Settings from TOML files: the fields of a dataclass, checked by pydantic."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from qupath_hccmil.errors import DataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_settings(path: Path, kind: type) -> dict[str, Any]:
    """Read settings from a TOML file.

    Parameters
    ----------
    path : Path
    kind : type
        A dataclass; the file's keys are its fields.

    Returns
    -------
    dict of str to Any
        The fields that the file gives.

    Raises
    ------
    DataError
        The file is not TOML, or a key or value is not valid for `kind`.
    """
    return checked(kind, read_toml(path), str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises
    ------
    DataError
        The file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: is not valid TOML: {error}") from error


def checked(kind: type, content: Mapping[str, Any], where: str, **fixed: Any) -> dict[str, Any]:
    """Check values for the fields of a dataclass.

    Parameters
    ----------
    kind : type
    content : mapping of str to Any
        Plain values, as in TOML and JSON.
    where : str
        Source of the values, for messages.
    **fixed
        Fields that are known and must not be in `content`.

    Returns
    -------
    dict of str to Any
        `content` and `fixed`, converted to the types of the fields.

    Raises
    ------
    DataError
        A key is not a field, or a value is out of range or has the wrong type.
    """
    known = {field.name for field in fields(kind)} - fixed.keys()
    for key in content:
        if key not in known:
            raise DataError(f"{where}: unknown key {key!r}; known keys: {', '.join(sorted(known))}")
    values = {**content, **fixed}
    try:
        # As JSON, because there strict types allow a list for a tuple.
        found: Any = TypeAdapter(kind).validate_json(
            json.dumps(values, default=_plain), strict=True
        )
    except ValidationError as error:
        raise DataError(f"{where}: {first_fault(error)}") from error
    return {key: getattr(found, key) for key in values}


def _plain(value: Any) -> Any:
    """Convert values that JSON does not have: numpy numbers, and dates of TOML as text."""
    return value.item() if hasattr(value, "item") else str(value)


def first_fault(error: ValidationError) -> str:
    """Describe the first wrong value in one line: where it is, its value, and what is wrong."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "top level"
    return f"{place}: {str(first['input'])!r:.60}: {first['msg']}".replace("\n", " ")
