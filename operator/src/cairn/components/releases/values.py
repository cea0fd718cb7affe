"""Values of charts. Pure."""

from __future__ import annotations

from cairn.api.base import JsonObject


def merged(values: JsonObject, others: JsonObject) -> JsonObject:
    """Return values with others merged into them as Helm does it: maps key by key, all else replaced."""
    result = dict(values)
    for name, other in others.items():
        mine = result.get(name)
        result[name] = merged(mine, other) if isinstance(mine, dict) and isinstance(other, dict) else other
    return result
