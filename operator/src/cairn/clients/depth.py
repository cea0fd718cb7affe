"""Bounds how deeply the objects are nested that the operator works with."""

from __future__ import annotations

from typing import Any, cast

from cairn.api.base import JsonObject

DEEPEST = 64
"""More levels than any object has that makes sense; what lies deeper in a pod's settings, the API server refuses."""
CUT = "nested too deeply"


def bounded(body: JsonObject, levels: int = DEEPEST) -> JsonObject:
    """Return a copy of an object, with a text in place of what is nested more deeply."""
    return cast(JsonObject, _copy(body, levels))


def _copy(value: Any, levels: int) -> Any:
    if isinstance(value, dict):
        fields = cast(JsonObject, value)
        return {key: _copy(item, levels - 1) for key, item in fields.items()} if levels else CUT
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [_copy(item, levels - 1) for item in items] if levels else CUT
    return value
