"""The JSON schema of a model folder's ``config.json``."""

from __future__ import annotations

from typing import Any

_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_TEXT = {"type": "string", "minLength": 1}
_POSITIVE = {"type": "number", "exclusiveMinimum": 0}


def _record(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _numbers(count: int, of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": count, "maxItems": count}


_STAIN_FIT = _record(
    matrix=_numbers(2, _numbers(3, {"type": "number"})),
    max_concentration=_numbers(2, _POSITIVE),
    luminosity=_POSITIVE,
)
_RISK = _record(
    p=_POSITIVE,
    threshold={"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    label=_TEXT,
    surrogate={"type": "boolean"},
    nuclei_model=_record(name=_TEXT, sha256=_SHA256),
)
# Models from before there was calibration have none; it is then 1.
_RISK["properties"]["temperature"] = _POSITIVE

MODEL_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **_record(
        format={"const": 1},
        kind={"enum": ["nuclei", "mil"]},
        name={"type": "string", "pattern": "^[A-Za-z0-9._-]+$"},
        version=_TEXT,
        architecture={
            "type": "object",
            "properties": {"name": {"enum": ["unet", "mobilenet_unet", "mobilenet_v2"]}},
            "required": ["name"],
        },
        geometry=_record(tile_um=_POSITIVE, tile_px={"type": "integer", "minimum": 32}),
        resampler={"enum": ["pillow-bilinear"]},
        colour={"enum": ["stain-normalised", "luminosity-standardised"]},
        stain_reference={"anyOf": [_STAIN_FIT, {"type": "null"}]},
        data={
            "type": "array",
            "items": _record(name=_TEXT, licence=_TEXT, source=_TEXT, use=_TEXT),
        },
        training={"type": "object"},
        metrics={"type": "object"},
        weights_sha256=_SHA256,
        risk={"anyOf": [_RISK, {"type": "null"}]},
    ),
    "if": {"properties": {"kind": {"const": "mil"}}},
    "then": {"properties": {"risk": _RISK}},
    "else": {"properties": {"risk": {"type": "null"}}},
}
